"""`pocketrec features`: the offline feature store of a data folder."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from pocketrec.recipe_file import read_recipe


@click.command(
    epilog="Example: pocketrec features recipes/ml100k.toml --data work/data --out work/features",
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Canonical tables.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(recipe: Path, data: Path, out: Path, as_json: bool) -> None:
    """Write the features that a device would have had at each interaction, as Parquet.

    The features of an interaction use earlier events of its user only (a point-in-time join). They
    equal those from the device's event log at that time.
    """
    from pocketrec_training.data.features.offline import write_features

    report = write_features(read_recipe(recipe), data, out)
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    click.echo(
        f"{report.interactions:,} interactions at {report.moments:,} moments: "
        f"{', '.join(report.context)}; {report.shares:,} category shares"
    )
    print(f"written: {out}", file=sys.stderr)  # noqa: T201
