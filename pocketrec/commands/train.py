"""`pocketrec train`: two-tower retrieval and ranker."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pocketrec.quiet import load_tensorflow


@click.command(
    epilog="Example: pocketrec train recipes/ml100k.toml --data work/data --out work/run",
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Canonical tables.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run folder.")
@click.option("--minutes", type=click.FloatRange(min=0.01), help="Train within this time.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(recipe: Path, data: Path, out: Path, minutes: float | None, as_json: bool) -> None:
    """Train the models of RECIPE; run the same command again to go on after an interruption."""
    load_tensorflow()
    from training.recipe import load_recipe
    from training.train import train

    report = train(load_recipe(recipe), data, out, minutes=minutes)
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    click.echo(
        f"{report.recipe}: {report.epochs} epochs in {report.retrieval_s:.0f} s, best validation "
        f"NDCG@10 {report.valid_ndcg10:.4f}; ranker {report.ranker_s:.0f} s"
    )
    click.echo(
        f"user tower {report.user_tower_parameters:,} parameters, "
        f"ranker {report.ranker_parameters:,}"
    )
