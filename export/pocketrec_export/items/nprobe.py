"""How many cells a search must read: the fewest that find a stated share of the best items."""

from dataclasses import dataclass

import numpy as np

from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.products import inner
from pocketrec_export.items.index_builder import BuiltIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """Cells to read, and the share of the best items that lie in them; 0 cells are all."""

    probes: int
    recall: float


def choose_probes(
    index: BuiltIndex, vectors: Floats32, users: Floats32, k: int, recall: float
) -> Probes:
    """Return the fewest cells in which, on average, that share of a user's k best items lies.

    Recall as in Jegou et al. 2011, by where the items lie: what int8 rounding exchanges at the end
    of the list is not counted, nor that a search reads on until k items survive its filters.

    Args:
        index: its cells.
        vectors: float32 [N, d] of the items, canonical order, never rounded.
        users: float32 [u, d], vectors of real users.
        k: items wanted.
        recall: 0..1; 0 reads all cells.
    """
    cells = len(index.centroids)
    if cells == 1 or not recall or not len(users):
        return Probes(probes=0, recall=1.0)
    k = min(k, len(vectors))
    cell = np.empty(len(vectors), np.int64)
    cell[index.order] = np.repeat(np.arange(cells), np.diff(index.offsets))
    found = np.zeros(cells)  # best items in the i-th cell that a search reads
    for user in users:
        best = np.argpartition(-inner(vectors, user), k - 1)[:k]
        read = np.argsort(-inner(index.centroids, user), kind="stable")
        place = np.empty(cells, np.int64)
        place[read] = np.arange(cells)
        found += np.bincount(place[cell[best]], minlength=cells)
    shares = np.cumsum(found) / found.sum()
    least = int(np.argmax(shares >= recall - 1e-12)) + 1
    return Probes(probes=least if least < cells else 0, recall=float(shares[least - 1]))
