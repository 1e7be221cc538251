"""Item neighbours: for each item, a few others that its users interact with, and weights.

A sparse item-by-item matrix of a linear model (`pocketrec_training.neighbours`), small enough to
travel: it remembers which item follows which one, which two vectors of d numbers cannot hold.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.sparse_rows import values_at
from pocketrec_bundle.features import FeatureSpec, History, used_rows
from pocketrec_bundle.floats import Floats64
from pocketrec_bundle.reader import Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """Votes of a history's items for their neighbours; all other rows have 0.

    Attributes:
        rows: integer [m], rising, each once.
        plain: float64 [m]; each distinct item of the history votes once, with its weights.
        recent: float64 [m]; each event votes, its weights times `decay ^ (events after it)`.
    """

    rows: NDArray[Any]
    plain: Floats64
    recent: Floats64

    def at(self, rows: NDArray[Any]) -> tuple[Floats64, Floats64]:
        """Return the plain and the recent votes for some rows, integer [n]; float64 [n] each."""
        return values_at(self.rows, self.plain, rows), values_at(self.rows, self.recent, rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """Q neighbours of each item; neighbour j of item i weighs weights[i, j] * scales[i].

    Attributes:
        rows: integer [N, Q], item rows.
        weights: int8 [N, Q].
        scales: float32 [N].
    """

    rows: NDArray[Any]
    weights: NDArray[np.int8]
    scales: NDArray[np.float32]

    @classmethod
    def of(cls, bundle: Bundle) -> "Neighbours | None":
        """Open the neighbours of a release, memory-mapped; None if it has no neighbours."""
        if not bundle.spec.neighbours:
            return None
        return cls(
            rows=np.asarray(bundle.array("items/neighbours")),
            weights=np.asarray(bundle.array("items/neighbour_weights")),
            scales=np.asarray(bundle.array("items/neighbour_scales")),
        )

    def votes(self, history_rows: NDArray[Any], decay: float) -> "Votes":
        """Add up the neighbours of a history's items; costs about n * Q, independent of N.

        Weights are added in the order of rising item rows, so the sums equal those over an array
        of N bit by bit.

        Args:
            history_rows: integer [n], oldest first.
            decay: 0..1.
        """
        items, item_of_event = np.unique(history_rows[::-1], return_inverse=True)
        fading = np.power(decay, np.arange(len(item_of_event), dtype=np.float64))
        recent = _sums(item_of_event, fading, len(items))  # [items]
        weights = self.weights[items] * self.scales[items][:, None].astype(np.float64)
        rows, row_of_weight = np.unique(self.rows[items], return_inverse=True)
        return Votes(
            rows=rows,
            plain=_sums(row_of_weight, weights, len(rows)),
            recent=_sums(row_of_weight, weights * recent[:, None], len(rows)),
        )

    def __len__(self) -> int:
        return len(self.rows)

    def reordered(self, order: NDArray[np.int64]) -> "Neighbours":
        """Return the neighbours in another row order.

        Args:
            order: int64 [N], the old row of each new row.
        """
        new_row = np.argsort(order).astype(self.rows.dtype)
        return Neighbours(
            rows=new_row[self.rows[order]],
            weights=self.weights[order],
            scales=self.scales[order],
        )

    def kept(self, keep: NDArray[np.bool_]) -> "Neighbours":
        """Return the neighbours of some items; a removed neighbour weighs 0 and points to row 0.

        Args:
            keep: bool [N], at least one of them true.
        """
        new_row = (np.cumsum(keep) - 1).astype(self.rows.dtype)
        rows = self.rows[keep]
        here = keep[rows]
        return Neighbours(
            rows=np.where(here, new_row[rows], 0).astype(self.rows.dtype),
            weights=np.where(here, self.weights[keep], 0).astype(np.int8),
            scales=self.scales[keep],
        )

    def extended(self, n: int) -> "Neighbours":
        """Return the neighbours with `n` more items, which have no neighbours yet."""
        k = self.rows.shape[1]
        return Neighbours(
            rows=np.concatenate([self.rows, np.zeros((n, k), self.rows.dtype)]),
            weights=np.concatenate([self.weights, np.zeros((n, k), np.int8)]),
            scales=np.concatenate([self.scales, np.ones(n, np.float32)]),
        )


def votes_of(neighbours: Neighbours | None, spec: FeatureSpec, history: History) -> Votes | None:
    """Return the votes of the last `max_history` events; None if there are no neighbours."""
    if neighbours is None:
        return None
    return neighbours.votes(used_rows(spec, history), spec.neighbour_decay)


def _sums(places: NDArray[Any], values: Floats64, n: int) -> Floats64:
    """Add up the values that share a place 0..n-1, float64 [n]."""
    return np.bincount(places.ravel(), values.ravel(), n).astype(np.float64)
