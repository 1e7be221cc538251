"""Declared features in the ranker's graph: clipping, logarithm, scale, and learned vectors."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from pocketrec_bundle.declared import FittedFeature, FittedFeatures
from pocketrec_bundle.declared.encoded import is_coded, is_number_like
from pocketrec_bundle.encoding.strict_json import MAX_NUMBER

LIMIT = 1e4
"""Scaled numbers are clipped to this size, as far as fp16 can hold them with their slopes."""
_LEAST = 1e-6


@keras.saving.register_keras_serializable(package="pocketrec", name="Declared")
class DeclaredParts(layers.Layer):
    """Turn declared features into columns: scaled numbers with known flags, and learned vectors.

    A name's vector is learned; a list of names has the mean of its names' vectors, and 0 if none is
    known. A vector feature is multiplied by a learned matrix.
    """

    def __init__(
        self,
        *,
        numbers: list[dict[str, Any]],
        codes: list[dict[str, Any]],
        vectors: list[dict[str, Any]],
        **kwargs: Any,
    ) -> None:
        """Set the features; `settings_of` makes them.

        Args:
            numbers: low, high, log, centre, spread of each number or flag.
            codes: width, n_codes, size of each category or list of categories.
            vectors: length, size of each vector.
            **kwargs: settings of a Keras layer.
        """
        super().__init__(**kwargs)
        self.numbers, self.codes, self.vectors = list(numbers), list(codes), list(vectors)

    def build(self, *_: Any, **__: Any) -> None:
        """Create a table for each category and a matrix for each vector."""
        self.tables = [
            self.add_weight(
                shape=(one["n_codes"] + 1, one["size"]),
                initializer="uniform",
                name=f"table_{place}",
            )
            for place, one in enumerate(self.codes)
        ]
        self.kernels = [
            self.add_weight(
                shape=(one["length"], one["size"]),
                initializer="glorot_uniform",
                name=f"kernel_{place}",
            )
            for place, one in enumerate(self.vectors)
        ]
        self.built = True

    @property
    def n_numbers(self) -> int:
        """Columns of `scaled`."""
        return 2 * len(self.numbers)

    @property
    def n_learned(self) -> int:
        """Columns of `learned`."""
        return sum(int(one["size"]) for one in (*self.codes, *self.vectors))

    def compute_output_shape(self, *_: Any, **__: Any) -> tuple[int | None, ...]:
        """Return the output's shape: without it Keras traces the layer to find it."""
        return (None, self.n_numbers + self.n_learned)

    def call(
        self, item_numbers: Any = None, item_codes: Any = None, item_embeddings: Any = None
    ) -> Any:
        """Return f32 [N, F]: `scaled`, then `learned`."""
        parts = [] if item_numbers is None else [self.scaled(item_numbers)]
        if self.n_learned:
            parts.append(self.learned(item_codes, item_embeddings))
        return ops.concatenate(parts, axis=1)

    def scaled(self, item_numbers: Any) -> Any:
        """Return all numbers, brought to a scale of about 1, then the known flags; f32 [N, 2K]."""
        n = len(self.numbers)
        values, known = item_numbers[:, :n], item_numbers[:, n:]

        def of_each(key: str) -> Any:
            return np.array([[float(one[key]) for one in self.numbers]], np.float32)

        values = ops.clip(values, of_each("low"), of_each("high"))
        log = of_each("log")
        if log.any():
            # ONNX has no Log1p operator and tf2onnx does not rewrite it.
            values = ops.log(ops.maximum(values, 0.0) + 1.0) * log + values * (1.0 - log)
        values = (values - of_each("centre")) * (1.0 / of_each("spread"))
        return ops.concatenate([ops.clip(values, -LIMIT, LIMIT) * known, known], axis=1)

    def learned(self, item_codes: Any, item_embeddings: Any) -> Any:
        """Return the learned vectors of all names and vectors side by side, f32 [N, E]."""
        parts, start = [], 0
        for one, table in zip(self.codes, self.tables, strict=True):
            stop = start + one["width"]
            codes = item_codes[:, start:stop]
            marks = ops.cast(codes > 0, "float32")  # [N, w]
            if one["width"] == 1:  # a mean of one name: half the operations of a small list
                parts.append(ops.take(table, codes[:, 0], axis=0) * marks)
            else:
                found = ops.take(table, codes, axis=0) * ops.expand_dims(marks, -1)  # [N, w, e]
                total = ops.maximum(ops.sum(marks, axis=1, keepdims=True), 1.0)
                parts.append(ops.sum(found, axis=1) / total)
            start = stop
        start = 0
        for one, kernel in zip(self.vectors, self.kernels, strict=True):
            stop = start + one["length"]
            parts.append(ops.matmul(item_embeddings[:, start:stop], kernel))
            start = stop
        return ops.concatenate(parts, axis=1)

    def get_config(self) -> dict[str, Any]:
        """Return the settings, for the .keras file."""
        settings = {"numbers": self.numbers, "codes": self.codes, "vectors": self.vectors}
        return {**super().get_config(), **settings}


def settings_of(features: FittedFeatures) -> dict[str, list[dict[str, Any]]]:
    """Return the settings of a layer for the features of a ranker, in the order of its inputs."""
    items = features.items
    return {
        "numbers": [_number(one) for one in items if is_number_like(one.feature)],
        "codes": [
            {"width": one.width, "n_codes": one.n_codes, "size": one.feature.embedding}
            for one in items
            if is_coded(one.feature)
        ],
        "vectors": [
            {"length": one.feature.length, "size": one.feature.embedding}
            for one in items
            if one.feature.kind == "vector"
        ],
    }


def _number(fitted: FittedFeature) -> dict[str, Any]:
    """Scale by quantiles: outliers would make all other numbers alike."""
    low, high = fitted.feature.clip or (-MAX_NUMBER, MAX_NUMBER)
    edges = fitted.edges or (0.0,)
    last = len(edges) - 1
    spread = edges[round(last * 7 / 8)] - edges[round(last / 8)]
    return {
        "low": low,
        "high": high,
        "log": fitted.feature.log,
        "centre": edges[round(last / 2)],
        "spread": spread if spread > _LEAST else 1.0,
    }
