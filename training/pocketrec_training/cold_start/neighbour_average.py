"""Vectors of new items as the average of their nearest known items by content (kNN interpolation).

Users who like the neighbours score such a vector highly. The item tower compresses content; this
average does not, so a design or a series that only a few items share still counts.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from pocketrec_bundle.floats import Floats32
from pocketrec_training.neighbours.similar_items import nearest_shares

NEAREST = 32
"""Neighbours in one average; 16 give the same quality (docs/quality-cold.md)."""

MAX_NEIGHBOURS = 20_000
"""Known items that can be neighbours: those with the most events, whose vectors are learned best.
The limit bounds the time."""


class NeighbourAverage:
    """Average the vectors of the known items that are nearest by content.

    Attributes:
        rows: int64 [n], rows of the known items that can be neighbours.
    """

    def __init__(
        self, features: csr_matrix, vectors: Floats32, n_events: NDArray[np.int64]
    ) -> None:
        """Choose the items that can be neighbours.

        Args:
            features: float32 [n, F], sparse, see `ContentFeatures`.
            vectors: float32 [n, d].
            n_events: int64 [n], by item.
        """
        self.rows = np.sort(np.argsort(-n_events, kind="stable")[:MAX_NEIGHBOURS])
        self._features = csr_matrix(features[self.rows].T)  # [F, neighbours]
        self._vectors = vectors[self.rows]

    def vectors(self, features: csr_matrix, own_rows: NDArray[np.int64] | None = None) -> Floats32:
        """Return averages, float32 [m, d], weighted by the square of the similarity.

        An item without a similar known item gets zeros.

        Args:
            features: float32 [m, F], sparse.
            own_rows: int64 [m]: rows of known items, which are then not their own neighbours.
        """
        own = None if own_rows is None else own_rows[:, None] == self.rows
        shares = nearest_shares(features, self._features, own, nearest=NEAREST)
        return np.asarray(shares @ self._vectors)
