"""Item-kNN: items with similar sets of users."""

from functools import lru_cache
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, diags, issparse

from pocketrec_bundle.floats import Floats32
from pocketrec_training.baselines.item_matrix import ItemMatrix, compact, together
from pocketrec_training.baselines.scorer import Asked, Build, Scorer, faded
from pocketrec_training.data.dataset import Dataset

_ROWS = 512


def item_knn(data: Dataset) -> Build:
    """Cosine between items' user sets, summed over the history (Sarwar et al. 2001).

    Parameters: neighbours, only so many of each item's nearest count, 0 = all; decay, weight of an
    event of the history against the next one; shrink, see `cosines`.
    """
    overlap = together(data)
    cosine = lru_cache(maxsize=1)(lambda shrink: compact(cosines(overlap, shrink)))

    def build(neighbours: int = 0, decay: float = 1.0, shrink: float = 0.0) -> Scorer:
        kept = _nearest(cosine(shrink), int(neighbours))

        def score(asked: Asked) -> Floats32:
            found = faded(asked, kept.shape[0], decay) @ kept
            return np.asarray(found.toarray() if issparse(found) else found, np.float32)

        return score

    return build


def cosines(overlap: csr_matrix, shrink: float = 0.0) -> csr_matrix:
    """Return the cosines of the sets of users of two items, float32 [n, n], from `together`.

    With `shrink` a cosine that n shared users support counts n / (n + shrink) of its size (the
    shrunk correlation of Koren 2008, eq. 2): few users are no proof, and a cut to the largest of a
    row keeps what many support.
    """
    lengths = np.sqrt(np.maximum(overlap.diagonal().astype(np.float64), 1.0))
    scale = diags(1.0 / lengths)
    supported = overlap.astype(np.float64)  # a copy
    supported.data = supported.data**2 / (supported.data + shrink)
    cosine = csr_matrix(scale @ supported @ scale).astype(np.float32)
    cosine.setdiag(0.0)
    cosine.eliminate_zeros()
    return cosine


def _nearest(cosine: ItemMatrix, neighbours: int) -> ItemMatrix:
    """Return the matrix with only the largest `neighbours` of each row, and equals; 0 = all."""
    n = cosine.shape[0]
    if not 0 < neighbours < n:
        return cosine
    if not issparse(cosine):
        found = cosine.copy()
        for at in range(0, n, _ROWS):  # a partition of the whole would hold a third matrix
            block = found[at : at + _ROWS]
            least = np.partition(block, n - neighbours, axis=1)[:, -neighbours]
            block[block < least[:, None]] = 0
        return found
    sparse: Any = cosine  # scipy has no types
    # Values of each row, the largest first; the last one kept is the row's limit.
    counts = np.diff(sparse.indptr)
    rows = np.repeat(np.arange(n), counts)
    order = np.lexsort((-sparse.data, rows))
    limits = np.zeros(n, np.float32)
    full = counts >= neighbours
    limits[full] = sparse.data[order][sparse.indptr[:-1][full] + neighbours - 1]
    kept = sparse.copy()
    kept.data[kept.data < limits[rows]] = 0.0
    kept.eliminate_zeros()
    return kept
