"""Baselines that only count: popularity, personal frequency, transitions."""

import numpy as np
from scipy.sparse import csr_matrix

from bundle.features import History
from training.baselines.scorer import Floats, Scorer, baskets
from training.dataset import TRAIN, Dataset


def popularity(data: Dataset, half_life_days: float = 0.0) -> Scorer:
    """Score by the number of training events; with a half-life, older ones count less."""
    counts = data.popularity(half_life_days)
    return lambda _user, _past: counts


def personal_frequency(data: Dataset) -> Scorer:
    """Score by the user's own number of baskets with the item, ties by popularity."""
    counts = data.popularity()
    below_one: Floats = np.asarray(counts / (counts.max() + 1.0), np.float32)

    def score(_user: int, past: History) -> Floats:
        own = below_one.copy()
        for basket in baskets(past):
            own[basket] += 1.0
        return own

    return score


def transitions(data: Dataset, window: int = 5, decay: float = 0.8) -> Scorer:
    """Counts of "b within `window` events after a", row-normalised, recent history first.

    decay: weight of an event of the history against the one after it.
    """
    n = len(data.items)
    counts = csr_matrix((n, n), dtype=np.float32)
    user = data.event_users
    for gap in range(1, window + 1):
        both = (user[gap:] == user[:-gap]) & (data.fold[gap:] == TRAIN)
        weight = np.full(int(both.sum()), 1.0 / gap, np.float32)
        pairs = (data.rows[:-gap][both], data.rows[gap:][both])
        counts = counts + csr_matrix((weight, pairs), (n, n))
    totals = np.maximum(np.asarray(counts.sum(1)).ravel(), 1e-9)

    def score(_user: int, past: History) -> Floats:
        recent = past.rows[-window:][::-1]
        weights = decay ** np.arange(len(recent)) / totals[recent]
        return np.asarray(counts[recent].T @ weights, np.float32)

    return score
