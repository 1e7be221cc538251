"""Rows of the gates: check, value and limit, and their table."""

from collections.abc import Sequence
from dataclasses import dataclass

_REMEDY = {
    "runs": "take the variant out of export.variants if its note is expected",
    "bytes": "raise it, add a smaller variant to export.variants, or train smaller models "
    "(retrieval.dim, retrieval.blocks, ranker.deep)",
    "minimum runtime": "ship a newer runtime in the app, or add a variant that old ones load "
    "(fp16, selective) to export.variants",
    "cosine": "add fp16 to export.variants, or lower it",
    "overlap": "add fp16 to export.variants, or lower it",
    "rank correlation": "add fp16 to export.variants, or lower it",
    "latency ratio": "raise it, or add another variant to export.variants",
    "slate overlap": "change the item index if the row says so, add fp16 to export.variants, or "
    "lower it",
    "NDCG@10 loss": "change the item index if the row says so, add fp16 to export.variants, or "
    "raise it",
    "AUC loss": "change the item index if the row says so, add fp16 to export.variants, or "
    "raise it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRow:
    """One check of a file or a pair: value against limit.

    Attributes:
        model: "both" for a pair; variant is then "TOWER + RANKER".
        key: the recipe key that sets the limit.
        passed: False refuses.
        interval: of a value that was sampled or timed; None for an exact one.
        warned: the value is beyond the limit, but its interval is not, or it is a time that is
            refused from 1.5 times the limit on.
        note: where the loss comes from.
        of_index: without what the item index costs, the value would be within the limit.
    """

    target: str
    model: str
    variant: str
    check: str
    key: str
    value: float | str
    limit: float | str
    passed: bool
    interval: tuple[float, float] | None = None
    warned: bool = False
    note: str = ""
    of_index: bool = False

    @property
    def state(self) -> str:
        """Return "passed", "warned" or "failed"."""
        return "warned" if self.warned else "passed" if self.passed else "failed"


def table(rows: Sequence[GateRow]) -> str:
    """Return one line a check, with its interval, limit and recipe key, and a line a note."""
    lines = [
        f"{'target':<9}{'model':<12}{'variant':<23}{'check':<17}{'found':>12}{'interval':>24}"
        f"{'limit':>12}  recipe key"
    ]
    for row in rows:
        lines.append(
            f"{row.target:<9}{row.model:<12}{row.variant:<23}{row.check:<17}"
            f"{shown(row.value):>12}{interval(row):>24}{shown(row.limit):>12}  {row.key}"
        )
        if row.note:
            lines.append(f"{'':<9}{row.note}")
    return "\n".join(lines)


def remedies(rows: Sequence[GateRow]) -> str:
    """Return one line a recipe key of `rows`: what to do."""
    found = {row.key: _REMEDY[row.check] for row in rows}
    return "\n".join(f"{key}: {remedy}." for key, remedy in found.items())


def shown(value: float | str) -> str:
    """Return a value for a table: counts in full, shares in five digits."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.5g}"


def interval(row: GateRow) -> str:
    """Return the interval of a row's value as a text, "" for an exact one."""
    return f"[{row.interval[0]:.3g}, {row.interval[1]:.3g}]" if row.interval else ""
