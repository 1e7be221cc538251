"""Tables of the page: typed cells, digits by column, the best of a column in bold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Best = Literal["high", "low", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. better: which end is bold, "" = none; digits: after the point, of floats.

    words: its cells are texts, which stand at the left.
    """

    name: str
    better: Best = ""
    digits: int = 4
    signed: bool = False
    words: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A text to show and the number to sort by, None for texts."""

    text: str
    value: float | None = None
    best: bool = False
    words: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of the page; the first cell of each row is its heading."""

    name: str
    title: str
    note: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    models: Sequence[int] = field(default_factory=tuple)


def table(
    name: str,
    title: str,
    note: str,
    columns: Sequence[Column],
    values: Sequence[Sequence[Any]],
    models: Sequence[str] = (),
) -> Table:
    """Format values, [rows][columns]; None is shown as a dash and never the best.

    >>> made = table("t", "T", "", [Column(name="m"), Column(name="x", better="high")],
    ...              [["a", 0.5], ["b", 0.25]])
    >>> [(cell.text, cell.best) for row in made.rows for cell in row[1:]]
    [('0.5000', True), ('0.2500', False)]
    """
    best = [_best(column, [row[at] for row in values]) for at, column in enumerate(columns)]
    rows = [
        [_cell(column, value, top) for column, value, top in zip(columns, row, best, strict=True)]
        for row in values
    ]
    ours = [at for at, row in enumerate(values) if row[0] in models]
    return Table(name=name, title=title, note=note, columns=columns, rows=rows, models=ours)


def _best(column: Column, values: Sequence[Any]) -> str | None:
    """Return the best value as it is shown, so that equals on the page are all bold."""
    numbers = [value for value in values if isinstance(value, int | float)]
    if not column.better or len({_shown(column, value) for value in numbers}) < 2:
        return None
    return _shown(column, max(numbers) if column.better == "high" else min(numbers))


def _cell(column: Column, value: Any, best: str | None) -> Cell:
    if value is None:
        return Cell(text="-", words=column.words)
    if isinstance(value, str):
        return Cell(text=value, words=column.words)
    shown = _shown(column, value)
    return Cell(text=shown, value=float(value), best=shown == best)


def _shown(column: Column, value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:{'+' if column.signed else ''}.{column.digits}f}"


def label(method: str) -> str:
    """Return the name of a method or setting as the page shows it."""
    return method.replace("_", " ")


def retrieval_table(
    name: str, title: str, note: str, found: Mapping[str, Any], before: Mapping[str, Any]
) -> Table:
    """Return the methods of one setting; before: the same of a previous evaluation, or empty."""
    columns = [
        Column(name="method"),
        Column(name="NDCG@10", better="high"),
        Column(name="95% from"),
        Column(name="95% to"),
        Column(name="NDCG@20", better="high"),
        Column(name="Recall@10", better="high"),
        Column(name="Recall@20", better="high"),
        Column(name="MRR@10", better="high"),
        Column(name="coverage@10", better="high", digits=3),
    ]
    if before:
        columns += [
            Column(name="previous NDCG@10", better="high"),
            Column(name="change of NDCG@10", signed=True),
        ]
    values = []
    for method, m in found.items():
        gain = m["ndcg@10"]
        row = [label(method), gain["value"], gain["low"], gain["high"]]
        row += [m[at]["value"] for at in ("ndcg@20", "recall@10", "recall@20", "mrr@10")]
        row.append(m["coverage@10"])
        if before:
            old = before[method]["ndcg@10"]["value"] if method in before else None
            row += [old, None if old is None else gain["value"] - old]
        values.append(row)
    return table(name, title, note, columns, values, MODELS)


MODELS = ("two stage", "two tower", "shipped bundle")
"""Methods of the run, as `label` names them."""
