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
    _item_hits(found)
    _values(found)
    _heads(found)
    _value_heads(found)
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


def _item_hits(found: dict[str, Any]) -> None:
    for setting, groups in found["item_hits"].items():
        click.echo(
            f"{setting.replace('_', ' ')}: hits in the first 20 by the item's training events"
        )
        rival = groups["0"]["best_baseline"]
        click.echo(f"{'events':<21}{'cases':>9}{'items':>9}{'ships':>9}{rival:>21}")
        for name, m in groups.items():
            click.echo(
                f"{name:<21}{m['cases']:>9,}{m['targets']:>9,}{m['hits@20']:>9,}"
                f"{m['best_baseline_hits@20']:>21,}"
            )


def _values(found: dict[str, Any]) -> None:
    for unit, settings in found.get("value_ndcg", {}).items():
        for setting, m in settings.items():
            click.echo(
                f"{setting.replace('_', ' ')}: NDCG@20 weighted by {unit}, {m['cases']:,} cases"
            )
            for method, each in m["ndcg@20"].items():
                between = f"[{each['low']:.4f}, {each['high']:.4f}]"
                click.echo(f"{method:<21}{each['value']:>9.4f}{between:>18}")


def _value_heads(found: dict[str, Any]) -> None:
    if not found.get("value_heads"):
        return
    click.echo("heads of values: 95% intervals in brackets")
    click.echo(
        f"{'head':<12}{'predicted':>11}{'observed':>11}{'RMSE':>30}{'Spearman':>27}"
        f"{'Spearman above 0':>27}"
    )
    for head, m in found["value_heads"].items():
        rmse, every, above = (
            "-"
            if m[key]["value"] is None
            else "{value:.4f} [{low:.4f}, {high:.4f}]".format(**m[key])
            for key in ("rmse", "spearman", "spearman_positive")
        )
        unit = f" ({m['unit']})" if m["unit"] else ""
        click.echo(
            f"{head:<12}{m['mean_predicted']:>11.4f}{m['mean_actual']:>11.4f}{rmse:>30}"
            f"{every:>27}{above:>27}{unit}"
        )


def _heads(found: dict[str, Any]) -> None:
    if not found["ranking"]:
        return
    click.echo(f"heads of the ranker; threshold of F1: {found['protocol']['threshold']}")
    click.echo(
        f"{'head':<12}{'candidates':>11}{'positive':>9}{'ROC-AUC':>9}{'95%':>18}{'PR-AUC':>9}"
        f"{'log loss':>9}{'ECE':>8}{'F1':>8}{'at':>8}"
    )
    for head, m in found["ranking"].items():
        between = "[{low:.4f}, {high:.4f}]".format(**m["intervals"]["roc_auc"])
        f1, at = ("-" if m[key] is None else f"{m[key]:.4f}" for key in ("f1", "threshold"))
        click.echo(
            f"{head:<12}{m['cases']:>11,}{m['positives']:>9,}{m['roc_auc']:>9.4f}{between:>18}"
            f"{m['pr_auc']:>9.4f}{m['log_loss']:>9.4f}{m['ece']:>8.4f}{f1:>8}{at:>8}"
        )
