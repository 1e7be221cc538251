"""Train the ranker on what retrieval returns, and calibrate it on whole lists.

Learns from validation events by default: the towers never trained on them, so retrieval's scores
are as good as they will be in use, not better (docs/decisions/0004-ranker-examples.md).
"""

import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bundle.features import FeatureSpec
from training import metrics
from training.calibration import FITS
from training.dataset import TRAIN, VALID
from training.leakage import LeakCheck, check_learning_cases
from training.progress import Progress
from training.ranker import build_ranker
from training.ranker_loss import LOSSES
from training.recipe import RankerConfig, Recipe
from training.slates import Candidates, Case, Slates

MAX_CASES = 5_000
"""Moments to learn from, the latest of each user first: lists of 200 fill 0.3 GB by then."""

STANDARD_LISTS = 200
"""Lists over which each feature's mean and spread are taken."""

HELD_BACK = 5
"""With examples = "valid", every fifth case chooses the epoch and sets the calibration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedRanker:
    """The calibrated ranker, its loss an epoch, the check before it, and the seconds it took."""

    ranker: keras.Model
    losses: list[float]
    leak_check: LeakCheck
    seconds: float


def fit_ranker(
    recipe: Recipe, spec: FeatureSpec, candidates: Candidates, minutes: float
) -> FittedRanker:
    """Train, keep the epoch with the least loss on cases held back, calibrate on those.

    Least loss, not best NDCG@10: over 200 cases that moves by a tenth from epoch to epoch.

    Raises:
        FeatureLeak: a feature of a sample of the cases knows the future; nothing was trained.
    """
    config, started = recipe.ranker, time.monotonic()
    rng = np.random.default_rng([recipe.seed, 1])
    learn, check = learning_cases(recipe, candidates)
    leak_check = check_learning_cases(candidates, learn, recipe.seed)
    lists, held = candidates.slates(learn), candidates.slates(check)
    ranker = build_ranker(config, spec)
    logits = keras.Model(ranker.inputs, ranker.get_layer("logits").output)
    if len(lists):
        sample = lists.take(rng.permutation(len(lists))[:STANDARD_LISTS])
        ranker.get_layer("standard").fit(features(ranker, candidates, sample)[sample.real.ravel()])
    step = _step(logits, config, len(spec.heads))
    # Untrained it is retrieval; nothing worse on the lists held back is kept.
    best = [v.numpy() for v in ranker.variables]
    best_loss = _held_loss(config, score(logits, candidates, held), held)
    losses: list[float] = []
    with Progress("ranker", config.epochs) as bar:
        for epoch in range(config.epochs):
            if time.monotonic() - started > minutes * 60 or not len(lists):
                break
            order = rng.permutation(len(lists))
            parts = []
            for at in np.array_split(order, max(1, len(order) // config.batch)):
                batch, weights = draw(lists.take(at), config, rng)
                inputs = {k: tf.constant(v) for k, v in candidates.flat(batch).items()}
                parts.append(float(step(inputs, tf.constant(batch.labels), tf.constant(weights))))
            losses.append(float(np.mean(parts)))
            loss = _held_loss(config, score(logits, candidates, held), held)
            if loss < best_loss or not len(held):
                best, best_loss = [v.numpy() for v in ranker.variables], loss
            bar.advance(epoch + 1, f"loss {losses[-1]:.4f}, on lists held back {loss:.4f}")
    for variable, value in zip(ranker.variables, best, strict=True):
        variable.assign(value)
    calibrate(ranker, config, score(logits, candidates, held), held)
    return FittedRanker(
        ranker=ranker, losses=losses, leak_check=leak_check, seconds=time.monotonic() - started
    )


def learning_cases(recipe: Recipe, candidates: Candidates) -> tuple[list[Case], list[Case]]:
    """Return the cases to learn from, and others to choose the epoch and calibrate by."""
    valid = candidates.occasions(VALID, MAX_CASES)
    if recipe.ranker.examples == "train":
        return candidates.occasions(TRAIN, MAX_CASES), valid
    # By user: two occasions of one person are no independent evidence.
    users = np.random.default_rng([recipe.seed, 6]).permutation(candidates.data.n_users)
    back = set(users[::HELD_BACK].tolist())
    return [c for c in valid if c[0] not in back], [c for c in valid if c[0] in back]


def features(ranker: keras.Model, candidates: Candidates, slates: Slates) -> NDArray[np.float32]:
    """Return what enters the ranker's cross and deep parts, before `Standard`; [n * m, F]."""
    table = keras.Model(ranker.inputs, ranker.get_layer("numbers").output[0])
    return score(table, candidates, slates).reshape(slates.rows.size, -1)


def score(model: keras.Model, candidates: Candidates, slates: Slates) -> NDArray[np.float32]:
    """Run a model of the ranker's inputs over lists, float32 [n, m, H]."""
    n, m = slates.rows.shape
    parts = [
        np.asarray(model.predict_on_batch(candidates.flat(slates.take(np.arange(at, stop)))))
        for at in range(0, n, 64)
        for stop in (min(n, at + 64),)
    ]
    return np.concatenate(parts).reshape(n, m, -1) if parts else np.zeros((0, m, 1), np.float32)


def ndcg10(scores: NDArray[Any], slates: Slates) -> float:
    """NDCG@10 of the first head's labels over lists; a case that retrieval missed counts 0."""
    found = metrics.ndcg_by_list(scores, slates.labels[:, :, 0], slates.real)
    return float(np.mean(found)) if len(found) else 0.0


def draw(
    slates: Slates, config: RankerConfig, rng: np.random.Generator
) -> tuple[Slates, NDArray[np.float32]]:
    """Keep each list's positives and draw negatives, part of them hard.

    Hard ones come from the first tenth of the list, the others from the rest.

    Returns:
        Lists of `negatives` + 1 places at most, and weights float32 [n, k]: 1 for a positive, for
        a negative the number of list items that it stands for.
    """
    n, m = slates.rows.shape
    k = min(m, config.negatives + 1)
    positive = slates.labels.max(axis=2) > 0
    if k == m:
        return slates, slates.real.astype(np.float32)
    far_from = max(1, m // 10)
    chosen = np.zeros((n, k), np.int64)
    weights = np.zeros((n, k), np.float32)
    for i in range(n):
        found = np.flatnonzero(positive[i])[: k - 1]
        free = np.flatnonzero(slates.real[i] & ~positive[i])
        near, far = free[free < far_from], free[free >= far_from]
        room = k - len(found)
        n_near = min(len(near), round(room * config.hard_share))
        n_far = min(len(far), room - n_near)
        picked = [rng.choice(near, n_near, replace=False), rng.choice(far, n_far, replace=False)]
        places = np.concatenate([found, *picked]).astype(np.int64)
        chosen[i, : len(places)] = places
        weights[i, : len(found)] = 1.0
        weights[i, len(found) : len(found) + n_near] = len(near) / max(n_near, 1)
        weights[i, len(found) + n_near : len(places)] = len(far) / max(n_far, 1)
    return slates.places(chosen), weights


def calibrate(
    ranker: keras.Model, config: RankerConfig, logits: NDArray[np.float32], slates: Slates
) -> None:
    """Set the ranker's calibration from uncalibrated scores [n, m, H] of whole lists."""
    layer = ranker.get_layer("probabilities")
    curves = [
        FITS[config.calibration](logits[..., h][slates.real], slates.labels[..., h][slates.real])
        for h in range(len(config.heads))
    ]
    layer.scale.assign([c.scale for c in curves])
    layer.shift.assign([c.shift for c in curves])
    layer.knots.assign(np.stack([c.knots for c in curves], axis=1))
    layer.slopes.assign(np.stack([c.slopes for c in curves], axis=1))


def _held_loss(config: RankerConfig, logits: NDArray[np.float32], held: Slates) -> float:
    if not len(held):
        return 0.0
    parts = LOSSES[config.loss](held.labels, logits, held.real.astype(np.float32))
    return float(np.asarray(parts) @ np.array(config.head_weights))


def _step(logits: keras.Model, config: RankerConfig, heads: int) -> Any:
    optimizer = keras.optimizers.Adam(config.learning_rate)
    optimizer.build(logits.trainable_variables)
    loss_of, share = LOSSES[config.loss], tf.constant(config.head_weights, tf.float32)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(inputs: dict[str, Any], labels: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            found = tf.reshape(logits(inputs, training=True), tf.shape(labels))
            found = tf.ensure_shape(found, (None, None, heads))
            loss = tf.reduce_sum(loss_of(labels, found, weights) * share)
            total = loss + sum(logits.losses)
        variables = logits.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(total, variables), variables, strict=True))
        return loss

    return step
