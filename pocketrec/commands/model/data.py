"""`pocketrec data`: read, check and clean the two tables."""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketrec.next_command import beside, print_next
from pocketrec.recipe_file import read_recipe

if TYPE_CHECKING:  # the room is imported by the command that uses it
    from pocketrec_training.data.report import AppendReport, DataReport
    from pocketrec_training.data.splits.cases import FoldCases
    from pocketrec_training.recipe.schema import Recipe

MOST_COUNTED = 10_000_000
"""Interactions above which cases are not counted: it takes about 500 bytes of memory for each."""


@click.command(
    epilog="Example: pocketrec data recipes/ml100k.toml --out work/data",
)
@click.argument("recipe", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the canonical tables.")
@click.option("--source", type=click.Path(path_type=Path), help="Local folder of the raw files.")
@click.option("--append", is_flag=True, help="Add the files in --source to the tables in --out.")
@click.option("--list", "list_known", is_flag=True, help="List the known data sets and exit.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(
    recipe: Path | None,
    out: Path | None,
    source: Path | None,
    append: bool,
    list_known: bool,
    as_json: bool,
) -> None:
    """Read the tables named by RECIPE, check every row, and write canonical Parquet tables.

    With --append, the files in --source are a later delivery: a day's interactions, new or changed
    items, or both. The result equals one run over all files. The same files again change nothing.
    """
    if list_known:
        _show_known(as_json)
        return
    if recipe is None or out is None:
        raise click.UsageError("RECIPE and --out are needed (or --list).")
    from pocketrec_training.data.ingest import append_tables, build_tables

    rules = read_recipe(recipe)
    if append:
        if source is None:
            raise click.UsageError("--append needs --source, the folder of the new files.")
        added = append_tables(rules, out, source, tell=_tell)
        cases = _cases(rules, out, added.report)
        if as_json:
            _echo_json(added, cases)
            return
        click.echo(
            "these files are in the tables already; nothing changed"
            if added.known
            else f"added {added.interactions:,} interactions and {added.new_items:,} items; "
            f"{added.duplicates:,} duplicates dropped, {added.quarantined:,} rows quarantined"
        )
        _show(added.report, cases)
    else:
        report = build_tables(rules, out, source, tell=_tell)
        cases = _cases(rules, out, report)
        if as_json:
            _echo_json(report, cases)
            return
        _show(report, cases)
    print(f"written: {out}", file=sys.stderr)  # noqa: T201
    print_next("train", recipe, "--data", out, "--out", beside(out, "data", "run"))


def _tell(sentence: str) -> None:
    print(f"note: {sentence}", file=sys.stderr)  # noqa: T201


def _cases(recipe: "Recipe", out: Path, report: "DataReport") -> "dict[str, FoldCases]":
    """Count the cases of the recipe's split; nothing for tables that are too large."""
    if report.interactions > MOST_COUNTED:
        return {}
    from pocketrec_training.data.dataset import load_dataset
    from pocketrec_training.data.splits.cases import split_cases

    return split_cases(load_dataset(recipe, out))


def _echo_json(
    report: "DataReport | AppendReport",
    cases: "dict[str, FoldCases]",
) -> None:
    found = {fold: asdict(each) for fold, each in cases.items()}
    click.echo(json.dumps({**asdict(report), "cases": found}))


def _show(report: "DataReport", cases: "dict[str, FoldCases]") -> None:
    first, last = (datetime.fromtimestamp(t, UTC).date() for t in (report.first_ts, report.last_ts))
    click.echo(f"{report.dataset}: {report.licence}")
    click.echo(
        f"{report.interactions:,} interactions of {report.users:,} users with {report.items:,} "
        f"items, {f'{first} to {last}' if report.last_ts else 'without times'}"
    )
    if report.time is not None and (how := report.time.sentence()):
        click.echo(f"times: {how}")
    for table, join in report.joins.items():
        click.echo(f"{join.matched:,} of {join.used:,} interacted {table} are in the {table} table")
    for name, found in cases.items():
        click.echo(found.sentence(name))
    for name, count in report.nulled.items():
        click.echo(f"{count:,} values of {name} unreadable, their items kept")
    click.echo(f"{report.duplicates:,} duplicates dropped, {report.quarantined:,} rows quarantined")
    for reason, count in report.reasons.items():
        place = report.examples.get(reason)
        click.echo(f"  {count:>8,}  {reason}" + (f" (first: {place})" if place else ""))


def _show_known(as_json: bool) -> None:
    from pocketrec_training.data.known_sets import REGISTRY

    if as_json:
        keep = ("title", "licence", "url", "size_mb", "files")
        rows = {n: {k: getattr(d, k) for k in keep} for n, d in REGISTRY.items()}
        click.echo(json.dumps(rows))
        return
    for name, known in REGISTRY.items():
        click.echo(
            f"{name}\n    {known.title}\n    {known.licence}; {known.size_mb:g} MB; {known.url}"
        )
