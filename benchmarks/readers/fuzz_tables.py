"""Claim: no damaged table ends `pocketrec data` in anything but tables or a refusal with a reason.

A case is an invented table in one of eight forms, damaged by hypothesis, packed or not, under a
name and recipe keys that may be wrong. It is read as `pocketrec data` reads it, in process; one of
`BUILT` cases runs through all of `build_tables`. `tracebacks` counts what is no `PocketRecError`,
and refusals that a person cannot use: empty, longer than `MAX_LINES` lines, or not printable.
"""

import shutil
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from unittest.mock import patch

import ibis
from hypothesis import HealthCheck, Phase, given, seed, settings
from ibis.backends.duckdb import Backend
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result
from benchmarks.support.table_mutations import FORMS, TableCase, table_cases
from pocketrec_bundle.errors import PocketRecError
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.monitoring.progress import Progress
from pocketrec_training.reading import decode
from pocketrec_training.reading.raw_table import BROKEN, LINE, PLACE, RawTable
from pocketrec_training.reading.spec import TableSpec, table_spec
from pocketrec_training.reading.table import read_table
from pocketrec_training.recipe.load import parse_recipe

CASES = 5_000
BUILT = 25
MAX_LINES, MAX_CHARACTERS = 12, 4_000
OUTCOMES = ("read", "refused", "traceback")
COLUMNS = {"user": "user", "item": "item", "timestamp": "ts"}


@dataclass(slots=True)
class Tally:
    """Outcomes by form, and the first tracebacks."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    tracebacks: list[str] = field(default_factory=list)

    def total(self, outcome: str) -> int:
        """Cases that ended so."""
        return sum(n for (_, found), n in self.outcomes.items() if found == outcome)


def run(options: Options, cases: int = CASES) -> Result:
    """Judge damaged tables; prints the outcomes by form, and each traceback with its case."""
    options.work.mkdir(parents=True, exist_ok=True)
    tally, done = Tally(), 0
    with Progress("fuzz-tables", cases) as bar, tempfile.TemporaryDirectory() as scratch:

        @seed(options.seed)
        @settings(
            max_examples=cases,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(table_cases())
        def judged(case: TableCase) -> None:
            nonlocal done
            done += 1
            outcome, detail = judge(case, Path(scratch), build=done % BUILT == 0)
            tally.outcomes[case.form, outcome] += 1
            if outcome == "traceback":
                tally.tracebacks.append(f"{case!r}\n{detail}")
            if done % 100 == 0:
                bar.advance(done, f"{tally.total('traceback')} tracebacks")

        judged()
    rows: list[dict[str, Cell]] = [
        {"form": form, **{each: tally.outcomes[form, each] for each in OUTCOMES}} for form in FORMS
    ]
    show(rows, tally)
    figures = {
        "cases": done,
        "read": tally.total("read"),
        "refused": tally.total("refused"),
        "tracebacks": tally.total("traceback"),
        "built": done // BUILT,
    }
    return Result(name="fuzz-tables", seed=options.seed, rows=rows, figures=figures)


def judge(case: TableCase, folder: Path, *, build: bool = False) -> tuple[str, str]:
    """Read one case in a folder below `folder`; its outcome, and the detail of a fault."""
    # A new name each time: DuckDB keeps pages of a file by its path and time.
    place = Path(tempfile.mkdtemp(dir=folder))
    (place / case.name).write_bytes(case.content)
    value = {
        "name": "case",
        "data": {"interactions": case.name, "max_bad_share": 1.0, **case.keys},
        "columns": COLUMNS
        if case.keys.get("header", True)
        else dict(zip(COLUMNS, "123", strict=True)),
    }
    try:
        recipe = parse_recipe(value, "case.toml")
        with patch.object(decode, "BLOCK_BYTES", case.block_bytes):
            if build:
                build_tables(recipe, place / "out", place)
            else:
                _read(place / case.name, table_spec(recipe.data, "interactions"))
    except PocketRecError as err:
        return _refusal(str(err))
    except BaseException as err:  # panics of compiled readers too
        if isinstance(err, KeyboardInterrupt):
            raise
        return "traceback", "".join(traceback.format_exception(err))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return "read", ""


def _read(path: Path, spec: TableSpec) -> None:
    connection = _connection()
    raw = read_table(connection, path, spec, path.parent / "scratch")
    connection.to_pyarrow(raw.table.select(PLACE, LINE, BROKEN, *_values(raw)))
    connection.drop_view(raw.table.get_name())


@cache
def _connection() -> Backend:
    return ibis.duckdb.connect()


def _values(raw: RawTable) -> list[str]:
    return [f"v{k}" for k in range(len(raw.names))]


def _refusal(text: str) -> tuple[str, str]:
    lines = text.splitlines()
    printable = all(line.isprintable() for line in text.split("\n"))
    if not text or len(lines) > MAX_LINES or len(text) > MAX_CHARACTERS or not printable:
        return "traceback", f"a refusal that helps nobody: {text!r}"
    return "refused", ""


def show(rows: list[dict[str, Cell]], tally: Tally) -> None:
    """Print the table and the first tracebacks."""
    table = Table(title="fuzz-tables, cases by outcome", title_justify="left")
    for name in ("form", *OUTCOMES):
        table.add_column(name, justify="left" if name == "form" else "right")
    for row in rows:
        table.add_row(*map(str, row.values()))
    console = Console(file=sys.stdout)
    console.print(table)
    for text in tally.tracebacks[:20]:
        console.print(text, markup=False)
