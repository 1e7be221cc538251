"""Epochs of the ranker over candidate lists: sampling, training steps, the best weights."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.floats import Floats64
from pocketrec_training.errors import TrainingDivergedError
from pocketrec_training.monitoring.counted_time import Clock, CountedTime, StoppedBy
from pocketrec_training.monitoring.progress import Progress
from pocketrec_training.ranker.blend import fit_blend, set_blend
from pocketrec_training.ranker.candidate_lists import CandidateGenerator, CandidateLists
from pocketrec_training.ranker.feature_transform import MIN_SHARE, SHARE
from pocketrec_training.ranker.losses import loss_of_heads
from pocketrec_training.ranker.model import build_ranker, set_start
from pocketrec_training.ranker.realised import wanted
from pocketrec_training.recipe.schema import RankerConfig

Losses = Callable[[Any, Any, Any], Any]

STANDARD_LISTS = 200
"""Lists from which each feature's mean and spread are computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epochs:
    """A ranker after some epochs, with its logits.

    Attributes:
        ranker: the ranker with the best weights.
        logits: the same weights, without calibration.
        epochs: number of epochs of the best weights; 0 if none was better than the start.
        losses: training loss of each epoch.
        stopped_by: "epochs" if all epochs ran, "minutes" if the cap ended them.
    """

    ranker: keras.Model
    logits: keras.Model
    epochs: int
    losses: list[float]
    stopped_by: StoppedBy


@dataclass(frozen=True, slots=True)
class RankerFit:
    """Fit rankers of one recipe on lists of one retrieval.

    Attributes:
        config: the ranker's settings.
        spec: the ranker's features.
        candidates: makes the inputs of lists.
        rng: source of all random choices.
        clock: seconds, to measure the cap.
        blend: whether a ranker starts from the blend.
    """

    config: RankerConfig
    spec: FeatureSpec
    candidates: CandidateGenerator
    rng: np.random.Generator
    clock: Clock = time.monotonic
    blend: bool = False

    def run(
        self,
        lists: CandidateLists,
        validation: CandidateLists,
        epochs: int,
        minutes: float,
        short: CandidateLists | None = None,
    ) -> Epochs:
        """Train a new ranker and keep the epoch with the lowest validation loss.

        Args:
            lists: to learn from.
            short: lists of short histories, to learn from as well; the mix and the scales of the
                columns are those of `lists`.
            validation: to choose the epoch by; if empty, the last epoch is kept.
            epochs: maximum number of epochs.
            minutes: cap, without set-up and compilation (`monitoring.counted_time`); 0 = no cap.
                One epoch is always completed.
        """
        ranker = build_ranker(self.config, self.spec, self.candidates.items.typed_features)
        logits = keras.Model(ranker.inputs, ranker.get_layer("logits").output)
        if len(lists):
            sample = lists.take(self.rng.permutation(len(lists))[:STANDARD_LISTS])
            inputs = features(ranker, self.candidates, sample)[sample.real.ravel()]
            pieces = ranker.get_layer("pieces")
            pieces.fit(inputs)
            ranker.get_layer("standard").fit(np.asarray(pieces(inputs)))
            if self.blend:
                set_blend(ranker, self._blend(ranker, lists))
            if self.candidates.objectives is not None:
                set_start(ranker, lists.labels, lists.real)
        if short is not None and len(short):  # joining copies all lists
            lists = lists.joined(short)
        step = _Step(logits, self.config, self._losses, len(self.spec.heads))
        # Untrained weights keep the order of retrieval, or of the blend; an epoch with a higher
        # loss is dropped.
        best, kept = step.weights(), 0
        best_loss = self._validation_loss(logits, validation)
        losses: list[float] = []
        counted = CountedTime(minutes, clock=self.clock)
        stopped_by: StoppedBy = "epochs"
        with Progress("ranker", epochs) as bar:
            for epoch in range(epochs if len(lists) else 0):
                if counted.planned(epochs, epoch) <= epoch:
                    stopped_by = "minutes"
                    break
                losses.append(self._epoch(step, lists, counted))
                now, averaged = step.weights(), step.averaged()
                step.restore(averaged)
                with counted.counting():
                    loss = self._validation_loss(logits, validation)
                if loss < best_loss or not len(validation):
                    best, best_loss, kept = averaged, loss, epoch + 1
                step.restore(now)
                if not np.isfinite([losses[-1], loss]).all():
                    raise TrainingDivergedError(
                        f"ranker: epoch {epoch + 1} ended with a loss of {losses[-1]} (on "
                        f"validation lists {loss}). Nothing was saved. Lower ranker.learning_rate."
                    )
                shown = f", on validation lists {loss:.4f}" if len(validation) else ", all lists"
                bar.advance(epoch + 1, f"loss {losses[-1]:.4f}{shown}")
        step.restore(best)
        return Epochs(
            ranker=ranker,
            logits=logits,
            epochs=kept,
            losses=losses,
            stopped_by=stopped_by,
        )

    @property
    def _losses(self) -> Losses:
        return loss_of_heads(self.config.loss, self.candidates.objectives)

    def _blend(self, ranker: keras.Model, lists: CandidateLists) -> Floats64:
        """Fit the blend's weights on lists."""
        columns = keras.Model(ranker.inputs, ranker.get_layer("blend_columns").output)
        share = lists.pair[:, :, self.spec.pair.index(SHARE)]
        return fit_blend(
            np.log(np.maximum(share, MIN_SHARE)),
            score(columns, self.candidates, lists),
            wanted(lists, self.candidates.objectives),
            lists.real,
        )

    def _epoch(self, step: "_Step", lists: CandidateLists, counted: CountedTime) -> float:
        """Run one epoch and return the mean loss."""
        order, parts = self.rng.permutation(len(lists)), []
        for at in np.array_split(order, max(1, len(order) // self.config.batch)):
            with counted.counting(len(at)):
                batch, weights = draw(lists.take(at), self.config, self.rng)
                inputs = {k: tf.constant(v) for k, v in self.candidates.flat(batch).items()}
                parts.append(float(step(inputs, tf.constant(batch.labels), tf.constant(weights))))
        return float(np.mean(parts))

    def _validation_loss(self, logits: keras.Model, validation: CandidateLists) -> float:
        if not len(validation):
            return 0.0
        scores = score(logits, self.candidates, validation)
        parts = self._losses(validation.labels, scores, validation.real.astype(np.float32))
        return float(np.asarray(parts) @ np.array(self.config.head_weights))


class _Step:
    """One step of Adam, and the running average of the weights (Polyak and Juditsky 1992)."""

    def __init__(
        self, logits: keras.Model, config: RankerConfig, losses: Losses, heads: int
    ) -> None:
        self._model, self._config, self._losses, self._heads = logits, config, losses, heads
        self._trained = logits.trainable_variables
        self._optimizer = keras.optimizers.Adam(config.learning_rate)
        self._optimizer.build(self._trained)
        self._averages = [tf.Variable(v) for v in self._trained] if config.average else []
        self._age = tf.Variable(0.0)
        self._run = tf.function(self._graph, reduce_retracing=True)

    def __call__(self, inputs: dict[str, Any], labels: Any, weights: Any) -> Any:
        """Return the loss before the step; labels: f32 [n, m, H], weights: [n, m]."""
        return self._run(inputs, labels, weights)

    def weights(self) -> list[NDArray[np.float32]]:
        """Copy the weights."""
        return [v.numpy() for v in self._trained]

    def averaged(self) -> list[NDArray[np.float32]]:
        """Copy their averages; the weights themselves if the recipe has no averaging."""
        return [v.numpy() for v in self._averages] or self.weights()

    def restore(self, values: list[NDArray[np.float32]]) -> None:
        """Set the weights."""
        for variable, value in zip(self._trained, values, strict=True):
            variable.assign(value)

    def _graph(self, inputs: dict[str, Any], labels: Any, weights: Any) -> Any:
        share = tf.constant(self._config.head_weights, tf.float32)
        with tf.GradientTape() as tape:
            scores = tf.reshape(self._model(inputs, training=True), tf.shape(labels))
            scores = tf.ensure_shape(scores, (None, None, self._heads))
            loss = tf.reduce_sum(self._losses(labels, scores, weights) * share)
            total = loss + sum(self._model.losses)
        gradients = tape.gradient(total, self._trained)
        self._optimizer.apply_gradients(zip(gradients, self._trained, strict=True))
        # A young average follows quickly, so it forgets the random initial weights.
        self._age.assign_add(1.0)
        pace = tf.minimum(self._config.average, self._age / (self._age + 10.0))
        for average, variable in zip(self._averages, self._trained, strict=bool(self._averages)):
            average.assign(pace * average + (1.0 - pace) * variable)
        return loss


def features(
    ranker: keras.Model, candidates: CandidateGenerator, lists: CandidateLists
) -> NDArray[np.float32]:
    """Return the ranker's transformed features before encoding, float32 [n * m, F]."""
    table = keras.Model(ranker.inputs, ranker.get_layer("pieces").input)
    return score(table, candidates, lists).reshape(lists.rows.size, -1)


def score(
    model: keras.Model, candidates: CandidateGenerator, lists: CandidateLists
) -> NDArray[np.float32]:
    """Run a model on the ranker's inputs of lists, float32 [n, m, H]."""
    n, m = lists.rows.shape
    parts = [
        np.asarray(model.predict_on_batch(candidates.flat(lists.take(np.arange(at, stop)))))
        for at in range(0, n, 64)
        for stop in (min(n, at + 64),)
    ]
    return np.concatenate(parts).reshape(n, m, -1) if parts else np.zeros((0, m, 1), np.float32)


def draw(
    lists: CandidateLists, config: RankerConfig, rng: np.random.Generator
) -> tuple[CandidateLists, NDArray[np.float32]]:
    """Keep each list's positives and sample negatives, a part of them hard.

    Hard negatives come from the first tenth of the list, the others from the rest.

    Returns:
        Lists of at most `negatives` + 1 items, and weights float32 [n, k]: 1 for a positive; for a
        negative the number of list items that it represents.
    """
    n, m = lists.rows.shape
    k = min(m, config.negatives + 1)
    positive = lists.labels.max(axis=2) > 0
    if k == m:
        return lists, lists.real.astype(np.float32)
    far_from = max(1, m // 10)
    chosen = np.zeros((n, k), np.int64)
    weights = np.zeros((n, k), np.float32)
    for i in range(n):
        found = np.flatnonzero(positive[i])[: k - 1]
        free = np.flatnonzero(lists.real[i] & ~positive[i])
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
    return lists.at_ranks(chosen), weights
