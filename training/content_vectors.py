"""Vectors of items that training never saw: what the item tower says, and what it cannot know.

The tower learns what words, categories and years have meant among all known items. Three things are
added: the vectors of the known items most like a new one; how near its content is to what a user
took before; and how fast items of such content are taken. The last two are scores; they become the
vector whose inner products with the users' vectors come nearest to them.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from training.borrowed_vectors import Lenders
from training.content_features import ContentFeatures
from training.content_rates import arrival_rates, recent_rates
from training.dataset import Dataset, Items
from training.progress import Progress

Floats = NDArray[np.float32]

_RECENT = 0.5
"""Weight of what sells lately; every other part weighs 1 (docs/quality-cold.md)."""

_EPSILON = 0.01
_BLOCK = 8192
"""New items whose features are in memory at a time, some hundred numbers each."""

_SAMPLE = 2000
"""Known items on which scores are brought to one scale."""

_LEAST = 1e-12  # a spread that only rounding makes


def content_vectors(
    data: Dataset,
    new: Items,
    own: Floats,
    *,
    users: NDArray[np.int64],
    user_vectors: Floats,
    item_vectors: Floats,
) -> Floats:
    """Make the vectors of new items from the item tower's and from three more parts.

    Each part but the tower's is centred and scaled by what it is among known items, then brought to
    the spread of the known items' scores: a vector does not depend on what else arrives, and the
    parts count about alike in every catalogue.

    Args:
        data: the past; nothing is known of what happened to `new`.
        new: items.
        own: float32 [len(new), d], the item tower's vectors without an id.
        users: int64 [u], rows of users; a sample of some thousands will do.
        user_vectors: float32 [u, d], theirs.
        item_vectors: float32 [n_items, d], of `data.items`.

    Returns:
        float32 [len(new), d].
    """
    if not len(new):
        return own
    features = ContentFeatures(data.items)
    known = features(data.items)
    some = np.random.default_rng(0).permutation(len(data.items))[:_SAMPLE]
    spread = _spread(user_vectors @ item_vectors[some].T)
    lenders = Lenders(known, item_vectors, np.bincount(data.rows, minlength=len(data.items)))
    usual_loan = lenders.vectors(known[some], own_rows=some)
    loan_scale = spread / max(_spread(user_vectors @ usual_loan.T), 0.01 * spread, _LEAST)
    profiles = histories(data, users) @ known  # [u, features]
    usual = np.asarray((profiles @ known[some].T).toarray(), np.float32)
    mean = usual.mean(axis=1, keepdims=True)
    tastes, centre = fit_vectors(user_vectors, profiles), fit_vectors(user_vectors, mean)
    taste_scale = spread / max(_spread(usual), _LEAST)
    # One score for all users: its vector is the one on which they agree.
    agreed = spread * fit_vectors(user_vectors, np.ones_like(mean))  # [1, d]
    arrivals, recent = arrival_rates(data, known), recent_rates(data, known)
    found = np.empty_like(own)
    with Progress("content vectors", len(new)) as bar:
        for at in range(0, len(new), _BLOCK):
            part = range(at, min(at + _BLOCK, len(new)))
            fresh = features(new.pick(part))
            rates = arrivals(fresh) + _RECENT * recent(fresh)
            found[at : at + _BLOCK] = (
                own[at : at + _BLOCK]
                + loan_scale * (lenders.vectors(fresh) - usual_loan.mean(axis=0))
                + taste_scale * (fresh @ tastes - centre)
                + rates[:, None] * agreed
            )
            bar.advance(part.stop)
    return found


def _spread(scores: Floats) -> float:
    """Of scores [u, m] around each user's mean."""
    return float((scores - scores.mean(axis=1, keepdims=True)).std())


def histories(data: Dataset, users: NDArray[np.int64]) -> csr_matrix:
    """Return which items each user took, rows of length 1: float32 [u, n_items], sparse."""
    taken = [np.unique(data.history(int(user)).rows) for user in users]
    sizes = np.array([len(rows) for rows in taken])
    values = np.repeat(1.0 / np.sqrt(np.maximum(sizes, 1)), sizes).astype(np.float32)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    columns = np.concatenate(taken) if len(taken) else np.zeros(0, np.int32)
    return csr_matrix((values, columns, ends), shape=(len(users), len(data.items)))


def fit_vectors(users: Floats, scores: Floats | csr_matrix) -> Floats:
    """Return the vectors whose inner products with `users` come nearest to `scores`.

    Ridge regression, its penalty a hundredth of the mean eigenvalue of U'U.

    Args:
        users: float32 [u, d].
        scores: float32 [u, m], dense or sparse.

    Returns:
        float32 [m, d].
    """
    squares = users.T @ users
    penalty = _EPSILON * float(np.trace(squares)) / len(squares) + 1e-12
    squares += np.float32(penalty) * np.eye(len(squares), dtype=np.float32)
    return np.asarray(np.linalg.solve(squares, (scores.T @ users).T).T, np.float32)
