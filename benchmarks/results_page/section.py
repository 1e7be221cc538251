"""One section of the page: a benchmark, its claim, its command, and what its JSON holds."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Cell
from benchmarks.results_page.table import Table, Target

Values = Mapping[str, Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A stored result: the JSON object that `benchmarks/harness.py` describes."""

    name: str
    date: str
    commit: str | None
    machine: Mapping[str, str | int] | None
    figures: Mapping[str, float]
    rows: Sequence[Values]

    def where(self, **values: Cell) -> list[Values]:
        """Return the rows that have these values, in the order of the file."""
        return [
            row for row in self.rows if all(row.get(key) == value for key, value in values.items())
        ]

    def one(self, **values: Cell) -> Values:
        """Return the only row that has these values."""
        (row,) = self.where(**values)
        return row

    def number(self, key: str, **values: Cell) -> float:
        """Return a number of the only row that has these values."""
        return number(self.one(**values)[key])


def number(value: Cell) -> float:
    """Return a cell as a number; the demo stores some as text."""
    if value is None:
        raise TypeError("a number is missing from the results")
    return float(value)


def read_run(path: Path) -> Run:
    """Read a stored result."""
    stored = json.loads(path.read_bytes())
    return Run(
        name=stored["name"],
        date=stored["date"],
        commit=stored.get("commit"),
        machine=stored.get("machine"),
        figures=stored.get("figures", {}),
        rows=stored["rows"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A benchmark on the page.

    Attributes:
        name: the benchmark's name; its result is `NAME.json`.
        claim: one sentence.
        command: how to run it again.
        data: what it runs on, one sentence.
        targets: the figures that the claim limits.
        tables: what else was measured.
        notes: sentences that a reader needs to judge the figures.
        guide: Markdown link to the page that explains the figures.
    """

    name: str
    claim: str
    command: str
    data: str
    targets: Callable[[Run], Sequence[Target]] = lambda _: ()
    tables: Callable[[Run], Sequence[Table]] = lambda _: ()
    notes: Sequence[str] = ()
    guide: str = ""
