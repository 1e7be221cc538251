"""The simple methods to beat: popularity, item-kNN, transition counts.

Each scores all items for a history given as item rows, oldest first; float32 [n_items].
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from training.dataset import TRAIN, Dataset

Scorer = Callable[[NDArray[np.int32]], NDArray[np.float32]]
WINDOW = 5
DECAY = 0.8
"""Weight of an event against the one after it, for item-kNN and transitions."""


def popularity(data: Dataset) -> Scorer:
    """Score by the number of training events."""
    counts = data.popularity()
    return lambda _past: counts


def item_knn(data: Dataset) -> Scorer:
    """Cosine between items' user sets, summed over the history (Sarwar et al. 2001)."""
    chosen = data.fold == TRAIN
    users = np.repeat(np.arange(data.n_users), np.diff(data.offsets))[chosen]
    ones = np.ones(len(users), np.float32)
    table = csr_matrix((ones, (users, data.rows[chosen])), (data.n_users, len(data.items)))
    table.data[:] = 1.0
    overlap = (table.T @ table).toarray()
    lengths = np.sqrt(np.maximum(np.diag(overlap), 1.0))
    cosine = (overlap / lengths[:, None] / lengths[None]).astype(np.float32)
    np.fill_diagonal(cosine, 0.0)
    return lambda past: np.asarray(cosine[past].sum(0), np.float32)


def transitions(data: Dataset) -> Scorer:
    """Counts of "b within five events after a", row-normalised, recent history first."""
    n = len(data.items)
    counts = csr_matrix((n, n), dtype=np.float32)
    user = np.repeat(np.arange(data.n_users), np.diff(data.offsets))
    for gap in range(1, WINDOW + 1):
        both = (user[gap:] == user[:-gap]) & (data.fold[gap:] == TRAIN)
        weight = np.full(int(both.sum()), 1.0 / gap, np.float32)
        pairs = (data.rows[:-gap][both], data.rows[gap:][both])
        counts = counts + csr_matrix((weight, pairs), (n, n))
    totals = np.maximum(np.asarray(counts.sum(1)).ravel(), 1e-9)

    def score(past: NDArray[np.int32]) -> NDArray[np.float32]:
        recent = past[-WINDOW:][::-1]
        weights = DECAY ** np.arange(len(recent)) / totals[recent]
        return np.asarray(csr_matrix(weights) @ counts[recent].toarray(), np.float32).ravel()

    return score


BASELINES: dict[str, Callable[[Dataset], Scorer]] = {
    "popularity": popularity,
    "item_knn": item_knn,
    "transitions": transitions,
}
