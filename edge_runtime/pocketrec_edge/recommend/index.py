"""Candidate retrieval: an IVF index of int8 rows; a search scans the nprobe nearest cells first.

Jegou et al. 2011, section III, without residuals. `index_reference.py` is the plain form that tests
compare with.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.columns import Column
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.products import inner
from pocketrec_bundle.reader import Bundle

_BLOCK = 1024
"""Rows turned to floats at a time: at d = 64 they take 256 KiB, which stay in a core's cache."""


@dataclass(frozen=True, slots=True)
class Index:
    """The arrays of FORMAT.md's "Search"; views of the mapped files, nothing is copied.

    rows: int8 [N, d]; an export's gates put float32 there, to see what rounding costs.
    """

    centroids: Floats32
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

    def vectors(self, rows: NDArray[np.int32]) -> Floats32:
        """Return item vectors of some rows, float32 [n, d]."""
        found: Floats32 = self.rows[rows].astype(np.float32) * self.scales[rows][:, None]
        return found


def units(vectors: Floats32) -> Floats32:
    """Return vectors [n, d] at length 1; one of length 0 stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Floats32 = vectors / np.maximum(lengths, np.float32(1e-12))
    return found


def search(
    index: Index, query: Floats32, k: int, nprobe: int, excluded: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], Floats32]:
    """Find the best rows by inner product, in the nearest cells and on until k are found.

    Args:
        index: cells of int8 rows.
        query: float32 [d], the user vector.
        k: rows wanted.
        nprobe: minimum number of cells to scan, 0 = all. Recall and time grow with it.
        excluded: bool [N], rows that must not be returned (seen, withdrawn).

    Returns:
        Rows and scores, best first, ties by lower row: int32 [n], float32 [n]; n < k only if fewer
        rows survive the filter in the whole catalogue.
    """
    rows = _survivors(index, query, k, nprobe, excluded)
    scores = _scores(index, query, rows)
    if len(rows) > k:
        # Keep all that tie with the k-th best, so that the lower row wins whatever the partition.
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        chosen = np.flatnonzero(scores >= least)
        rows, scores = rows[chosen], scores[chosen]
    best = np.lexsort((rows, -scores))[:k]
    return rows[best], scores[best]


def _survivors(
    index: Index, query: Floats32, k: int, nprobe: int, excluded: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Rows of the nearest cells that are not excluded; further cells up to the k-th of them."""
    n_cells = len(index.centroids)
    wanted = nprobe if 0 < nprobe < n_cells else n_cells
    if wanted == n_cells:
        return np.flatnonzero(~excluded).astype(np.int32)
    nearness = inner(index.centroids, query)
    least = np.partition(nearness, n_cells - wanted)[n_cells - wanted]
    near = np.flatnonzero(nearness >= least)  # with ties
    order = near[np.argsort(-nearness[near], kind="stable")][:wanted]
    rows, _ = _free_rows(index, order, excluded)
    found, kept, done = [rows], len(rows), wanted
    if kept < k:
        order = np.argsort(-nearness, kind="stable")
    while kept < k and done < n_cells:  # as many cells again, in the end all
        rows, place = _free_rows(index, order[done : 2 * done], excluded)
        if kept + len(rows) > k:
            rows = rows[place <= place[k - kept - 1]]
        found.append(rows)
        kept, done = kept + len(rows), 2 * done
    return np.concatenate(found)


def _free_rows(
    index: Index, cells: NDArray[np.int64], excluded: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Rows of some cells, in their order, that are not excluded; and which of the cells each is in.

    One gather of all costs less than a look at each cell.
    """
    starts = index.offsets[cells]
    sizes = index.offsets[cells + 1] - starts
    place = np.repeat(np.arange(len(cells)), sizes)
    before = np.cumsum(sizes) - sizes
    rows = (starts - before)[place] + np.arange(len(place), dtype=np.int32)
    free = ~excluded[rows]
    return rows[free].astype(np.int32), place[free]


def _scores(index: Index, query: Floats32, rows: NDArray[np.int32]) -> Floats32:
    """Inner products of some rows' vectors with the query, float32 [n]."""
    scores = np.empty(len(rows), np.float32)
    most = min(_BLOCK, len(rows))
    stored = np.empty((most, len(query)), index.rows.dtype)
    block = np.empty((most, len(query)), np.float32)
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        n = len(part)
        np.take(index.rows, part, axis=0, out=stored[:n], mode="clip")  # "raise" would buffer
        block[:n] = stored[:n]
        inner(block[:n], query, out=scores[start : start + n])
    scores *= index.scales[rows]
    return scores
