"""`pocketrec evaluate`: compare a run with simple baselines; write a table, a page and JSON."""

import json
from pathlib import Path
from typing import Any, Literal

import click

from pocketrec.next_command import beside, print_next
from pocketrec.quiet import load_tensorflow


@click.command(
    epilog="Example: pocketrec evaluate work/run --data work/data --out work/report",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Canonical tables.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Report folder.")
@click.option("--split", type=click.Choice(["test", "valid"]), default="test", show_default=True)
@click.option(
    "--methods",
    metavar="NAME,NAME",
    help="Baselines to compare with.  [default: all]",
)
@click.option(
    "--users",
    type=click.IntRange(min=0),
    default=0,
    help="Measure so many users, drawn by the recipe's seed.  [default: all]",
)
@click.option(
    "--previous",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="An earlier evaluation or run, to show beside this one.",
)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A bundle of the run, to score as a phone shows it: models, index, rules, cold start.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(
    run: Path,
    data: Path,
    out: Path,
    split: Literal["test", "valid"],
    methods: str | None,
    users: int,
    previous: Path | None,
    bundle: Path | None,
    as_json: bool,
) -> None:
    """Rank all items for each held-out event of RUN; write evaluation.html, .json, cases.npz."""
    load_tensorflow()
    from pocketrec_training.evaluation.evaluate import evaluate

    shipped = None
    if bundle is not None:
        from pocketrec_export.gates.shipped import ShippedBundle

        shipped = ShippedBundle(bundle)
    evaluation = evaluate(
        run=run,
        data=data,
        out=out,
        split=split,
        methods=None if methods is None else [each for each in methods.split(",") if each],
        users=users,
        previous=previous,
        shipped=shipped,
    )
    found = evaluation.details
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(evaluation.sentence)
    for note in evaluation.notes:
        click.echo(note)
    protocol = found["protocol"]
    _table(f"{protocol['cases']} {split} cases, {protocol['candidates']}", found["retrieval"])
    if "retrieval_all" in found:
        every = protocol["settings"]["all"]
        _table(f"{every['cases']} {split} cases, {every['candidates']}", found["retrieval_all"])
    for told in found["baselines"]["left_out"]:
        click.echo(told, err=True)
    for chosen in found["baselines"]["chosen"]:
        if chosen["at_edge"]:
            names = ", ".join(chosen["at_edge"])
            told = (
                f"{chosen['method']}, {chosen['setting']}: {names} at the edge of the values tried"
            )
            click.echo(f"{told}; others might be better", err=True)
    for head, m in found["ranking"].items():
        click.echo(
            f"head {head}: ROC-AUC {m['roc_auc']:.4f}, PR-AUC {m['pr_auc']:.4f}, F1 {m['f1']:.4f}, "
            f"log loss {m['log_loss']:.4f}, ECE {m['ece']:.4f}"
        )
    click.echo(f"written: {evaluation.report}")
    print_next("export", run, "--out", beside(run, "run", "bundle"))


def _table(title: str, methods: dict[str, Any]) -> None:
    click.echo(title)
    click.echo(f"{'method':<21}{'NDCG@10':>9}{'95%':>18}{'HR@10':>9}{'Recall@20':>11}{'MRR@10':>9}")
    for name, m in methods.items():
        low, high = m["ndcg@10"]["low"], m["ndcg@10"]["high"]
        click.echo(
            f"{name:<21}{m['ndcg@10']['value']:>9.4f}{f'[{low:.4f}, {high:.4f}]':>18}"
            f"{m['hr@10']['value']:>9.4f}{m['recall@20']['value']:>11.4f}{m['mrr@10']['value']:>9.4f}"
        )
