"""The ranker's features from raw columns by form: one operation over [n, k] instead of k slices.

Training takes one column after the other (`Numbers` in `training/ranker.py`), some hundred
operations on [n, 1]. Here columns of one form are transformed together. What order they then stand
in is the weights' business: `Layout` and `Block` say which features of the trained ranker they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from training.ranker import AGAINST_RECENT, CATEGORY_DIM, FORMS, Numbers

NONE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A feature of a raw column x: kind(x) * factor + offset.

    "log" is log(max(x, least) + added), "sin" and "cos" of x * rate, "known" 1 or 0, "year" years
    from 1980, 0 if unknown, "raw" x.
    """

    kind: str
    factor: float = 1.0
    offset: float = 0.0
    least: float = 0.0
    added: float = 1.0
    rate: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The feature `place` of the trained ranker is a form of a source's raw column."""

    column: int
    form: Form
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Columns f32 [n, k]; times factor plus offset, f64 [k] each, they are the features `place`.

    place: int [k], NONE for a column that is no feature and only stands between two that are.
    """

    values: Any
    place: NDArray[np.int64]
    factor: NDArray[np.float64]
    offset: NDArray[np.float64]


@dataclass(slots=True, kw_only=True)
class Layout:
    """Which features the trained ranker has, in its order; `size` is their number.

    forms: by source, "context", "numeric" or "pair"; against: by name of the item column.
    """

    user: range
    item: range
    product: range
    content: range
    forms: dict[str, list[Placed]] = field(default_factory=dict)
    against: dict[str, int] = field(default_factory=dict)
    taste: int = NONE
    size: int = 0

    @classmethod
    def of(cls, numbers: Numbers, dim: int) -> "Layout":
        """Return the layout of a ranker with vectors of `dim` numbers."""
        starts = (*(n * dim for n in range(4)), 3 * dim + CATEGORY_DIM)
        made = cls(
            **{
                name: range(*starts[i : i + 2])
                for i, name in enumerate(("user", "item", "product", "content"))
            }
        )
        share, made.size = starts[-1], starts[-1] + 1
        names = numbers.names
        for source in ("context", "numeric", "pair"):
            made.forms[source] = []
            for column, name in enumerate(names[source]):
                if name == "retrieval_share":
                    form = Form(kind="log", factor=1 / 8, least=1e-9, added=0.0)
                    made.forms[source].append(Placed(column=column, form=form, place=share))
                for form in _forms(name):
                    made.forms[source].append(Placed(column=column, form=form, place=made.size))
                    made.size += 1
        for name, _ in AGAINST_RECENT:
            if name in names["numeric"] and f"recent_{name}" in names["context"]:
                made.against[name] = made.size
                made.size += 1
        if "taste" in names["pair"]:
            made.taste = made.size
            made.size += 1
        return made


def _forms(name: str) -> list[Form]:
    """Return the forms of a raw column, in the order of `training/ranker.py`."""
    if name in ("year", "recent_year"):
        return [Form(kind="year", factor=1 / 20), Form(kind="known")]
    kind, divisor = FORMS.get("popularity" if name.startswith("popularity_") else name, ("", 1.0))
    log, raw = Form(kind="log", factor=1 / divisor), Form(kind="raw", factor=1 / divisor)
    small = Form(kind="log", factor=1 / 7, offset=1.0, added=1e-3)
    waves = [Form(kind=wave, rate=2 * np.pi / divisor) for wave in ("sin", "cos")]
    found = {
        "cycle": waves,
        "plain": [raw],
        "votes": [raw, small],
        "known": [log, Form(kind="known")],
        "log": [log],
    }
    return found.get(kind, [])


def block(values: Any, place: Sequence[int], factor: float | Sequence[float] = 1.0) -> Block:
    """Make a block without offsets; one factor may stand for all columns."""
    at = np.asarray(place, np.int64)
    factors = np.broadcast_to(np.asarray(factor, np.float64), at.shape)
    return Block(values=values, place=at, factor=factors, offset=np.zeros(at.shape))


def spread(x: Any, placed: Sequence[Placed]) -> list[Block]:
    """Transform raw columns x [n, K], one block a kind, over the span of its columns."""
    found = []
    for kind in dict.fromkeys(one.form.kind for one in placed):
        mine = {one.column: one for one in placed if one.form.kind == kind}
        first, last = min(mine), max(mine)
        idle = Placed(column=NONE, form=Form(kind=kind), place=NONE)
        span = [mine.get(column, idle) for column in range(first, last + 1)]
        forms = [one.form for one in span]
        found.append(
            Block(
                values=_transformed(kind, x[:, first : last + 1], forms),
                place=np.array([one.place for one in span]),
                factor=np.array([form.factor for form in forms]),
                offset=np.array([form.offset for form in forms]),
            )
        )
    return found


def _transformed(kind: str, x: Any, forms: Sequence[Form]) -> Any:
    def row(name: str) -> Any:
        return np.array([[getattr(form, name) for form in forms]], np.float32)

    if kind == "log":
        return ops.log(ops.maximum(x, row("least")) + row("added"))
    if kind == "known":
        return known(x)
    if kind == "year":
        return (ops.maximum(x, 1900.0) - 1980.0) * known(x)
    if kind == "raw":
        return x
    return {"sin": ops.sin, "cos": ops.cos}[kind](x * row("rate"))


def known(x: Any) -> Any:
    """Return 1 where a raw number is known, 0 where it is -1."""
    return ops.cast(x >= 0, "float32")


def against_recent(numbers: Numbers, layout: Layout, numeric: Any, context: Any) -> list[Block]:
    """Compare item columns with the means over the user's last events; 0 where one is unknown."""
    if not layout.against:
        return []
    names, recent = numbers.names["numeric"], numbers.names["context"]
    divisors = dict(AGAINST_RECENT)
    at = [recent.index(f"recent_{name}") if name in layout.against else 0 for name in names]
    means = ops.take(context, np.array(at), axis=1)  # [1, M]
    years = np.array([[name == "year" for name in names]], np.float32)
    both = known(numeric) * known(means)
    return [
        block(
            (_levels(numeric, years) - _levels(means, years)) * both,
            [layout.against.get(name, NONE) for name in names],
            [1 / divisors.get(name, 1.0) for name in names],
        )
    ]


def _levels(x: Any, years: NDArray[np.float32]) -> Any:
    """Years as they are, all else as logarithms."""
    return ops.log(ops.maximum(x, 0.0) + 1.0) * (1 - years) + x * years
