"""The candidate index: k-means cells, int8 rows in cell order, a scale a row."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bundle.quantize import quantize_rows

Floats = NDArray[np.float32]
_ROUNDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltIndex:
    """Arrays of FORMAT.md; order[r] is the canonical item row behind bundle row r."""

    centroids: Floats
    offsets: NDArray[np.int32]
    rows: NDArray[np.int8]
    scales: Floats
    order: NDArray[np.int64]


def build_index(vectors: Floats, ids: list[str], cells: int, seed: int) -> BuiltIndex:
    """Cluster and quantize item vectors, float32 [N, d]; rows are sorted by cell, then id."""
    centroids = k_means(vectors, max(1, min(cells, len(vectors))), seed)
    return arrange(vectors, ids, centroids)


def arrange(vectors: Floats, ids: list[str], centroids: Floats) -> BuiltIndex:
    """Put items into the nearest of given cells and quantize them."""
    rows, scales = quantize_rows(vectors)
    return sort_into_cells(rows, scales, ids, nearest(vectors, centroids), centroids)


def sort_into_cells(
    rows: NDArray[np.int8],
    scales: Floats,
    ids: list[str],
    cell: NDArray[np.int64],
    centroids: Floats,
) -> BuiltIndex:
    """Order quantized rows by cell, then id: the order does not depend on what else is there.

    Args:
        rows: int8 [N, d], canonical order like all that follows.
        scales: float32 [N].
        ids: the items' ids.
        cell: int64 [N], each item's cell.
        centroids: float32 [cells, d].
    """
    ranked = by_id(ids)
    order = ranked[np.argsort(cell[ranked], kind="stable")]
    counts = np.bincount(cell, minlength=len(centroids))
    return BuiltIndex(
        centroids=centroids,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        rows=rows[order],
        scales=scales[order],
        order=order,
    )


def by_id(ids: list[str]) -> NDArray[np.int64]:
    """Return the places of the ids in their order, int64 [N]; code points, as their UTF-8."""
    return np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)


def nearest(vectors: Floats, centroids: Floats) -> NDArray[np.int64]:
    """Return each vector's nearest centroid by Euclidean distance, int64 [N]."""
    lengths = (centroids**2).sum(1)
    found: NDArray[np.int64] = np.argmin(lengths - 2 * (vectors @ centroids.T), axis=1)
    return found


def k_means(vectors: Floats, cells: int, seed: int) -> Floats:
    """Lloyd's algorithm from k-means++ seeds (Arthur, Vassilvitskii 2007); f32 [cells, d]."""
    if cells == 1:
        centre: Floats = vectors.mean(axis=0, keepdims=True).astype(np.float32)
        return centre
    rng = np.random.default_rng(seed)
    centroids = np.empty((cells, vectors.shape[1]), np.float32)
    centroids[0] = vectors[rng.integers(len(vectors))]
    distance = np.full(len(vectors), np.inf)
    for i in range(1, cells):
        distance = np.minimum(distance, ((vectors - centroids[i - 1]) ** 2).sum(1))
        total = float(distance.sum())
        share = distance / total if total else np.full(len(vectors), 1 / len(vectors))
        centroids[i] = vectors[rng.choice(len(vectors), p=share)]
    for _ in range(_ROUNDS):
        cell = nearest(vectors, centroids)
        counts = np.bincount(cell, minlength=cells)
        sums = np.zeros_like(centroids, dtype=np.float64)
        np.add.at(sums, cell, vectors)
        moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centroids)
        if np.allclose(moved, centroids):
            break
        centroids = moved.astype(np.float32)
    return centroids
