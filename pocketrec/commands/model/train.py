"""`pocketrec train`: two-tower retrieval and ranker."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pocketrec.finite import FiniteRange
from pocketrec.next_command import beside, print_next
from pocketrec.quiet import load_tensorflow
from pocketrec.recipe_file import read_recipe


@click.command(
    epilog="Example: pocketrec train recipes/ml100k.toml --data work/data --out work/run",
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Canonical tables.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run folder.")
@click.option(
    "--minutes",
    type=FiniteRange(min=0.01),
    help="Stop training after this time, without set-up and compilation; the result then"
    " depends on the machine.  [default: no cap but the recipe's]",
)
@click.option(
    "--warm-start",
    type=click.Path(path_type=Path),
    help="Run of the previous release to start from.",
)
@click.option(
    "--no-final",
    is_flag=True,
    help="Leave out the final fit on all events; what ships then lacks the newest events.",
)
@click.option("--log-dir", type=click.Path(path_type=Path), help="Folder for TensorBoard's files.")
@click.option("--mlflow", metavar="URI", help="MLflow tracking URI (pip install mlflow).")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(
    recipe: Path,
    data: Path,
    out: Path,
    minutes: float | None,
    warm_start: Path | None,
    no_final: bool,
    log_dir: Path | None,
    mlflow: str | None,
    as_json: bool,
) -> None:
    """Train the models of RECIPE; after an interruption, run the same command again to resume.

    There are two fits. The evaluation fit holds back the newest events, and all printed figures are
    its own. The final fit continues from it on all events, and `pocketrec export` ships it.

    Progress is also written to a file beside the run, work/run.log for --out work/run.

    With --warm-start, training begins with the previous run's weights, and the new item space is
    rotated onto the previous one. Scores stay the same, item vectors move little, and deltas are
    smaller.
    """
    load_tensorflow()
    from pocketrec_training.monitoring.experiment_log import experiment_logs
    from pocketrec_training.monitoring.progress import logged_to
    from pocketrec_training.monitoring.stopping import final_told, stopped_told
    from pocketrec_training.train import train

    def warn(text: str) -> None:
        click.echo(f"warning: {text}", err=True)

    chosen = read_recipe(recipe)
    log = out.with_name(f"{out.name}.log")
    with logged_to(log), experiment_logs(chosen, log_dir, mlflow) as logs:
        report = train(
            recipe=chosen,
            data=data,
            out=out,
            minutes=minutes,
            warm_start=warm_start,
            final=not no_final,
            logs=logs,
            warn=warn,
        )
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    click.echo(
        f"{report.recipe}: {report.epochs} epochs in {report.retrieval_s:.0f} s, validation "
        f"NDCG@10 of the towers {report.valid_ndcg10:.4f}; ranker {report.ranker_s:.0f} s"
    )
    click.echo(stopped_told(asdict(report)))
    if report.neighbour_choice:
        click.echo(report.neighbour_choice)
    click.echo(report.ranker_gain_sentence)
    if report.final is not None:
        seconds = report.final.retrieval_s + report.final.ranker_s
        click.echo(f"{final_told(asdict(report))}; {seconds:.0f} s")
    click.echo(
        f"user tower {report.user_tower_parameters:,} parameters, "
        f"ranker {report.ranker_parameters:,} with heads {', '.join(chosen.ranker.heads)}"
    )
    if report.alignment is not None:
        a = report.alignment
        click.echo(
            f"aligned to the previous run: {a.known_items:,} known items moved "
            f"{a.movement_after:.3f} of their length (unaligned {a.movement_before:.3f}); delta "
            f"{a.delta_bytes_after:,} bytes (unaligned {a.delta_bytes_before:,}, all rows "
            f"{a.rows_bytes:,})"
        )
    print_next("evaluate", out, "--data", data, "--out", beside(out, "run", "report"))
