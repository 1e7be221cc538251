"""Train the ranker on what retrieval returns, with features as they stood at each moment.

Every example's features come from `bundle.features`, the code that the device runs, applied to the
user's history before the event: nothing later can leak in, and serving cannot differ.
"""

import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from bundle.features import FeatureSpec, context_vector, user_categories
from training.dataset import TRAIN, VALID, Dataset, category_codes, numeric_columns
from training.progress import Progress
from training.ranker import build_ranker
from training.recipe import Recipe
from training.retrieval import Floats, user_vectors

MAX_POSITIVES = 20_000
"""Events used as positives, the latest of each user first: enough for a model of this size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedRanker:
    """The calibrated ranker, its loss an epoch, and the seconds it took."""

    ranker: keras.Model
    losses: list[float]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Rows of the ranker's inputs (all [n, ...]) with labels [n, H] and weights [n, H]."""

    inputs: dict[str, NDArray[Any]]
    labels: Floats
    weights: Floats


class Candidates:
    """Draws items to rank for held-out or past events, and looks up their features."""

    def __init__(
        self, spec: FeatureSpec, data: Dataset, user_tower: keras.Model, table: Floats
    ) -> None:
        self.spec, self.data, self.table = spec, data, table
        self.user_tower = user_tower
        self.codes = category_codes(spec, data.items.categories)
        self.numeric = numeric_columns(data.items, data.popularity())

    def examples(
        self, cases: list[tuple[int, int]], negatives: int, rng: np.random.Generator
    ) -> Examples:
        """Build one positive and `negatives` unseen retrieved items a case (user, position)."""
        data, spec = self.data, self.spec
        vectors = user_vectors(self.user_tower, self.table, spec, data, cases)
        scores = vectors @ self.table.T
        n = negatives + 1
        rows = np.zeros((len(cases), n), np.int32)
        context = np.zeros((len(cases), len(spec.context)), np.float32)
        shares = np.zeros((len(cases), len(spec.categories) + 1), np.float32)
        labels = np.zeros((len(cases), n, len(spec.heads)), np.float32)
        weights = np.ones_like(labels)
        like = spec.event_types.index("like") if "like" in spec.event_types else -1
        for i, (user, end) in enumerate(cases):
            at = int(data.offsets[user]) + end
            past = data.history(user, end)
            context[i] = context_vector(spec, past, int(data.ts[at]))[0]
            shares[i] = user_categories(spec, past, self.codes)[0]
            rows[i, 0] = data.rows[at]
            rows[i, 1:] = self._negatives(scores[i], user, negatives, rng)
            liked = float(data.events[at] == like)
            for h, head in enumerate(spec.heads):
                labels[i, 0, h] = liked if head == "like" else 1.0
                # Whether an unseen item would have been liked is unknown: only real events count.
                weights[i, 1:, h] = 0.0 if head == "like" else 1.0
        flat = rows.ravel()
        inputs = {
            "user_vector": np.repeat(vectors, n, axis=0),
            "item_vectors": self.table[flat],
            "item_categories": self.codes[flat],
            "item_numeric": self.numeric[flat],
            "context": np.repeat(context, n, axis=0),
            "user_categories": np.repeat(shares, n, axis=0),
        }
        heads = len(spec.heads)
        return Examples(
            inputs=inputs, labels=labels.reshape(-1, heads), weights=weights.reshape(-1, heads)
        )

    def inputs_for(
        self, case: tuple[int, int], vector: Floats, rows: NDArray[np.int64]
    ) -> dict[str, NDArray[Any]]:
        """Return the ranker's inputs for some items at one (user, position), all [n, ...].

        vector: float32 [d], the user's vector at that moment.
        """
        data, spec = self.data, self.spec
        user, end = case
        past, now = data.history(user, end), int(data.ts[data.offsets[user] + end])
        n = len(rows)
        return {
            "user_vector": np.repeat(vector[None], n, axis=0),
            "item_vectors": self.table[rows],
            "item_categories": self.codes[rows],
            "item_numeric": self.numeric[rows],
            "context": np.repeat(context_vector(spec, past, now), n, axis=0),
            "user_categories": np.repeat(user_categories(spec, past, self.codes), n, axis=0),
        }

    def _negatives(
        self, scores: Floats, user: int, n: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Draw items the user never met, from what retrieval would hand to the ranker."""
        scores = scores.copy()
        scores[self.data.history(user).rows] = -np.inf
        k = min(self.spec.candidates, int(np.isfinite(scores).sum()))
        best = np.argpartition(-scores, k - 1)[:k]
        return rng.choice(best, n, replace=k < n)


def fit_ranker(
    recipe: Recipe, spec: FeatureSpec, data: Dataset, candidates: Candidates, minutes: float
) -> FittedRanker:
    """Train on training events, then set the calibration on validation events."""
    config, started = recipe.ranker, time.monotonic()
    rng = np.random.default_rng([recipe.seed, 1])
    ranker = build_ranker(config, spec)
    logits = keras.Model(ranker.inputs, ranker.get_layer("logits").output)
    rows = candidates.examples(_positives(data), config.negatives, rng)
    optimizer = keras.optimizers.Adam(config.learning_rate)
    logits.compile(optimizer=optimizer, loss=_masked_loss)
    target = np.stack([rows.labels, rows.weights], axis=-1)  # [n, H, 2]
    losses: list[float] = []
    with Progress("ranker", config.epochs) as bar:
        for epoch in range(config.epochs):
            if time.monotonic() - started > minutes * 60:
                break
            order = rng.permutation(len(target))
            parts = [
                float(logits.train_on_batch({k: v[at] for k, v in rows.inputs.items()}, target[at]))
                for at in np.array_split(order, max(1, len(order) // config.batch))
            ]
            losses.append(float(np.mean(parts)))
            bar.advance(epoch + 1, f"loss {losses[-1]:.4f}")
    _calibrate(ranker, logits, candidates, data, rng, config.negatives)
    return FittedRanker(ranker=ranker, losses=losses, seconds=time.monotonic() - started)


def _positives(data: Dataset) -> list[tuple[int, int]]:
    """(user, position) of training events, newest of each user first, at most MAX_POSITIVES."""
    cases = []
    for user in range(data.n_users):
        part = data.fold[data.offsets[user] : data.offsets[user + 1]]
        trained = np.flatnonzero(part == TRAIN)
        cases += [(len(trained) - i, user, int(i)) for i in trained if i > 0]
    cases.sort()
    return [(user, at) for _, user, at in cases[:MAX_POSITIVES]]


def _masked_loss(target: Any, logits: Any) -> Any:
    labels, weights = target[..., 0], target[..., 1]
    losses = keras.ops.softplus(logits) - labels * logits  # binary cross-entropy from logits
    return keras.ops.sum(losses * weights) / keras.ops.maximum(keras.ops.sum(weights), 1.0)


def _calibrate(
    ranker: keras.Model,
    logits: keras.Model,
    candidates: Candidates,
    data: Dataset,
    rng: np.random.Generator,
    negatives: int,
) -> None:
    """Fit Platt's two numbers a head (Platt 1999) on validation events."""
    rows = candidates.examples(data.held_out(VALID), negatives, rng)
    scores = logits.predict_on_batch(rows.inputs)
    layer = ranker.get_layer("probabilities")
    scale, shift = np.ones(scores.shape[1]), np.zeros(scores.shape[1])
    for head in range(scores.shape[1]):
        counted = rows.weights[:, head] > 0
        labels = rows.labels[counted, head]
        if 0 < labels.sum() < len(labels):
            platt = LogisticRegression(C=1e6).fit(scores[counted, head, None], labels)
            # A negative slope would turn the order round; a head that weak stays as it is.
            if platt.coef_[0, 0] > 0:
                scale[head], shift[head] = platt.coef_[0, 0], platt.intercept_[0]
    layer.scale.assign(scale)
    layer.shift.assign(shift)
