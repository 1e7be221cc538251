"""Candidate retrieval: int8 rows in cell order, the nearest cells scanned first (IVF).

Jegou et al. 2011, section III, without residuals. `index_reference.py` is the plain form that tests
compare with.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.columns import Column
from bundle.reader import Bundle

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Index:
    """The arrays of FORMAT.md's "Search"; views of the mapped files, nothing is copied.

    rows: int8 [N, d]; an export's gates put float32 there, to see what rounding costs.
    """

    centroids: Floats
    offsets: NDArray[np.int32]
    rows: NDArray[Any]
    scales: Column

    @classmethod
    def of(cls, bundle: Bundle) -> "Index":
        """Open the index of a release."""
        centroids, offsets, rows = (
            bundle.array(f"index/{name}") for name in ("centroids", "offsets", "rows")
        )
        return cls(centroids, offsets, rows, bundle.scales)

    def vectors(self, rows: NDArray[np.int32]) -> Floats:
        """Return item vectors of some rows, float32 [n, d]."""
        found: Floats = self.rows[rows].astype(np.float32) * self.scales[rows][:, None]
        return found


def probe(
    index: Index, query: Floats, k: int, probes: int, excluded: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], Floats]:
    """Find the best rows by inner product, in the nearest cells and on until k are found.

    Args:
        index: cells of int8 rows.
        query: float32 [d], the user vector.
        k: rows wanted.
        probes: cells to scan at least, 0 = all. Recall grows and time is linear in it.
        excluded: bool [N], rows that must not be returned (seen, withdrawn).

    Returns:
        Rows and scores, best first, ties by lower row: int32 [n], float32 [n]; n < k only if fewer
        rows survive the filter in the whole catalogue.
    """
    n_cells = len(index.centroids)
    order = np.argsort(-(index.centroids @ query), kind="stable") if n_cells > 1 else [0]
    wanted = probes if 0 < probes < n_cells else n_cells
    rows_found: list[NDArray[np.int32]] = []
    scores_found: list[Floats] = []
    kept = 0
    for place, cell in enumerate(order):
        if place >= wanted and kept >= k:
            break
        start, stop = int(index.offsets[cell]), int(index.offsets[cell + 1])
        if start == stop:
            continue
        scores = (index.rows[start:stop].astype(np.float32) @ query) * index.scales[start:stop]
        free = np.flatnonzero(~excluded[start:stop])
        rows_found.append((free + start).astype(np.int32))
        scores_found.append(scores[free])
        kept += len(free)
    if not kept:
        return np.zeros(0, np.int32), np.zeros(0, np.float32)
    rows, scores = np.concatenate(rows_found), np.concatenate(scores_found)
    if len(rows) > k:
        # Keep all that tie with the k-th best, so that the lower row wins whatever the partition.
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        chosen = np.flatnonzero(scores >= least)
        rows, scores = rows[chosen], scores[chosen]
    best = np.lexsort((rows, -scores))[:k]
    return rows[best], scores[best]
