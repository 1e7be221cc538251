"""Vectors that new items borrow from the known items most like them.

A weighted mean of known items' vectors: what the users who like those items score highly. Unlike
the item tower it does not compress content first, so a design or a series that only a few items
share still counts.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from pocketrec_bundle.floats import Floats32

NEAREST = 32
"""Known items that lend to one; 16 do as well (docs/quality-cold.md)."""

LENDERS = 20_000
"""Known items that may lend, those with the most events: the best learnt, and a bound on time."""

_SIMILARITIES = 1 << 24
"""Numbers of an array of likenesses, [items, lenders], in memory at a time."""


class NeighbourAverage:
    """Known items, by content."""

    def __init__(
        self, features: csr_matrix, vectors: Floats32, n_events: NDArray[np.int64]
    ) -> None:
        """Choose who may lend.

        Args:
            features: float32 [n, F], sparse, see `ContentFeatures`.
            vectors: float32 [n, d].
            n_events: int64 [n], by item.
        """
        self.rows = np.sort(np.argsort(-n_events, kind="stable")[:LENDERS])
        self._features = csr_matrix(features[self.rows].T)  # [F, lenders]
        self._vectors = vectors[self.rows]

    def vectors(self, features: csr_matrix, own_rows: NDArray[np.int64] | None = None) -> Floats32:
        """Lend to items, float32 [m, d]: the mean of the nearest, weighed by likeness squared.

        Zeros for an item that is like none.

        Args:
            features: float32 [m, F], sparse.
            own_rows: int64 [m], for known items: their rows, so that none lends to itself.
        """
        m, n = features.shape[0], len(self.rows)
        k = min(NEAREST, n)
        found = np.zeros((m, self._vectors.shape[1]), np.float32)
        block = max(1, _SIMILARITIES // n)
        for at in range(0, m, block):
            part = slice(at, min(at + block, m))
            alike = np.asarray((features[part] @ self._features).toarray(), np.float32)
            if own_rows is not None:
                alike[own_rows[part, None] == self.rows] = 0.0
            nearest = np.argpartition(-alike, k - 1, axis=1)[:, :k]
            weights = np.take_along_axis(alike, nearest, axis=1) ** 2  # [b, k]
            weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
            found[part] = np.einsum("bk,bkd->bd", weights, self._vectors[nearest])
        return found
