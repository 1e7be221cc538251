"""Small Markdown tables: one subject a row, one number a cell, bold for the best of a column."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.harness import Cell

Best = Literal["high", "low"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of numbers.

    Attributes:
        title: what is measured, with its unit.
        digits: decimals to show.
        best: which end is better; without it no cell is bold.
    """

    title: str
    digits: int = 0
    best: Best | None = None

    def show(self, value: Cell) -> str:
        """Return the text of one cell; unknown values are an empty cell."""
        if value is None:
            return ""
        if isinstance(value, str):
            return value
        return f"{value:,.{self.digits}f}"


@dataclass(frozen=True, slots=True)
class Row:
    """A subject and its values, one a column.

    Attributes:
        competes: False for a bound or a random order; such a row is never bold.
    """

    subject: str
    values: Sequence[Cell]
    competes: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """A table of measured values.

    Attributes:
        title: one line above the table.
        subject: heading of the first column.
    """

    title: str
    subject: str
    columns: Sequence[Column]
    rows: Sequence[Row]

    def markdown(self) -> str:
        """Return the table as Markdown; cells that show the best value of a column are bold."""
        shown = [
            [column.show(value) for column, value in zip(self.columns, row.values, strict=True)]
            for row in self.rows
        ]
        for at, column in enumerate(self.columns):
            best = self._best(at, column)
            for row, cells in zip(self.rows, shown, strict=True):
                if best is not None and row.competes and cells[at] == best:
                    cells[at] = f"**{best}**"
        head = [self.subject, *(column.title for column in self.columns)]
        ruler = ["---", *("---:" for _ in self.columns)]
        body = [[row.subject, *cells] for row, cells in zip(self.rows, shown, strict=True)]
        lines = [f"| {' | '.join(words)} |" for words in (head, ruler, *body)]
        return "\n".join([f"{self.title}:", "", *lines])

    def _best(self, at: int, column: Column) -> str | None:
        """Text of the best cell of a column; None if there is nothing to compare."""
        values = [row.values[at] for row in self.rows if row.competes]
        numbers = [value for value in values if isinstance(value, (int, float))]
        if column.best is None or len(numbers) < 2:
            return None
        return column.show(max(numbers) if column.best == "high" else min(numbers))


@dataclass(frozen=True, slots=True)
class Target:
    """A figure beside the limit that the claim sets.

    Attributes:
        figure: what was measured.
        unit: unit of `value` and `limit`; empty for shares and ratios.
        relation: how `value` must stand to `limit`.
    """

    figure: str
    unit: str
    value: float
    relation: Literal["at least", "at most", "above", "below", "exactly"]
    limit: float
    digits: int = 0

    @property
    def is_reached(self) -> bool:
        """Whether the measured value, not the rounded one, meets the limit."""
        return {
            "at least": self.value >= self.limit,
            "at most": self.value <= self.limit,
            "above": self.value > self.limit,
            "below": self.value < self.limit,
            "exactly": self.value == self.limit,
        }[self.relation]


def targets_markdown(targets: Sequence[Target]) -> str:
    """Return the table of a section's targets."""
    lines = ["| figure | unit | measured | target | reached |", "|---|---|---:|---:|---|"]
    for target in targets:
        value, limit = (f"{number:,.{target.digits}f}" for number in (target.value, target.limit))
        reached = "yes" if target.is_reached else "no"
        words = (target.figure, target.unit, value, f"{target.relation} {limit}", reached)
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines)
