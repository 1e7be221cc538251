"""The items that are most similar by content, and how much each of them counts."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

_SIMILARITIES = 1 << 24
"""Maximum numbers of the similarity matrix, [items, neighbours], in memory at a time."""


def nearest_shares(
    features: csr_matrix,
    others: csr_matrix,
    own: NDArray[np.bool_] | None = None,
    *,
    nearest: int,
) -> csr_matrix:
    """Return the share of each neighbour in an average, float32 [m, n], sparse.

    The `nearest` most similar columns of `others` count, by the square of the similarity. Shares of
    an item sum to 1, or are all 0.

    Args:
        features: float32 [m, F], sparse.
        others: float32 [F, n], sparse: the items that can be neighbours.
        own: bool [m, n], pairs that are the same item.
        nearest: number of neighbours.
    """
    m, n = features.shape[0], others.shape[1]
    k = min(nearest, n)
    rows, shares = np.zeros((m, k), np.int64), np.zeros((m, k), np.float32)
    block = max(1, _SIMILARITIES // n)
    for start in range(0, m, block):
        part = slice(start, min(start + block, m))
        similarity = np.asarray((features[part] @ others).toarray(), np.float32)
        if own is not None:
            similarity[own[part]] = 0.0
        rows[part] = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        weights = np.take_along_axis(similarity, rows[part], axis=1) ** 2  # [b, k]
        shares[part] = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    ends = np.arange(0, m * k + 1, k)
    found = csr_matrix((shares.ravel(), rows.ravel(), ends), (m, n))
    found.eliminate_zeros()
    return found
