"""Baselines that only count: popularity, personal frequency, transitions."""

import numpy as np
from scipy.sparse import csr_matrix

from pocketrec_bundle.floats import Floats32
from pocketrec_training.baselines.baskets import baskets_of
from pocketrec_training.baselines.scorer import Asked, Build, Scorer, faded
from pocketrec_training.data.dataset import TRAIN, Dataset

_AT_ONCE = 10_000_000
"""Pairs of events counted at a time: 160 MB."""


def popularity(data: Dataset) -> Build:
    """Score by the number of training events; with a half-life, older ones count less."""

    def build(half_life_days: float = 0.0) -> Scorer:
        counts = data.popularity(half_life_days)
        return lambda asked: np.tile(counts, (len(asked), 1))

    return build


def personal_frequency(data: Dataset) -> Build:
    """Score by the user's own number of baskets with the item, ties by popularity."""
    counts = data.popularity()
    below_one: Floats32 = np.asarray(counts / (counts.max() + 1.0), np.float32)

    def score(asked: Asked) -> Floats32:
        own = np.tile(below_one, (len(asked), 1))
        found = baskets_of([past for _, past in asked])
        np.add.at(own, (found.owners, found.rows), 1.0)
        return own

    return lambda: score


def transitions(data: Dataset) -> Build:
    """Counts of "b within `window` events after a", row-normalised, recent history first.

    Parameters: window, events, 0 = the whole history; decay, weight of an event of the history
    against the next one.
    """
    n = len(data.items)

    def build(window: int = 5, decay: float = 0.8) -> Scorer:
        counts = transition_counts(data, window)
        totals = np.maximum(np.asarray(counts.sum(1)).ravel(), 1e-9)
        rates = csr_matrix(counts.multiply(1.0 / totals[:, None]).astype(np.float32))

        def score(asked: Asked) -> Floats32:
            return np.asarray((faded(asked, n, decay, window) @ rates).toarray(), np.float32)

        return score

    return build


def transition_counts(data: Dataset, window: int) -> csr_matrix:
    """Return the sum of 1 / gap over training events b that follow a, float32 [n, n] at (a, b)."""
    n, user = len(data.items), data.event_users
    longest = int(np.diff(data.offsets).max(initial=1))
    counts = csr_matrix((n, n), dtype=np.float32)
    pending: list[tuple[np.ndarray, np.ndarray, int]] = []
    waiting = 0
    for gap in range(1, min(window or longest, longest) + 1):
        at = gap + np.flatnonzero((user[gap:] == user[:-gap]) & (data.fold[gap:] == TRAIN))
        pending.append((data.rows[at - gap], data.rows[at], gap))
        waiting += len(at)
        if waiting > _AT_ONCE:
            counts, pending, waiting = counts + _counted(pending, n), [], 0
    return counts + _counted(pending, n)


def _counted(pairs: list[tuple[np.ndarray, np.ndarray, int]], n: int) -> csr_matrix:
    weights = [np.full(len(before), 1.0 / gap, np.float32) for before, _, gap in pairs]
    before = np.concatenate([np.zeros(0, np.int32), *(pair[0] for pair in pairs)])
    after = np.concatenate([np.zeros(0, np.int32), *(pair[1] for pair in pairs)])
    values = np.concatenate([np.zeros(0, np.float32), *weights])
    return csr_matrix((values, (before, after)), (n, n))
