"""Compute the ranker's features by form: one operation over [k, n] instead of k slices.

Training transforms one column after the other (`pocketrec_training.ranker.feature_transform`), a
hundred operations on [n, 1]. Here columns are rows, so selecting some copies complete rows, and
columns of one form are transformed together. Their order differs from the trained ranker's: a
`Block` has the feature numbers of its rows, and the weights are ordered by them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from pocketrec_export.models.ranker_weights import PieceWeights
from pocketrec_training.ranker.feature_transform import (
    AGAINST_RECENT,
    CATEGORY_DIM,
    MIN_SHARE,
    SHARE,
    FeatureTransform,
    form_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A feature of a raw column x: kind(x) * factor + offset.

    "log" is log(max(x, least) + added), "sin" and "cos" of x * rate, "known" 1 or 0, "year" years
    since 1980, 0 if unknown, "raw" x.
    """

    kind: str
    factor: float = 1.0
    offset: float = 0.0
    least: float = 0.0
    added: float = 1.0
    rate: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureColumn:
    """Feature number `place` of the trained ranker, a form of a raw column."""

    column: int
    form: Form
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows f32 [k, n] that times factor plus offset are the features `place`; the three are [k]."""

    values: Any
    place: NDArray[np.int64]
    factor: NDArray[np.float64]
    offset: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Numbers of the trained ranker's features, in its order.

    Attributes:
        context: of the raw context columns.
        item: of an item's raw columns: `numeric`, then `pair`.
        against: by the name of an item's column that is compared with the user's last events.
        taste: of the category affinity; -1 without it.
        end: number of features without the piecewise linear encoding.
    """

    user: range
    vector: range
    product: range
    content: range
    context: list[FeatureColumn]
    item: list[FeatureColumn]
    against: dict[str, int]
    taste: int
    end: int

    @classmethod
    def of(cls, numbers: FeatureTransform, dim: int) -> "Layout":
        """Return the layout of a ranker with vectors of `dim` numbers."""
        context, numeric, pair = (numbers.names[key] for key in ("context", "numeric", "pair"))
        ends = np.cumsum([0, dim, dim, dim, CATEGORY_DIM]).tolist()
        user, vector, product, content = (range(*ends[i : i + 2]) for i in range(4))
        share = FeatureColumn(
            column=len(numeric) + pair.index(SHARE),
            form=Form(kind="log", factor=1 / 8, least=MIN_SHARE, added=0.0),
            place=content.stop,
        )
        placed_context = _feature_columns(context, share.place + 1)
        placed_item = _feature_columns([*numeric, *pair], share.place + 1 + len(placed_context))
        end = share.place + 1 + len(placed_context) + len(placed_item)
        compared = [n for n, _ in AGAINST_RECENT if n in numeric and f"recent_{n}" in context]
        return cls(
            user=user,
            vector=vector,
            product=product,
            content=content,
            context=placed_context,
            item=[share, *placed_item],
            against={name: end + i for i, name in enumerate(compared)},
            taste=end + len(compared) if "taste" in pair else -1,
            end=end + len(compared) + ("taste" in pair),
        )


def _feature_columns(names: Sequence[str], start: int) -> list[FeatureColumn]:
    forms = [(column, form) for column, name in enumerate(names) for form in _forms(name)]
    return [
        FeatureColumn(column=c, form=form, place=start + i) for i, (c, form) in enumerate(forms)
    ]


def _forms(name: str) -> list[Form]:
    """Return the forms of a raw column, in the trained ranker's order."""
    if name in ("year", "recent_year"):
        return [Form(kind="year", factor=1 / 20), Form(kind="known")]
    kind, divisor = form_of(name)
    log, raw = Form(kind="log", factor=1 / divisor), Form(kind="raw", factor=1 / divisor)
    found = {
        "cycle": [Form(kind=wave, rate=2 * np.pi / divisor) for wave in ("sin", "cos")],
        "plain": [raw],
        "votes": [raw, Form(kind="log", factor=1 / 7, offset=1.0, added=1e-3)],
        "known": [log, Form(kind="known")],
        "log": [log],
    }
    return found.get(kind, [])


def block(
    values: Any, place: Sequence[int] | NDArray[np.int64], factor: Sequence[float] = (1.0,)
) -> Block:
    """Make a block without offsets; one factor may stand for all rows."""
    at = np.asarray(place, np.int64)
    factors = np.broadcast_to(np.asarray(factor, np.float64), at.shape)
    return Block(values=values, place=at, factor=factors, offset=np.zeros(at.shape))


def spread(rows: Any, placed: Sequence[FeatureColumn]) -> list[Block]:
    """Transform raw columns, f32 [K, n], one block a kind of form."""
    found = []
    for kind in dict.fromkeys(one.form.kind for one in placed):
        mine = [one for one in placed if one.form.kind == kind]
        forms = [one.form for one in mine]
        found.append(
            Block(
                values=_transformed(kind, pick(rows, [one.column for one in mine]), forms),
                place=np.array([one.place for one in mine]),
                factor=np.array([form.factor for form in forms]),
                offset=np.array([form.offset for form in forms]),
            )
        )
    return found


def cut(blocks: Sequence[Block], pieces: PieceWeights) -> list[Block]:
    """Return the piecewise linear encoding of the features in some blocks of rows."""
    found = []
    for one in blocks:
        row = {int(place): i for i, place in enumerate(one.place)}
        mine = np.flatnonzero(np.isin(pieces.of, one.place))
        if not len(mine):
            continue
        at = np.array([row[int(of)] for of in pieces.of[mine]])
        rate = (pieces.rate[mine] * one.factor[at])[:, None].astype(np.float32)
        offset = pieces.offset[mine] + pieces.rate[mine] * one.offset[at]
        values = pick(one.values, at) * rate + offset[:, None].astype(np.float32)
        found.append(block(ops.clip(values, 0.0, 1.0), pieces.place[mine]))
    return found


def pick(rows: Any, columns: Sequence[int] | NDArray[np.int64]) -> Any:
    """Return some raw columns, f32 [k, n]."""
    return tf.gather(rows, np.asarray(columns, np.int32))  # ops.take looks for negative numbers


def _transformed(kind: str, x: Any, forms: Sequence[Form]) -> Any:
    def of_each(name: str) -> Any:
        return np.array([[getattr(form, name)] for form in forms], np.float32)

    if kind == "log":
        return ops.log(ops.maximum(x, of_each("least")) + of_each("added"))
    if kind == "known":
        return _known(x)
    if kind == "year":
        return (ops.maximum(x, 1900.0) - 1980.0) * _known(x)
    if kind == "raw":
        return x
    return {"sin": ops.sin, "cos": ops.cos}[kind](x * of_each("rate"))


def _known(x: Any) -> Any:
    return ops.cast(x >= 0, "float32")


def against_recent(
    numbers: FeatureTransform, layout: Layout, item: Any, context: Any
) -> list[Block]:
    """Compare an item's columns [M + P, n] with the context's [K, 1]; 0 where one is unknown."""
    if not layout.against:
        return []
    names = list(layout.against)
    one = pick(item, [numbers.names["numeric"].index(name) for name in names])
    two = pick(context, [numbers.names["context"].index(f"recent_{name}") for name in names])
    years = np.array([[name == "year"] for name in names], np.float32)
    apart = (_levels(one, years) - _levels(two, years)) * (_known(one) * _known(two))
    divisors = dict(AGAINST_RECENT)
    return [block(apart, list(layout.against.values()), [1 / divisors[name] for name in names])]


def _levels(x: Any, years: NDArray[np.float32]) -> Any:
    """Years as they are, all else as logarithms."""
    return ops.log(ops.maximum(x, 0.0) + 1.0) * (1 - years) + x * years
