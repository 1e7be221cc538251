"""The blend: a linear mix of retrieval's score, the neighbours' votes, popularity and habit.

Simple methods win on some data: neighbours where people follow each other closely, popularity where
histories are short, habit where people repeat. The blend mixes the numbers that the ranker reads
anyway, with weights fitted on validation lists. The ranker starts from it and learns a correction.

The weights maximise the likelihood of what came next, given its list: a conditional logit (McFadden
1974). It is concave, so there is one best set of weights, and no seed.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray
from scipy.optimize import minimize

from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.floats import Floats32, Floats64

COLUMNS = (
    "neighbour_sum",
    "neighbour_recent",
    "times_had",
    "seconds_since_had",
    "recent_had",
    "max_cosine",
    "mean_cosine",
    "recent_taste",
)
"""Columns of the mix, as far as a release has them; popularity columns join them."""
PENALTY = 1.0
"""L2 penalty of a weight, in units of the log-likelihood of one list."""


@keras.saving.register_keras_serializable(package="pocketrec")
class BlendColumns(layers.Layer):
    """Take the standardised features that the blend mixes."""

    def __init__(self, *, columns: list[int], **kwargs: Any) -> None:
        """Set the numbers of the features."""
        super().__init__(**kwargs)
        self.columns = [int(column) for column in columns]

    def compute_output_shape(self, shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the output."""
        return (shape[0], len(self.columns))

    def call(self, features: Any) -> Any:
        """Return f32 [N, K]."""
        return ops.take(features, np.array(self.columns), axis=1)

    def get_config(self) -> dict[str, Any]:
        """Return the settings, for the .keras file."""
        return {**super().get_config(), "columns": self.columns}


@keras.saving.register_keras_serializable(package="pocketrec")
class Blend(layers.Layer):
    """Add the weighted sum of the blend's columns to each head's logit."""

    def build(self, logits_shape: Any, columns_shape: Any) -> None:
        """Create a weight for each column; training goes on from the fitted ones."""
        del logits_shape
        size = (int(columns_shape[-1]),)
        self.weight = self.add_weight(shape=size, initializer="zeros", name="weight")
        self.built = True

    def compute_output_shape(self, logits_shape: Any, columns_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the logits."""
        del columns_shape
        return tuple(logits_shape)

    def call(self, logits: Any, columns: Any) -> Any:
        """Return logits f32 [N, H]."""
        return logits + ops.sum(columns * self.weight, axis=1, keepdims=True)


def blend_names(spec: FeatureSpec) -> list[str]:
    """Name the columns of a release that the blend mixes."""
    return [n for n in (*spec.numeric, *spec.pair) if n in COLUMNS or n.startswith("popularity")]


def fit_blend(
    log_share: Floats32, columns: Floats32, labels: NDArray[Any], real: NDArray[np.bool_]
) -> Floats64:
    """Fit the weights on lists; those without an answer tell nothing.

    Args:
        log_share: float32 [n, m], the logarithm of retrieval's share.
        columns: float32 [n, m, K], standardised.
        labels: float [n, m], above 0 for what came next.
        real: bool [n, m], mask.

    Returns:
        float64 [1 + K], the weight of `log_share` first. Without lists it is 1, and the others 0.
    """
    hits = (labels > 0) & real
    told = hits.any(axis=1)
    x = np.concatenate([log_share[told, :, None], columns[told]], axis=2).astype(np.float64)
    mask, hits = real[told], hits[told]
    shares = hits / np.maximum(hits.sum(axis=1, keepdims=True), 1)
    start: Floats64 = np.eye(1, x.shape[2])[0]

    def loss(weights: Floats64) -> tuple[float, Floats64]:
        scores = np.where(mask, x @ weights, -np.inf)
        scores -= scores.max(axis=1, keepdims=True)
        odds = np.exp(scores)
        total = odds.sum(axis=1, keepdims=True)
        likely = np.where(mask, scores, 0.0) - np.log(total)
        change: Floats64 = np.einsum("nm,nmk->k", odds / total - shares, x)
        away = weights - start
        value = 0.5 * PENALTY * float(away @ away) - float((shares * likely).sum())
        return value, PENALTY * away + change

    if not len(x):
        return start
    found: Floats64 = np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B").x)
    return found


def set_blend(ranker: keras.Model, weights: Floats64) -> None:
    """Let an untrained ranker keep the order of the mix; weights as from `fit_blend`."""
    prior = ranker.get_layer("prior")
    prior.weight.assign(np.full(prior.weight.shape, weights[0]))
    ranker.get_layer("logits").weight.assign(weights[1:])
