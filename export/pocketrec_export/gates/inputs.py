"""Make model inputs from real histories, as the device does."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.features import History, tower_inputs, used_rows
from pocketrec_bundle.products import inner
from pocketrec_bundle.ranker_features import ItemColumns, Request, padded, ranker_features
from pocketrec_edge.releases.parity import Inputs
from pocketrec_export.golden import answers as golden
from pocketrec_export.models.freeze import as_function, run_keras, tower_signature
from pocketrec_training.data.dataset import TRAIN, Dataset
from pocketrec_training.data.features.columns import (
    category_codes,
    numeric_columns,
    release_popularity,
)
from pocketrec_training.data.features.released import item_features
from pocketrec_training.trained import TrainedRun

CALIBRATION_MOMENTS = 128

Moment = tuple[History, int]
"""A history and the moment of a request after it, unix seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Inputs of the user tower and of the ranker, one dict a moment, both in the same order."""

    tower: list[Inputs]
    ranker: list[Inputs]

    def of(self, model: str) -> list[Inputs]:
        """Return the inputs of a model by its name."""
        return self.tower if model == "user_tower" else self.ranker


def golden_histories(data: Dataset, n: int, seed: int) -> list[tuple[str, History]]:
    """Name an empty, a one-event and a more than full history, then users drawn at random."""
    rng = np.random.default_rng([seed, 2])
    lengths = np.diff(data.offsets)
    longest = int(np.argmax(lengths))
    cases = [
        ("empty", History.empty()),
        ("one event", data.history(longest, 1)),
        (f"full, {int(lengths[longest])} events", data.history(longest)),
    ]
    drawn = rng.choice(data.n_users, size=min(max(0, n - 3), data.n_users), replace=False)
    return [*cases, *((f"user {i}", data.history(int(u))) for i, u in enumerate(drawn))][:n]


def whole_histories(data: Dataset, n: int, seed: int) -> list[Moment]:
    """Sample users, with the time after their last event."""
    rng = np.random.default_rng([seed, 3])
    drawn = rng.choice(data.n_users, size=min(n, data.n_users), replace=False)
    return [after(data, data.history(int(user))) for user in drawn]


def training_histories(data: Dataset, n: int, seed: int) -> list[Moment]:
    """Sample prefixes of training histories, so calibration sees no held-out event."""
    rng = np.random.default_rng([seed, 4])
    drawn = rng.choice(data.n_users, size=min(n, data.n_users), replace=False)
    found = []
    for user in drawn:
        start, stop = int(data.offsets[user]), int(data.offsets[user + 1])
        known = int((data.fold[start:stop] == TRAIN).sum())
        found.append(after(data, data.history(int(user), int(rng.integers(0, known + 1)))))
    return found


def after(data: Dataset, past: History) -> Moment:
    """Return a history with the time of the request, an hour after its last event."""
    now = int(past.ts[-1]) + golden.NOW_AFTER_S if len(past) else int(data.ts.max())
    return past, now


def calibration_probe(trained: TrainedRun, data: Dataset) -> Probe:
    """Build the inputs that int8 scales are computed from, of training histories."""
    return probe(trained, data, training_histories(data, CALIBRATION_MOMENTS, trained.recipe.seed))


def probe(trained: TrainedRun, data: Dataset, moments: Iterable[Moment]) -> Probe:
    """Build both models' inputs; the ranker gets what the exact user vector retrieves."""
    spec, vectors = trained.spec, trained.item_vectors
    items = ItemColumns(
        category_codes(spec, trained.items.categories),
        numeric_columns(spec, trained.items, release_popularity(spec, data)),
        trained.neighbours,
        item_features(trained.declared, spec, trained.items),
    )
    tower = as_function(trained.user_tower, tower_signature(spec))
    towers, rankers = [], []
    for past, now in moments:
        recent = vectors[used_rows(spec, past)]
        inputs = tower_inputs(spec, past, recent, now)
        user = run_keras(tower, inputs)
        best = _nearest(vectors, user[0], spec.candidates)
        request = Request(past, now, user, recent)
        towers.append(inputs)
        rankers.append(padded(spec, ranker_features(spec, items, request, best, vectors[best])))
    return Probe(tower=towers, ranker=rankers)


def _nearest(vectors: NDArray[np.float32], user: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    return np.argsort(-inner(vectors, user), kind="stable")[:k]
