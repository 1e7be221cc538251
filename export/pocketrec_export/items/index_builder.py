"""The candidate index: k-means cells, int8 rows in cell order, a scale a row."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.quantize import quantize_rows
from pocketrec_training.monitoring.progress import Progress

POINTS_A_CELL = 64
"""Vectors a cell on which centroids are trained; more of them hardly move a centroid."""

MIN_SAMPLE = 1 << 16
"""Up to so many vectors all of them train, however few the cells."""

_ROUNDS = 20
_SEED_DISTANCES = 1 << 28
"""Distances that choosing the seeds may take, some ten seconds, before it draws several at once."""

_BLOCK_DISTANCES = 1 << 22
"""Distances held at a time, 16 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltIndex:
    """Arrays of FORMAT.md; order[r] is the canonical item row behind bundle row r."""

    centroids: Floats32
    offsets: NDArray[np.int32]
    rows: NDArray[np.int8]
    scales: Floats32
    order: NDArray[np.int64]


def build_index(vectors: Floats32, ids: list[str], cells: int, seed: int) -> BuiltIndex:
    """Cluster and quantize item vectors, float32 [N, d]; rows are sorted by cell, then id."""
    centroids = k_means(vectors, max(1, min(cells, len(vectors))), seed)
    rows, scales = quantize_rows(vectors)
    with Progress("cells", len(vectors)) as bar:
        cell = nearest(vectors, centroids, bar)
    return sort_into_cells(rows, scales, ids, cell, centroids)


def sort_into_cells(
    rows: NDArray[np.int8],
    scales: Floats32,
    ids: list[str],
    cell: NDArray[np.int64],
    centroids: Floats32,
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


def nearest(
    vectors: Floats32, centroids: Floats32, bar: Progress | None = None
) -> NDArray[np.int64]:
    """Return each vector's nearest centroid by Euclidean distance, int64 [N].

    In blocks, to bound memory; `bar` counts vectors.
    """
    half_lengths = (centroids**2).sum(1) / 2
    found = np.empty(len(vectors), np.int64)
    block = max(1, _BLOCK_DISTANCES // len(centroids))
    for at in range(0, len(vectors), block):
        nearness = vectors[at : at + block] @ centroids.T
        nearness -= half_lengths
        found[at : at + block] = np.argmax(nearness, axis=1)
        if bar is not None:
            bar.advance(at + len(nearness))
    return found


def k_means(vectors: Floats32, cells: int, seed: int) -> Floats32:
    """Lloyd's algorithm from k-means++ seeds (Arthur, Vassilvitskii 2007); f32 [cells, d].

    Many vectors are sampled, see `POINTS_A_CELL`.
    """
    if cells == 1:
        centre: Floats32 = vectors.mean(axis=0, keepdims=True).astype(np.float32)
        return centre
    rng = np.random.default_rng(seed)
    sample = max(MIN_SAMPLE, POINTS_A_CELL * cells)
    if len(vectors) > sample:
        vectors = vectors[np.sort(rng.choice(len(vectors), sample, replace=False))]
    with Progress("k-means", cells + _ROUNDS) as bar:
        centroids = _seeds(vectors, cells, rng, bar)
        for done in range(_ROUNDS):
            cell = nearest(vectors, centroids)
            counts = np.bincount(cell, minlength=cells)
            # Row c of this matrix adds up the vectors of cell c.
            ends = np.concatenate([[0], np.cumsum(counts)])
            members = np.argsort(cell, kind="stable")
            ones = np.ones(len(vectors), np.float64)
            sums = csr_matrix((ones, members, ends), shape=(cells, len(vectors))) @ vectors
            moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centroids)
            if np.allclose(moved, centroids):
                break
            centroids = moved.astype(np.float32)
            bar.advance(cells + done + 1)
    return centroids


def _seeds(vectors: Floats32, cells: int, rng: np.random.Generator, bar: Progress) -> Floats32:
    """Draw seeds far from each other, each by its squared distance to those before it.

    Of many vectors and cells several are drawn at a time, as k-means|| does (Bahmani et al. 2012).
    """
    centroids = np.empty((cells, vectors.shape[1]), np.float32)
    centroids[0] = vectors[rng.integers(len(vectors))]
    lengths = (vectors**2).sum(1)
    distance = np.full(len(vectors), np.inf)
    at_a_time = -(-cells * len(vectors) // _SEED_DISTANCES)
    last, done = centroids[:1], 1
    while done < cells:
        apart = lengths[:, None] + (last**2).sum(1) - 2 * (vectors @ last.T)  # [N, drawn]
        distance = np.minimum(distance, np.maximum(apart.min(axis=1), 0.0))
        draw = min(at_a_time, cells - done)
        enough = np.count_nonzero(distance) >= draw
        share = distance / distance.sum() if enough else np.full(len(vectors), 1 / len(vectors))
        drawn = rng.choice(len(vectors), draw, replace=False, p=share)
        last = centroids[done : done + draw] = vectors[drawn]
        done += draw
        bar.advance(done)
    return centroids
