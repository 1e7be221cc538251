"""Matrices of items by items: sums over pairs of events, and the inverse of a Gram matrix.

Most pairs of a large catalogue never meet, so sums are kept sparse where that is smaller.
Catalogues above `EXACT_ITEMS` are solved in single precision: half the time and half the memory.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_matrix, issparse

from pocketrec_bundle.floats import Floats32
from pocketrec_training.baselines.scorer import user_item_table
from pocketrec_training.data.dataset import Dataset

EXACT_ITEMS = 5_000
"""Up to so many items in double precision."""
SPARSE_SHARE = 0.25
"""Share of pairs that meet, above which a dense matrix is the smaller or the faster one."""
_AT_ONCE = 10_000_000
"""Pairs of events counted at a time: 160 MB."""
_ROWS = 512

ItemMatrix: TypeAlias = NDArray[Any] | csr_matrix
"""[n_items, n_items], float32 or float64, dense or sparse."""


def precision(n_items: int) -> type[np.floating[Any]]:
    """Return the type of numbers in which a catalogue of this size is solved."""
    return np.float64 if n_items <= EXACT_ITEMS else np.float32


def together(data: Dataset) -> csr_matrix:
    """Return X'X: the number of users with both items in the training fold, float32 [n, n]."""
    table = user_item_table(data)
    return csr_matrix(table.T @ table)


def dense(matrix: ItemMatrix, dtype: Any) -> NDArray[Any]:
    """Return a dense copy in C order."""
    if issparse(matrix):
        sparse: Any = matrix  # scipy has no types
        return np.asarray(sparse.astype(dtype).toarray(order="C"))
    return np.array(matrix, dtype, order="C")


def compact(matrix: csr_matrix) -> ItemMatrix:
    """Return a sparse matrix as it is, or dense if too many of its pairs meet."""
    n = matrix.shape[0]
    return matrix if matrix.nnz < SPARSE_SHARE * n * n else matrix.toarray()


def inverse(gram: ItemMatrix, l2: float) -> NDArray[Any]:
    """Return (gram + l2 I)^-1 by Cholesky, C order: half the operations of a general inverse.

    Raises:
        LinAlgError: the sum is not positive definite.
    """
    n = gram.shape[0]
    dtype = precision(n)
    left = dense(gram, dtype)
    left[np.diag_indices_from(left)] += dtype(l2)
    double = dtype is np.float64
    factorize, invert = (lapack.dpotrf, lapack.dpotri) if double else (lapack.spotrf, lapack.spotri)
    # The transpose of a symmetric matrix in C order is the same matrix in Fortran order: no copy.
    factor, failed = factorize(left.T, lower=1, overwrite_a=1)
    if failed:
        raise np.linalg.LinAlgError(f"not positive definite with l2 = {l2:g}")
    found = np.asarray(invert(factor, lower=1, overwrite_c=1)[0]).T
    # Its lower triangle is computed; in C order that is the upper one.
    for at in range(0, n, _ROWS):
        end = min(at + _ROWS, n)
        block = found[at:end, at:end]
        block[:] = np.triu(block) + np.triu(block, 1).T
        found[end:, at:end] = found[at:end, end:].T
    return found


class PairSums:
    """Sum weights over pairs of items, dense or sparse, whichever is smaller for so many pairs."""

    def __init__(self, n_items: int, most_pairs: int) -> None:
        """Begin with zeros.

        Args:
            n_items: size of the matrix.
            most_pairs: upper bound of the pairs that will be added.
        """
        self._n = n_items
        full = most_pairs > SPARSE_SHARE * n_items * n_items
        self._dense = np.zeros(n_items * n_items, precision(n_items)) if full else None
        self._sparse = csr_matrix((n_items, n_items), dtype=np.float64)
        self._pending: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self._waiting = 0

    def add(self, rows: NDArray[Any], columns: NDArray[Any], weights: NDArray[Any]) -> None:
        """Add a weight to each (row, column); a pair may occur many times."""
        pairs = rows.astype(np.int64) * self._n + columns
        weights = np.broadcast_to(weights, pairs.shape)
        if self._dense is not None:
            np.add.at(self._dense, pairs, weights)
            return
        self._pending.append((pairs, weights))
        self._waiting += len(pairs)
        if self._waiting > _AT_ONCE:
            self._count()

    def total(self) -> ItemMatrix:
        """Return the sums."""
        if self._dense is not None:
            return self._dense.reshape(self._n, self._n)
        self._count()
        return self._sparse

    def _count(self) -> None:
        pairs = np.concatenate([np.zeros(0, np.int64), *(each[0] for each in self._pending)])
        weights = np.concatenate([np.zeros(0), *(each[1] for each in self._pending)])
        self._pending, self._waiting = [], 0
        shape = (self._n, self._n)
        self._sparse = self._sparse + csr_matrix((weights, np.divmod(pairs, self._n)), shape)


def float32(matrix: NDArray[Any]) -> Floats32:
    """Return single precision in C order, in which products with sparse rows make no copy."""
    return np.asarray(matrix, np.float32, order="C")
