"""`pocketrec data`: read, check and clean the two tables."""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click


@click.command(
    epilog="Example: pocketrec data recipes/ml100k.toml --out work/data",
)
@click.argument("recipe", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the canonical tables.")
@click.option("--source", type=click.Path(path_type=Path), help="Local folder of the raw files.")
@click.option("--list", "list_known", is_flag=True, help="Show the known data sets and end.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(
    recipe: Path | None, out: Path | None, source: Path | None, list_known: bool, as_json: bool
) -> None:
    """Read the tables named by RECIPE, check every row, and write canonical Parquet tables."""
    if list_known:
        _show_known(as_json)
        return
    if recipe is None or out is None:
        raise click.UsageError("RECIPE and --out are needed (or --list).")
    from training.recipe import load_recipe
    from training.tables import build_tables

    report = build_tables(load_recipe(recipe), out, source)
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    first, last = (datetime.fromtimestamp(t, UTC).date() for t in (report.first_ts, report.last_ts))
    click.echo(f"{report.dataset}: {report.licence}")
    click.echo(
        f"{report.interactions:,} interactions of {report.users:,} users with {report.items:,} "
        f"items, {first} to {last}"
    )
    click.echo(f"{report.duplicates:,} duplicates dropped, {report.quarantined:,} rows quarantined")
    for reason, count in report.reasons.items():
        click.echo(f"  {count:>8,}  {reason}")
    print(f"written: {out}", file=sys.stderr)  # noqa: T201


def _show_known(as_json: bool) -> None:
    from training.datasets import REGISTRY

    if as_json:
        keep = ("title", "licence", "url", "size_mb", "files")
        rows = {n: {k: getattr(d, k) for k in keep} for n, d in REGISTRY.items()}
        click.echo(json.dumps(rows))
        return
    for name, known in REGISTRY.items():
        click.echo(
            f"{name}\n    {known.title}\n    {known.licence}; {known.size_mb:g} MB; {known.url}"
        )
