"""What each reader yields: rows of texts with their line numbers, and lines set aside."""

from collections.abc import Sequence
from dataclasses import dataclass, field

SAMPLE = 200
"""Characters of a damaged line that are kept and shown."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that is not a row.

    Attributes:
        line: its number in the file, from 1.
        reason: what is wrong, in words that lines with the same fault share.
        text: the first `SAMPLE` characters.
    """

    line: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of one file, column by column.

    Attributes:
        names: of the columns; a name may occur twice.
        columns: one sequence of texts for each name, of equal length; None: no value.
        lines: number of the line where each row begins, from 1.
        broken: lines set aside.
    """

    names: tuple[str, ...]
    columns: Sequence[Sequence[str | None]]
    lines: Sequence[int]
    broken: list[Broken] = field(default_factory=list)


def sample(text: str) -> str:
    """Return the beginning of a text as it is shown in a message: on one line, printable."""
    shown = text[:SAMPLE]
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)
