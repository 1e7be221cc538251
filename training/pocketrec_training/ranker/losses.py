"""Losses of the ranker over lists: labels, logits f32 [n, m, H]; weights f32 [n, m], 0 = no item.

A weight above 1 stands for the items of the list that were not drawn. Each returns one number a
head, f32 [H]; the recipe's head weights add them up.
"""

from collections.abc import Callable
from typing import Any

from keras import ops

from pocketrec_bundle.objectives import Objectives


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


def tweedie(labels: Any, logits: Any, weights: Any) -> Any:
    """Tweedie deviance of power 1.5, over 2, less its constant; labels 0..1, mean = sigmoid.

    Power 1.5 is a compound Poisson-gamma distribution (Smyth and Jorgensen 2002): a mass at 0 and a
    heavy tail above it. With the mean mu: 2 y / sqrt(mu) + 2 sqrt(mu). It is least where mu is the
    mean of y. Summed over each list, mean over lists, as `pointwise`.
    """
    half = -0.5 * ops.softplus(-logits)  # log sqrt(mu)
    half = ops.maximum(half, -LEAST_HALF)
    losses = 2.0 * labels * ops.exp(-half) + 2.0 * ops.exp(half)
    return ops.mean(ops.sum(losses * ops.expand_dims(weights, -1), axis=1), axis=0)


LEAST_HALF = 7.0
"""Bounds the gradient: means below exp(-14), a millionth of the largest value, are all alike."""


LOSSES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "pointwise": pointwise,
    "pairwise": pairwise,
    "listwise": listwise,
}


def loss_of_heads(name: str, objectives: Objectives | None) -> Callable[[Any, Any, Any], Any]:
    """Return the loss of all heads: the recipe's for binary ones, `tweedie` for values.

    Shares have the cross-entropy of `pointwise`, which is least where the probability is the mean
    share (Papke and Wooldridge 1996).

    Args:
        name: `ranker.loss` of the recipe.
        objectives: kinds of the heads; None: all are binary.
    """
    of_kind = {"binary": LOSSES[name], "share": pointwise, "value": tweedie}
    kinds = [] if objectives is None else [head.kind for head in objectives.heads]
    used = {of_kind[kind] for kind in kinds}
    if len(used) < 2:
        return used.pop() if used else LOSSES[name]

    def losses(labels: Any, logits: Any, weights: Any) -> Any:
        parts = [
            of_kind[kind](labels[..., h : h + 1], logits[..., h : h + 1], weights)
            for h, kind in enumerate(kinds)
        ]
        return ops.concatenate(parts)

    return losses
