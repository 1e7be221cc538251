"""The ranker's raw columns, brought to a scale of about 1 in its graph."""

from functools import cache
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from pocketrec_bundle.features import FeatureSpec

CATEGORY_DIM = 8

# How a raw column gets a scale of about 1: name -> (form, divisor).
# - plain: value / divisor.
# - log: log(1 + value) / divisor.
# - known: as log, and a second column that is 0 if the value is missing (-1), else 1.
# - cycle: sine and cosine, with the divisor as period.
# - votes: value / divisor, and a second column with the logarithm of the positive part.
# Columns named popularity_* are transformed like `popularity`.
FORMS: dict[str, tuple[str, float]] = {
    "hour": ("cycle", 24.0),
    "weekday": ("cycle", 7.0),
    "session_depth": ("log", 4.0),
    "n_events": ("log", 6.0),
    "seconds_since_last": ("known", 15.0),
    "seconds_since_first": ("known", 15.0),
    "like_share": ("plain", 1.0),
    "distinct_share": ("plain", 1.0),
    "popularity": ("log", 5.0),
    "price": ("known", 3.0),
    "recent_popularity": ("known", 5.0),
    "recent_price": ("known", 3.0),
    "retrieval_score": ("plain", 8.0),
    "retrieval_gap": ("log", 2.0),
    "retrieval_place": ("log", 5.0),
    "times_had": ("log", 1.0),
    "seconds_since_had": ("known", 15.0),
    "last_cosine": ("plain", 1.0),
    "max_cosine": ("plain", 1.0),
    "mean_cosine": ("plain", 1.0),
    "recent_had": ("log", 1.0),
    "neighbour_sum": ("votes", 0.2),
    "neighbour_recent": ("votes", 0.2),
    "taste": ("plain", 1.0),
    "recent_taste": ("plain", 1.0),
}
# Other numeric columns are declared features (`DECLARED`).
# Two columns have their own form: the logarithm of retrieval's share (`log_share`), and years since
# 1980.

DECLARED = ("known", 3.0)
"""Form of a declared feature; its scale matters little, because features are standardised."""
SHARE, MIN_SHARE = "retrieval_share", 1e-9
AGAINST_RECENT = (("popularity", 3.0), ("price", 2.0), ("year", 20.0))
"""Item columns X that are also compared with the context's recent_X, each with a divisor."""


@keras.saving.register_keras_serializable(package="pocketrec", name="Numbers")
class FeatureTransform(layers.Layer):
    """Transform raw columns to a scale of about 1 in the graph, and cross user and item."""

    def __init__(
        self,
        *,
        n_categories: int,
        context: list[str],
        numeric: list[str],
        pair: list[str],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.n_categories = n_categories
        self.names = {"context": list(context), "numeric": list(numeric), "pair": list(pair)}
        self.table = layers.Embedding(n_categories + 1, CATEGORY_DIM)

    def build(self, *_: Any, **__: Any) -> None:
        """Create the table of categories."""
        self.table.build()
        self.built = True

    def compute_output_shape(
        self, user_vector_shape: Any, item_vectors_shape: Any
    ) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
        """Return the shapes of both outputs: without them Keras traces the layer to find them."""
        columns = {name for names in self.names.values() for name in names}
        compared = [name for name, _ in AGAINST_RECENT if {name, f"recent_{name}"} <= columns]
        width = 3 * int(user_vector_shape[-1]) + CATEGORY_DIM + 1
        width += sum(map(n_scaled, columns)) + len(compared) + ("taste" in columns)
        return (item_vectors_shape[0], width), (item_vectors_shape[0], 1)

    def call(
        self,
        user_vector: Any,
        item_vectors: Any,
        item_categories: Any,
        item_numeric: Any,
        context: Any,
        pair: Any,
    ) -> tuple[Any, Any]:
        """Return features f32 [N, F], log_share f32 [N, 1]; user-side inputs can have one row."""
        rows = ops.zeros_like(item_vectors[:, :1])  # [N, 1]; broadcasts to N rows without a tile
        marks = ops.cast(ops.expand_dims(item_categories, -1) > 0, "float32")  # [N, C, 1]
        n_marks = ops.maximum(ops.sum(marks, axis=1), 1.0)
        content = ops.sum(self.table(item_categories) * marks, axis=1) / n_marks
        column = {
            name: source[:, i : i + 1]
            for key, source in (("context", context), ("numeric", item_numeric), ("pair", pair))
            for i, name in enumerate(self.names[key])
        }
        log_share = ops.log(ops.maximum(column[SHARE], MIN_SHARE))
        parts = [
            user_vector + rows,
            item_vectors,
            user_vector * item_vectors,
            content,
            log_share / 8,
        ]
        for name, value in column.items():
            parts += [part + rows for part in _scaled(name, value)]
        parts += [part + rows for part in _against_recent(column)]
        if "taste" in column:
            parts.append(column["taste"] / n_marks)
        return ops.concatenate(parts, axis=1), log_share

    def get_config(self) -> dict[str, Any]:
        """Return the settings, for the .keras file."""
        return {**super().get_config(), "n_categories": self.n_categories, **self.names}


def form_of(name: str) -> tuple[str, float]:
    """Return form and divisor of a raw column; no form: the column has its own."""
    if name == SHARE:
        return "", 1.0
    return FORMS.get("popularity" if name.startswith("popularity_") else name, DECLARED)


def _scaled(name: str, value: Any) -> list[Any]:
    """Transform one raw column to columns [N, 1] (or [1, 1])."""
    if name in ("year", "recent_year"):
        known = ops.cast(value >= 0, "float32")
        return [(ops.maximum(value, 1900.0) - 1980.0) / 20.0 * known, known]
    form, divisor = form_of(name)
    if not form:
        return []
    if form == "cycle":
        angle = value * (2.0 * np.pi / divisor)
        return [ops.sin(angle), ops.cos(angle)]
    if form == "plain":
        return [value / divisor]
    if form == "votes":  # signed; small positive sums differ in the logarithm
        return [value / divisor, ops.log(ops.maximum(value, 0.0) + 1e-3) / 7.0 + 1.0]
    scaled = _log1p(ops.maximum(value, 0.0)) / divisor
    return [scaled, ops.cast(value >= 0, "float32")] if form == "known" else [scaled]


@cache
def n_scaled(name: str) -> int:
    """Return how many columns `_scaled` makes of one."""
    return len(_scaled(name, np.zeros((1, 1), np.float32)))


def _against_recent(column: dict[str, Any]) -> list[Any]:
    """Subtract the user's recent popularity, price and year from the item's; 0 if unknown."""
    differences = []
    for name, scale in AGAINST_RECENT:
        if name not in column or f"recent_{name}" not in column:
            continue
        one, two = column[name], column[f"recent_{name}"]
        known = ops.cast(one >= 0, "float32") * ops.cast(two >= 0, "float32")
        if name != "year":
            one, two = _log1p(ops.maximum(one, 0.0)), _log1p(ops.maximum(two, 0.0))
        differences.append((one - two) * known / scale)
    return differences


def column_places(spec: FeatureSpec) -> dict[str, list[int]]:
    """Return the numbers of the features that each named column becomes."""
    place, found = 3 * spec.dim + CATEGORY_DIM + 1, {}
    for name in (*spec.context, *spec.numeric, *spec.pair):
        found[name] = list(range(place, place + n_scaled(name)))
        place += n_scaled(name)
    return found


def _log1p(x: Any) -> Any:
    """Return log(1 + x). ONNX has no Log1p operator and tf2onnx does not rewrite it."""
    return ops.log(x + 1.0)
