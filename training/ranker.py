"""The ranker: DCN-v2 (Wang et al. 2021) beside a deep part, one calibrated probability a head."""

from typing import Any

import keras
import keras_rs
import numpy as np
from keras import layers, ops

from bundle.features import FeatureSpec
from training.recipe import RankerConfig

CATEGORY_DIM = 8


@keras.saving.register_keras_serializable(package="pocketrec")
class Numbers(layers.Layer):
    """Turn raw numbers into inputs of size about 1, and crosses of user and item; all in graph."""

    def __init__(self, *, n_categories: int, context: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_categories, self.context = n_categories, list(context)
        self.table = layers.Embedding(n_categories + 1, CATEGORY_DIM)

    def build(self, *_: Any, **__: Any) -> None:
        """Nothing of its own to create; the table builds itself when first called."""
        self.built = True

    def call(
        self,
        user_vector: Any,
        item_vectors: Any,
        item_categories: Any,
        item_numeric: Any,
        context: Any,
        user_categories: Any,
    ) -> Any:
        """Return f32 [N, features]; user-side inputs may have one row, which broadcasts."""
        rows = ops.zeros_like(item_vectors[:, :1])  # [N, 1], carries N without a tile
        known = ops.cast(item_numeric >= 0, "float32")
        popularity, year, price = ops.split(item_numeric, 3, axis=1)
        numbers = ops.concatenate(
            [
                _log1p(ops.maximum(popularity, 0.0)) / 5.0,
                (ops.maximum(year, 1900.0) - 1980.0) / 20.0 * known[:, 1:2],
                _log1p(ops.maximum(price, 0.0)) / 3.0,
                known,
            ],
            axis=1,
        )
        marks = ops.cast(ops.expand_dims(item_categories, -1) > 0, "float32")  # [N, C, 1]
        n_marks = ops.maximum(ops.sum(marks, axis=1), 1.0)
        content = ops.sum(self.table(item_categories) * marks, axis=1) / n_marks
        codes = np.arange(self.n_categories + 1, dtype=np.int32)[None, None]
        hits = ops.cast(ops.equal(ops.expand_dims(item_categories, -1), codes), "float32") * marks
        taste = ops.sum(ops.sum(hits, axis=1) * user_categories, axis=1, keepdims=True)
        product = user_vector * item_vectors
        return ops.concatenate(
            [
                user_vector + rows,
                item_vectors,
                product,
                ops.sum(product, axis=1, keepdims=True),
                numbers,
                content,
                taste,
                taste / n_marks,
                self._context(context) + rows,
            ],
            axis=1,
        )

    def _context(self, context: Any) -> Any:
        column = {name: context[:, i : i + 1] for i, name in enumerate(self.context)}
        parts = []
        for name, period in (("hour", 24.0), ("weekday", 7.0)):
            if name in column:
                angle = column[name] * (2.0 * np.pi / period)
                parts += [ops.sin(angle), ops.cos(angle)]
        for name, scale in (("session_depth", 4.0), ("n_events", 6.0)):
            if name in column:
                parts.append(_log1p(column[name]) / scale)
        if "seconds_since_last" in column:
            since = column["seconds_since_last"]
            parts += [_log1p(ops.maximum(since, 0.0)) / 15.0, ops.cast(since >= 0, "float32")]
        if "like_share" in column:
            parts.append(column["like_share"])
        return ops.concatenate(parts, axis=1)

    def get_config(self) -> dict[str, Any]:
        """Return the settings, for the .keras file."""
        own = {"n_categories": self.n_categories, "context": self.context}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="pocketrec")
class Calibration(layers.Layer):
    """Platt scaling in the graph: sigmoid(scale * logit + shift), set after training."""

    def build(self, shape: Any) -> None:
        """Create one scale and one shift a head."""
        size = (int(shape[-1]),)
        self.scale = self.add_weight(shape=size, initializer="ones", trainable=False, name="scale")
        self.shift = self.add_weight(shape=size, initializer="zeros", trainable=False, name="shift")

    def call(self, logits: Any) -> Any:
        """Return probabilities f32 [N, H]."""
        return ops.sigmoid(logits * self.scale + self.shift)


def build_ranker(config: RankerConfig, spec: FeatureSpec) -> keras.Model:
    """Build the ranker; its inputs are named as in FORMAT.md, output `probabilities` [N, H].

    The layer "logits" gives the uncalibrated scores that training fits.
    """
    inputs = {
        "user_vector": keras.Input((spec.dim,), name="user_vector"),
        "item_vectors": keras.Input((spec.dim,), name="item_vectors"),
        "item_categories": keras.Input(
            (spec.max_categories,), dtype="int32", name="item_categories"
        ),
        "item_numeric": keras.Input((len(spec.numeric),), name="item_numeric"),
        "context": keras.Input((len(spec.context),), name="context"),
        "user_categories": keras.Input((len(spec.categories) + 1,), name="user_categories"),
    }
    numbers = Numbers(n_categories=len(spec.categories), context=list(spec.context), name="numbers")
    x0 = numbers(**inputs)
    cross = x0
    for _ in range(config.cross_layers):
        cross = keras_rs.layers.FeatureCross(projection_dim=config.cross_rank)(x0, cross)
    deep = x0
    for width in config.deep:
        deep = layers.Dense(width, activation="relu")(deep)
        deep = layers.Dropout(0.1)(deep)
    joined = layers.Concatenate()([cross, deep])
    logits = layers.Dense(len(spec.heads), name="logits")(joined)
    return keras.Model(inputs, Calibration(name="probabilities")(logits), name="ranker")


def _log1p(x: Any) -> Any:
    """log(1 + x), spelt out: ONNX has no Log1p operator and tf2onnx does not rewrite it."""
    return ops.log(x + 1.0)
