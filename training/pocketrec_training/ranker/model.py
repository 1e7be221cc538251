"""The ranker: DCN-v2 (Wang et al. 2021) and a deep part in parallel, with calibrated heads.

The logits start as retrieval's log-probabilities and training adds a correction. So an untrained
ranker keeps retrieval's order.
"""

from typing import Any

import keras
import keras_rs
import numpy as np
from keras import layers, ops

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.declared.item_features import input_widths
from pocketrec_bundle.features import FeatureSpec
from pocketrec_training.ranker.blend import Blend, BlendColumns, blend_names
from pocketrec_training.ranker.declared_parts import DeclaredParts, settings_of
from pocketrec_training.ranker.feature_transform import (
    CATEGORY_DIM,
    FORMS,
    FeatureTransform,
    column_places,
)
from pocketrec_training.recipe.schema import RankerConfig

NO_FEATURES = FittedFeatures()
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


def build_ranker(
    config: RankerConfig, spec: FeatureSpec, declared: FittedFeatures = NO_FEATURES
) -> keras.Model:
    """Build the ranker, with the inputs of FORMAT.md and the output `probabilities` [N, H].

    The layer "logits" has the uncalibrated scores, which training fits.

    Args:
        config: its sizes.
        spec: its columns.
        declared: features that it reads beside the columns of the spec.
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
    typed = {
        name: keras.Input((width,), dtype=_dtype(name), name=name)
        for name, width in input_widths(declared).items()
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
    if typed:
        parts = DeclaredParts(**settings_of(declared), name="declared")
        raw = layers.Concatenate(name="all_numbers")([raw, parts(**typed)])
        columns += range(size, size + parts.n_numbers)
        size = int(raw.shape[-1])
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
    if config.blend:
        mixed = [n for name in blend_names(spec) for n in column_places(spec)[name]]
        prior = RetrievalPrior(name="prior")(correction, log_share)
        logits = Blend(name="logits")(prior, BlendColumns(columns=mixed, name="blend_columns")(x0))
    else:
        logits = RetrievalPrior(name="logits")(correction, log_share)
    return keras.Model(inputs | typed, Calibration(name="probabilities")(logits), name="ranker")


def _dtype(input_name: str) -> str:
    return "int32" if input_name == "item_codes" else "float32"


def set_start(ranker: keras.Model, labels: Any, real: Any) -> None:
    """Let each head of an untrained ranker begin at the mean of its labels.

    Retrieval's shares add up to 1 over a list. A head whose labels add up to less has a smaller
    mean, by a factor of thousands for values.

    Args:
        ranker: built, not trained.
        labels: float32 [n, m, H], 0..1.
        real: bool [n, m].
    """
    sums = (labels * real[..., None]).sum(axis=(0, 1)) / max(len(labels), 1)
    last = [layer for layer in ranker.layers if isinstance(layer, layers.Dense)][-1]
    last.bias.assign(np.log(np.maximum(sums, 1e-6)))


def _cycles(spec: FeatureSpec) -> set[int]:
    """Return the numbers of the features that are sines and cosines, which need no encoding."""
    places = column_places(spec)
    return {
        n for name in spec.context if FORMS.get(name, ("",))[0] == "cycle" for n in places[name]
    }
