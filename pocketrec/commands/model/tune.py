"""`pocketrec tune`: search the recipe's settings, resumable."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pocketrec.finite import FiniteRange
from pocketrec.quiet import load_tensorflow
from pocketrec.recipe_file import read_recipe


@click.command(
    epilog="Example: pocketrec tune recipes/ml100k.toml --data work/data --trials 20"
    " --study work/ml100k.db",
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Canonical tables.")
@click.option(
    "--study", type=click.Path(path_type=Path), required=True, help="SQLite file of the search."
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Total number of trials.",
)
@click.option("--minutes", type=FiniteRange(min=0.01), help="Stop this call after this time.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(
    recipe: Path, data: Path, study: Path, trials: int, minutes: float | None, as_json: bool
) -> None:
    """Search the [tune] space of RECIPE for the best validation NDCG@10; test events are not used.

    Run the same command again to resume, or with more trials. The best recipe is written beside
    the study as .best.toml, the table of trials as .trials.csv.
    """
    load_tensorflow()
    from pocketrec_training.tuning.tune import tune

    report = tune(
        read_recipe(recipe), data, study, trials=trials, minutes=minutes, where=str(recipe)
    )
    if cut := sum(row["stopped_by"] == "minutes" for row in report.trials):
        click.echo(
            f"warning: tune.trial_minutes cut {cut} of {len(report.trials)} trials short, so the "
            "search is not reproducible. Set it to 0 and lower retrieval.epochs.",
            err=True,
        )
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    click.echo(f"{'trial':>5}  {'NDCG@10':>8}  {'epochs':>6}  {'s':>6}  state     values")
    for row in report.trials:
        values = "  ".join(f"{key} = {value!r}" for key, value in row["values"].items())
        click.echo(
            f"{row['number']:>5}  {row['ndcg10']:>8.4f}  {row['epochs']:>6}  {row['seconds']:>6.0f}"
            f"  {row['state']:<8}  {values}"
        )
    click.echo(f"best: {report.best_recipe} (validation NDCG@10 {report.best_ndcg10:.4f})")
