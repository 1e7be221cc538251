"""Losses of the ranker over lists: labels, logits f32 [n, m, H]; weights f32 [n, m], 0 = no item.

A weight above 1 stands for the items of the list that were not drawn. Each returns one number a
head, f32 [H]; the recipe's head weights add them up.
"""

from collections.abc import Callable
from typing import Any

from keras import ops


def pointwise(labels: Any, logits: Any, weights: Any) -> Any:
    """Binary cross-entropy, summed over each list (as large as the others), mean over lists."""
    losses = ops.softplus(logits) - labels * logits
    return ops.mean(ops.sum(losses * ops.expand_dims(weights, -1), axis=1), axis=0)


def pairwise(labels: Any, logits: Any, weights: Any) -> Any:
    """RankNet (Burges et al. 2005, eq. 3): log(1 + exp(negative - positive)) over pairs."""
    weights = ops.expand_dims(weights, -1)
    positive, negative = labels * ops.minimum(weights, 1.0), (1.0 - labels) * weights
    # [n, m, m, H]: place i is liked, place j is not
    gap = ops.expand_dims(logits, 1) - ops.expand_dims(logits, 2)
    pairs = ops.expand_dims(positive, 2) * ops.expand_dims(negative, 1)
    total = ops.sum(pairs, axis=(0, 1, 2))
    return ops.sum(ops.softplus(gap) * pairs, axis=(0, 1, 2)) / ops.maximum(total, 1.0)


def listwise(labels: Any, logits: Any, weights: Any) -> Any:
    """Softmax cross-entropy of a list (Bruch et al. 2019, eq. 5), mean over lists with a positive.

    Undrawn items count through log(weight), as in sampled softmax with logQ correction.
    """
    weights = ops.expand_dims(weights, -1)
    shifted = logits + ops.where(weights > 0, ops.log(ops.maximum(weights, 1e-9)), -1e9)
    share = labels / ops.maximum(ops.sum(labels, axis=1, keepdims=True), 1.0)
    losses = -ops.sum(share * ops.log_softmax(shifted, axis=1), axis=1)  # [n, H]
    known = ops.cast(ops.sum(labels, axis=1) > 0, "float32")
    return ops.sum(losses * known, axis=0) / ops.maximum(ops.sum(known, axis=0), 1.0)


LOSSES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "pointwise": pointwise,
    "pairwise": pairwise,
    "listwise": listwise,
}
