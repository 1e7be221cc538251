"""The ranker: DCN-v2 (Wang et al. 2021) and a deep part in parallel, with calibrated heads.

The logits start as retrieval's log-probabilities and training adds a correction. So an untrained
ranker keeps retrieval's order.
"""

from functools import cache
from typing import Any

import keras
import keras_rs
import numpy as np
from keras import layers, ops

from pocketrec_bundle.features import FeatureSpec
from pocketrec_training.recipe.schema import RankerConfig

CATEGORY_DIM = 8
LIMIT = 6.0
"""Standardised features are clipped to [-LIMIT, LIMIT]."""
MIN_BIN_WIDTH = 0.01
"""Narrower bins of the piecewise linear encoding are dropped: fp16 cannot represent their slope.
Features have a scale of about 1."""
PLE_LIMIT = 1e4
"""Features are clipped to this size before they are encoded. In fp16 log(0) = -inf, and
-inf * 0 (the slope of a dropped bin) = NaN."""
KNOTS = 8
"""Knots of the isotonic calibration; few, so that each segment has enough examples."""

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
# Two columns have their own form: the logarithm of retrieval's share (`log_share`), and years since
# 1980.

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
        width += sum(map(_n_scaled, columns)) + len(compared) + ("taste" in columns)
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


def _scaled(name: str, value: Any) -> list[Any]:
    """Transform one raw column to columns [N, 1] (or [1, 1])."""
    if name in ("year", "recent_year"):
        known = ops.cast(value >= 0, "float32")
        return [(ops.maximum(value, 1900.0) - 1980.0) / 20.0 * known, known]
    form, divisor = FORMS.get(name, ("", 1.0))
    if name.startswith("popularity_"):
        form, divisor = FORMS["popularity"]
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
def _n_scaled(name: str) -> int:
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


@keras.saving.register_keras_serializable(package="pocketrec", name="Pieces")
class PiecewiseLinearEncoding(layers.Layer):
    """Append the piecewise linear encoding of features (PLE; Gorishniy et al. 2022, sec. 3.2).

    Bin k of a feature rises from 0 to 1 between the feature's quantiles k and k + 1 and is constant
    elsewhere. So a linear layer can fit any piecewise linear function, as trees do with thresholds.
    """

    def __init__(self, *, columns: list[int], per_feature: int, **kwargs: Any) -> None:
        """Encode some features.

        Args:
            columns: numbers of the features that are encoded.
            per_feature: bins of each.
            **kwargs: settings of a Keras layer.
        """
        super().__init__(**kwargs)
        self.columns, self.per_feature = [int(column) for column in columns], per_feature

    def build(self, shape: Any) -> None:
        """Create start and reciprocal width of each bin; `fit` sets them before training."""
        self.n_features, size = int(shape[-1]), (len(self.columns) * self.per_feature,)
        self.start = self.add_weight(shape=size, initializer="zeros", trainable=False, name="start")
        self.rate = self.add_weight(shape=size, initializer="zeros", trainable=False, name="rate")
        self.built = True

    def fit(self, features: Any) -> None:
        """Set the bins from features f32 [n, F]; a bin that is too narrow gets slope 0."""
        shares = np.linspace(0.0, 1.0, self.per_feature + 1)
        edges = np.quantile(features[:, self.columns], shares, axis=0).T  # [C, K + 1]
        widths = np.diff(edges, axis=1)
        wide = widths > MIN_BIN_WIDTH
        used = wide & (wide.sum(axis=1, keepdims=True) > 1)  # a single bin repeats the feature
        self.start.assign(np.where(used, edges[:, :-1], 0.0).ravel())
        self.rate.assign(np.where(used, 1.0 / np.maximum(widths, MIN_BIN_WIDTH), 0.0).ravel())

    def compute_output_shape(self, shape: Any) -> tuple[int | None, ...]:
        """Return the output's shape, see `Numbers`."""
        return (shape[0], int(shape[-1]) + len(self.columns) * self.per_feature)

    def call(self, features: Any) -> Any:
        """Return f32 [N, F + C * per_feature]."""
        of = np.repeat(self.columns, self.per_feature)
        values = ops.take(ops.stop_gradient(features), of, axis=1)  # the bins are not learned
        values = ops.clip(values, -PLE_LIMIT, PLE_LIMIT)
        encoded = ops.clip((values - self.start) * self.rate, 0.0, 1.0)
        return ops.concatenate([features, encoded], axis=1)

    def get_config(self) -> dict[str, Any]:
        """Return the settings, for the .keras file."""
        sizes = {"columns": self.columns, "per_feature": self.per_feature}
        return {**super().get_config(), **sizes}


@keras.saving.register_keras_serializable(package="pocketrec", name="Standard")
class Standardization(layers.Layer):
    """Standardise each feature to mean 0 and spread 1 over the training lists, clipped to +-LIMIT.

    Values are clipped because inference may see inputs that training did not, e.g. a column that
    was always missing. A gain below 1 shrinks the feature, so L2 penalises its weight more.
    """

    def __init__(self, *, gains: list[tuple[int, float]] | None = None, **kwargs: Any) -> None:
        """Set the gains.

        Args:
            gains: (number of features, gain) for consecutive features; the others have gain 1.
            **kwargs: settings of a Keras layer.
        """
        super().__init__(**kwargs)
        self.gains = [(int(n), float(gain)) for n, gain in gains or ()]

    def build(self, shape: Any) -> None:
        """Create mean and reciprocal spread; `fit` sets them before training."""
        size = (int(shape[-1]),)
        self.mean = self.add_weight(shape=size, initializer="zeros", trainable=False, name="mean")
        self.scale = self.add_weight(shape=size, initializer="ones", trainable=False, name="scale")
        self.gain, start = np.ones(size, np.float32), 0
        for n, gain in self.gains:
            self.gain[start : start + n] = gain
            start += n
        self.built = True

    def fit(self, features: Any) -> None:
        """Set mean and spread from features f32 [n, F]; a constant feature is not scaled."""
        spread = np.std(features, axis=0)
        self.mean.assign(np.mean(features, axis=0))
        self.scale.assign(np.where(spread > 1e-3, 1.0 / np.maximum(spread, 1e-3), 1.0))

    def compute_output_shape(self, shape: Any) -> tuple[int | None, ...]:
        """Return the input's shape, see `Numbers`."""
        return tuple(shape)

    def call(self, features: Any) -> Any:
        """Return f32 [N, F]."""
        return ops.clip((features - self.mean) * self.scale, -LIMIT, LIMIT) * self.gain

    def get_config(self) -> dict[str, Any]:
        """Return the settings, for the .keras file."""
        return {**super().get_config(), "gains": self.gains}


@keras.saving.register_keras_serializable(package="pocketrec", name="Prior")
class RetrievalPrior(layers.Layer):
    """Add retrieval's log-probability to each head's logit, times a learned weight."""

    def build(self, shape: Any) -> None:
        """Create one weight for each head."""
        size = (int(shape[-1]),)
        self.weight = self.add_weight(shape=size, initializer="ones", name="weight")
        self.built = True

    def compute_output_shape(self, logits_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the logits, see `Numbers`."""
        return tuple(logits_shape)

    def call(self, logits: Any, log_share: Any) -> Any:
        """Return logits f32 [N, H]."""
        return logits + log_share * self.weight


@keras.saving.register_keras_serializable(package="pocketrec")
class Calibration(layers.Layer):
    """Calibrate logits in the graph: p = sigmoid(f(scale * logit + shift)). Set after training.

    f is piecewise linear, f(x) = x + sum_k slopes[k] * relu(x - knots[k]). With slopes of 0 this is
    Platt scaling (1999), else isotonic calibration.
    """

    def build(self, shape: Any) -> None:
        """Create scale, shift and knots for each head."""
        heads = int(shape[-1])
        make = self.add_weight
        self.scale = make(shape=(heads,), initializer="ones", trainable=False, name="scale")
        self.shift = make(shape=(heads,), initializer="zeros", trainable=False, name="shift")
        self.knots = make(shape=(KNOTS, heads), initializer="zeros", trainable=False, name="knots")
        self.slopes = make(
            shape=(KNOTS, heads), initializer="zeros", trainable=False, name="slopes"
        )
        self.built = True

    def compute_output_shape(self, shape: Any) -> tuple[int | None, ...]:
        """Return the input's shape, see `Numbers`."""
        return tuple(shape)

    def call(self, logits: Any) -> Any:
        """Return probabilities f32 [N, H]."""
        x = logits * self.scale + self.shift
        calibrated = x
        for k in range(KNOTS):
            calibrated = calibrated + self.slopes[k] * ops.relu(x - self.knots[k])
        return ops.sigmoid(calibrated)


def build_ranker(config: RankerConfig, spec: FeatureSpec) -> keras.Model:
    """Build the ranker, with the inputs of FORMAT.md and the output `probabilities` [N, H].

    The layer "logits" has the uncalibrated scores, which training fits.
    """
    inputs = {
        "user_vector": keras.Input((spec.dim,), name="user_vector"),
        "item_vectors": keras.Input((spec.dim,), name="item_vectors"),
        "item_categories": keras.Input(
            (spec.max_categories,), dtype="int32", name="item_categories"
        ),
        "item_numeric": keras.Input((len(spec.numeric),), name="item_numeric"),
        "context": keras.Input((len(spec.context),), name="context"),
        "pair": keras.Input((len(spec.pair),), name="pair"),
    }
    numbers = FeatureTransform(
        n_categories=len(spec.categories),
        context=list(spec.context),
        numeric=list(spec.numeric),
        pair=list(spec.pair),
        name="numbers",
    )
    raw, log_share = numbers(**inputs)
    vectors, size = 3 * spec.dim, int(raw.shape[-1])  # user's, item's and their product are first
    cycles = _cycles(spec)
    columns = [one for one in range(vectors + CATEGORY_DIM, size) if one not in cycles]
    encode = PiecewiseLinearEncoding(columns=columns, per_feature=config.ple_bins, name="pieces")
    encoded = encode(raw)
    gains = [
        (vectors, config.vector_gain),
        (size - vectors, 1.0),
        (int(encoded.shape[-1]) - size, config.ple_scale),
    ]
    x0 = Standardization(gains=gains, name="standard")(encoded)
    decay = keras.regularizers.L2(config.weight_decay) if config.weight_decay else None
    cross = x0
    for _ in range(config.cross_layers):
        cross = keras_rs.layers.FeatureCross(
            projection_dim=config.cross_rank, kernel_regularizer=decay
        )(x0, cross)
    deep = x0
    for width in config.deep:
        deep = layers.Dense(width, activation="relu", kernel_regularizer=decay)(deep)
        deep = layers.Dropout(config.dropout)(deep)
    joined = layers.Concatenate()([cross, deep])
    correction = layers.Dense(
        len(spec.heads), kernel_initializer="zeros", kernel_regularizer=decay
    )(joined)
    logits = RetrievalPrior(name="logits")(correction, log_share)
    return keras.Model(inputs, Calibration(name="probabilities")(logits), name="ranker")


def _cycles(spec: FeatureSpec) -> set[int]:
    """Return the numbers of the features that are sines and cosines, which need no encoding."""
    start, cycles = 3 * spec.dim + CATEGORY_DIM + 1, set()
    for name in spec.context:
        n = _n_scaled(name)
        if FORMS.get(name, ("",))[0] == "cycle":
            cycles |= set(range(start, start + n))
        start += n
    return cycles


def _log1p(x: Any) -> Any:
    """Return log(1 + x). ONNX has no Log1p operator and tf2onnx does not rewrite it."""
    return ops.log(x + 1.0)
