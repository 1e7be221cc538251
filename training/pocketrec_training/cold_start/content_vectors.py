"""Vectors of items without training interactions, as a sum of four parts.

1. The item tower's vector: words, categories and years among all known items.
2. The average of the nearest known items by content (`neighbour_average.py`).
3. The similarity of the item's content to each user's history.
4. The predicted interaction rate of its content (`arrival_rates.py`).

Parts 3 and 4 are scores. They become the vector whose inner products with the users' vectors fit
them best.

A vector has two uses on the phone: it scores its item, and the user tower reads it after the user
interacts with the item. The tower was trained on vectors of known items only. A vector that is too
long, or far from all known items, dominates the user's vector (`docs/quality-cold.md`). So new
vectors keep the scale of known items, in the directions in which known items differ.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.floats import Floats32
from pocketrec_training.cold_start.arrival_rates import arrival_rates, recent_rates
from pocketrec_training.cold_start.neighbour_average import NeighbourAverage
from pocketrec_training.data.dataset import Dataset, Items
from pocketrec_training.monitoring.progress import Progress
from pocketrec_training.neighbours.content_features import ContentFeatures
from pocketrec_training.towers.feature_inputs import NO_FEATURES

ItemTower = Callable[[Items], Floats32]
"""From items to the item tower's vectors without their ids, float32 [n, d]."""

_RECENT = 0.5
"""Weight of what sells lately; every other part weighs 1 (docs/quality-cold.md)."""

_EPSILON = 0.01
_BLOCK = 8192
"""New items whose features are in memory at a time, some hundred numbers each."""

_SAMPLE = 2000
"""Known items on which scores are brought to one scale."""

_LEAST = 1e-12  # a spread that only rounding makes


class ContentVectors:
    """Compute vectors from content alone, for new items and for known items as if they were new.

    Each part but the tower's is centred and scaled by what it is among known items, then brought to
    the spread of the known items' scores, so the parts count about alike in every catalogue. Their
    sum has nearly three times that spread; it is brought back to it by one factor, which leaves the
    order among new items as it is. A vector does not depend on what else arrives.
    """

    def __init__(
        self,
        data: Dataset,
        tower: ItemTower,
        *,
        users: NDArray[np.int64],
        user_vectors: Floats32,
        item_vectors: Floats32,
        declared: FittedFeatures = NO_FEATURES,
    ) -> None:
        """Learn from the known items and their users.

        Args:
            data: the past; nothing is known of what happened to new items.
            tower: the item tower, see `ItemTower`.
            users: int64 [u], rows of users; a sample of some thousands will do.
            user_vectors: float32 [u, d], theirs.
            item_vectors: float32 [n_items, d], of `data.items`.
            declared: features of the items; new items have the same.
        """
        self._items, self._tower = data.items, tower
        self._features = ContentFeatures(data.items, declared)
        known = self._features(data.items)
        some = np.random.default_rng(0).permutation(len(data.items))[:_SAMPLE]
        spread = _spread(user_vectors @ item_vectors[some].T)
        self._neighbours = NeighbourAverage(
            known, item_vectors, np.bincount(data.rows, minlength=len(data.items))
        )
        loans = self._neighbours.vectors(known[some], own_rows=some)
        self._usual_loan = loans.mean(axis=0)
        self._loan_scale = spread / max(_spread(user_vectors @ loans.T), 0.01 * spread, _LEAST)
        profiles = histories(data, users) @ known  # [u, features]
        usual = np.asarray((profiles @ known[some].T).toarray(), np.float32)
        mean = usual.mean(axis=1, keepdims=True)
        axes = _axes(item_vectors)
        self._tastes = _fit_along(axes, user_vectors, profiles)
        self._usual_taste = _fit_along(axes, user_vectors, mean)
        self._taste_scale = spread / max(_spread(usual), _LEAST)
        # One score for all users: its vector is the one on which they agree.
        self._agreed = spread * _fit_along(axes, user_vectors, np.ones_like(mean))  # [1, d]
        self._arrivals, self._recent = arrival_rates(data, known), recent_rates(data, known)
        self._scale = 1.0
        alike = _spread(user_vectors @ self.of_known(some).T)
        self._scale = min(1.0, spread / max(alike, _LEAST))

    def __call__(self, new: Items) -> Floats32:
        """Make the vectors of new items, float32 [len(new), d]."""
        found = np.empty((len(new), len(self._usual_loan)), np.float32)
        with Progress("content vectors", len(new)) as bar:
            for at in range(0, len(new), _BLOCK):
                part = range(at, min(at + _BLOCK, len(new)))
                items = new.pick(part)
                features = self._features(items)
                found[at : part.stop] = self._sum(
                    self._tower(items), features, self._neighbours.vectors(features)
                )
                bar.advance(part.stop)
        return found

    def of_known(self, rows: NDArray[np.int64]) -> Floats32:
        """Return the vectors that known items would have if they were new, float32 [n, d].

        An item is not its own neighbour. All past events are used, also those with the item.
        """
        if not len(rows):
            return np.zeros((0, len(self._usual_loan)), np.float32)
        items = self._items.pick(rows)
        features = self._features(items)
        loans = self._neighbours.vectors(features, own_rows=rows)
        return self._sum(self._tower(items), features, loans)

    def _sum(self, own: Floats32, features: csr_matrix, loans: Floats32) -> Floats32:
        rates = self._arrivals(features) + _RECENT * self._recent(features)
        found = (
            own
            + self._loan_scale * (loans - self._usual_loan)
            + self._taste_scale * (features @ self._tastes - self._usual_taste)
            + rates[:, None] * self._agreed
        )
        return np.asarray(self._scale * found, np.float32)


def _spread(scores: Floats32) -> float:
    """Of scores [u, m] around each user's mean."""
    return float((scores - scores.mean(axis=1, keepdims=True)).std())


def histories(data: Dataset, users: NDArray[np.int64]) -> csr_matrix:
    """Return each user's items as rows of length 1, float32 [u, n_items], sparse."""
    taken = [np.unique(data.history(int(user)).rows) for user in users]
    sizes = np.array([len(rows) for rows in taken])
    values = np.repeat(1.0 / np.sqrt(np.maximum(sizes, 1)), sizes).astype(np.float32)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    columns = np.concatenate(taken) if len(taken) else np.zeros(0, np.int32)
    return csr_matrix((values, columns, ends), shape=(len(users), len(data.items)))


def fit_vectors(users: Floats32, scores: Floats32 | csr_matrix) -> Floats32:
    """Return the vectors whose inner products with `users` fit `scores` best.

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


def _axes(items: Floats32) -> Floats32:
    """Return the symmetric root of the covariance of item vectors, float32 [d, d]."""
    centred = (items - items.mean(axis=0)).astype(np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred / max(len(items), 1))
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T, np.float32)


def _fit_along(axes: Floats32, users: Floats32, scores: Floats32 | csr_matrix) -> Floats32:
    """Fit vectors as `fit_vectors` does, in coordinates in which the trained items vary alike.

    A direction in which trained items hardly differ is then penalised more: plain ridge regression
    used it for small gains of fit, by vectors 1.7 times as long as trained ones (MovieLens-100K).

    Args:
        axes: float32 [d, d], see `_axes`.
        users: float32 [u, d].
        scores: float32 [u, m], dense or sparse.

    Returns:
        float32 [m, d].
    """
    return fit_vectors(users @ axes, scores) @ axes
