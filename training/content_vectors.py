"""Vectors of items that training never saw: what the item tower says, and what it cannot know.

The tower learns what words, categories and years have meant among all known items. Two things are
added: how near a new item's content is to what a user took before, and how fast items of such
content were taken when they had just arrived. Both are scores; they become the vector whose inner
products with the users' vectors come nearest to them.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import Ridge

from training.content_features import ContentFeatures
from training.dataset import Dataset, Items
from training.progress import Progress

Floats = NDArray[np.float32]

_ALREADY_THERE = 0.02
"""Share of the events in which an item counts as one that was there when the log began."""

_HEAD_START = 0.5
"""Added to an arrival's time on sale, as a share of the log, so that a lucky first day is tamed."""

_SHRINKAGE = 30.0
"""Ridge penalty of the regression on arrivals; each kind of content has rows of length 1."""

_EPSILON = 0.01
_BLOCK = 8192
"""New items whose features are in memory at a time, some hundred numbers each."""

_SAMPLE = 2000
"""Known items on which scores are brought to one scale."""


def content_vectors(
    data: Dataset,
    new: Items,
    own: Floats,
    *,
    users: NDArray[np.int64],
    user_vectors: Floats,
    item_vectors: Floats,
) -> Floats:
    """Add likeness to the past and the rate of arrivals to the vectors of the item tower.

    Both scores are centred and scaled by what they are among known items, then brought to the
    spread of the known items' scores: a vector does not depend on what else arrives, and the three
    parts count about alike (`docs/quality-cold.md`).

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
    profiles = histories(data, users) @ known  # [u, features]
    usual = np.asarray((profiles @ known[some].T).toarray(), np.float32)
    mean = usual.mean(axis=1, keepdims=True)
    tastes, centre = fit_vectors(user_vectors, profiles), fit_vectors(user_vectors, mean)
    usual_spread = max(float((usual - mean).std()), 1e-12)
    # One score for all users: its vector is the one on which they agree.
    agreed = fit_vectors(user_vectors, np.ones_like(mean))  # [1, d]
    rates = arrival_rates(data, known)
    among_known = user_vectors @ item_vectors[some].T
    spread = (among_known - among_known.mean(axis=1, keepdims=True)).std()
    found = np.empty_like(own)
    with Progress("content vectors", len(new)) as bar:
        for at in range(0, len(new), _BLOCK):
            part = range(at, min(at + _BLOCK, len(new)))
            fresh = features(new.pick(part))
            likeness = (fresh @ tastes - centre) / usual_spread
            extra = spread * (likeness + rates(fresh)[:, None] * agreed)
            found[at : at + _BLOCK] = own[at : at + _BLOCK] + extra
            bar.advance(part.stop)
    return found


def histories(data: Dataset, users: NDArray[np.int64]) -> csr_matrix:
    """Return which items each user took, rows of length 1: float32 [u, n_items], sparse."""
    taken = [np.unique(data.history(int(user)).rows) for user in users]
    sizes = np.array([len(rows) for rows in taken])
    values = np.repeat(1.0 / np.sqrt(np.maximum(sizes, 1)), sizes).astype(np.float32)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    columns = np.concatenate(taken) if len(taken) else np.zeros(0, np.int32)
    return csr_matrix((values, columns, ends), shape=(len(users), len(data.items)))


def arrival_rates(data: Dataset, known: csr_matrix) -> Callable[[csr_matrix], Floats]:
    """Learn to foretell how fast a new item will be taken, in standard deviations of past arrivals.

    A ridge regression from content to log(users an arrival won / its time on sale). Items that were
    there when the log began are left out: they tell of what lasts, not of what arrives.

    Args:
        data: the past.
        known: float32 [n_items, features].

    Returns:
        A function from features of new items, float32 [m, features], to their rates, float32 [m];
        zeros where no two items arrived.
    """
    n = len(data.items)
    first = data.first_seen()
    begin, end = int(data.ts.min()), int(data.ts.max())
    arrived = (first > np.quantile(data.ts, _ALREADY_THERE)) & (first <= end)
    if arrived.sum() < 2:
        return lambda fresh: np.zeros(fresh.shape[0], np.float32)
    users = data.event_users
    won = np.bincount(np.unique(users * n + data.rows) % n, minlength=n)[arrived]
    on_sale = (end - first[arrived]) / (end - begin)
    rates = np.log((won + 0.5) / (on_sale + _HEAD_START))
    model = Ridge(alpha=_SHRINKAGE, solver="sparse_cg").fit(known[arrived], rates)
    spread, centre = max(float(model.predict(known[arrived]).std()), 1e-12), rates.mean()
    return lambda fresh: np.asarray((model.predict(fresh) - centre) / spread, np.float32)


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
