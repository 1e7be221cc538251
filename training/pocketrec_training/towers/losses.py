"""Losses of retrieval over user vectors [P, d], one target item each; all are sums over P.

Written on plain tensors, compiled by XLA with the step that calls them.
"""

from typing import Any

import tensorflow as tf

LARGEST_LOGIT = 80.0
"""exp of it still fits float32; clipping there saves softmax's pass for the row's maximum."""

_NEGATIVE = -1e9


def full_softmax(users: Any, table: Any, targets: Any, weights: Any) -> Any:
    """Cross-entropy over all items, with a gradient that keeps one [P, n] array, not four.

    loss = sum_p w_p (log sum_j exp(u_p . t_j) - u_p . t_y). A quarter faster than autodiff of
    `sparse_softmax_cross_entropy_with_logits` at P = 7,680, n = 3,416 on one core.

    Args:
        users: float32 [P, d].
        table: float32 [n, d].
        targets: int32 [P], rows of `table`.
        weights: float32 [P], 0 for padding.
    """
    n_items = table.shape[0]

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def loss_of(users: Any, table: Any) -> Any:
        scores = tf.matmul(users, table, transpose_b=True)  # [P, n]
        powers = tf.exp(tf.minimum(scores, LARGEST_LOGIT))
        totals = tf.reduce_sum(powers, axis=1)
        wanted = tf.gather(table, targets)
        losses = tf.math.log(totals) - tf.reduce_sum(users * wanted, axis=1)

        def gradient(upstream: Any) -> Any:
            share = (upstream * weights / totals)[:, None]
            own = (upstream * weights)[:, None]
            to_users = share * tf.matmul(powers, table) - own * wanted
            to_table = tf.matmul(powers, users * share, transpose_a=True)
            to_table -= tf.math.unsorted_segment_sum(users * own, targets, n_items)
            return to_users, to_table

        return tf.reduce_sum(weights * losses), gradient

    return loss_of(users, table)


def sampled_softmax(
    users: Any,
    wanted: Any,
    negatives: Any,
    *,
    targets: Any,
    negative_rows: Any,
    log_expected: Any,
    weights: Any,
    hard: Any = None,
) -> Any:
    """Softmax over the target and shared negatives, with logQ correction.

    Each logit loses the log of how often sampling was expected to bring its item (Bengio and
    Senecal 2008; Yi et al. 2019, eq. 3), so that the optimum is that of the full softmax.

    Args:
        users: float32 [P, d].
        wanted: float32 [P, d], the targets' vectors.
        negatives: float32 [K, d], drawn once for the batch.
        targets: int32 [P].
        negative_rows: int32 [K]; a negative that is the target does not count.
        log_expected: float32 [n], log expected count of each item among K draws.
        weights: float32 [P].
        hard: float32 [P, h, d], further negatives of each position, not corrected: they were not
            drawn at random, and are there to be pushed away.
    """
    positive = tf.reduce_sum(users * wanted, axis=1) - tf.gather(log_expected, targets)
    others = tf.matmul(users, negatives, transpose_b=True)
    others = others - tf.gather(log_expected, negative_rows)[None]
    others = tf.where(negative_rows[None] == targets[:, None], _NEGATIVE, others)
    parts = [positive[:, None], others]
    if hard is not None:
        parts.append(tf.einsum("pd,phd->ph", users, hard))
    losses = tf.reduce_logsumexp(tf.concat(parts, axis=1), axis=1) - positive
    return tf.reduce_sum(losses * weights)


def gbce(
    users: Any,
    wanted: Any,
    negatives: Any,
    *,
    targets: Any,
    negative_rows: Any,
    n_items: int,
    calibration: float,
    weights: Any,
) -> Any:
    """Generalised binary cross-entropy (Petrov and Macdonald 2023, eq. 12 and 14).

    beta = a (t (1 - 1/a) + 1/a) with a = K / (n - 1): the positive's probability is raised to
    beta, which undoes the overconfidence that sampling K of n negatives brings.

    Args:
        users: float32 [P, d].
        wanted: float32 [P, d].
        negatives: float32 [K, d], drawn uniformly.
        targets: int32 [P].
        negative_rows: int32 [K].
        n_items: n.
        calibration: t, 0 = plain binary cross-entropy, 1 = fully calibrated.
        weights: float32 [P].
    """
    rate = negatives.shape[0] / max(n_items - 1, 1)
    beta = rate * (calibration * (1.0 - 1.0 / rate) + 1.0 / rate)
    positive = tf.reduce_sum(users * wanted, axis=1)
    others = tf.matmul(users, negatives, transpose_b=True)
    counted = tf.cast(negative_rows[None] != targets[:, None], tf.float32)
    losses = beta * tf.nn.softplus(-positive)
    losses += tf.reduce_sum(tf.nn.softplus(others) * counted, axis=1)
    return tf.reduce_sum(losses * weights)
