"""Surfaces: where in an app a list stands; `scene` in JSON and in `Device.recommend`.

All surfaces share one release, one history and one pipeline.
A surface decides which candidates come in; ranker and rules then work as on the home screen, so a
list of similar items is in this user's order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.neighbours import Neighbours
from pocketrec_bundle.products import inner
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.errors import RequestInvalidError
from pocketrec_edge.faults import Fault, FaultCode
from pocketrec_edge.recommend.index import Index, search

Rows = NDArray[np.int32]

HOME, SIMILAR, AFTER, SEARCH = "home", "similar", "after", "search"
SURFACES = (HOME, SIMILAR, AFTER, SEARCH)
SIMILAR_SHARE = 4
"""One in so many of the nearest items stays: the ranker chooses among those truly alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """One surface of the app.

    Attributes:
        kind: one of `SURFACES`.
        rows: int32 [n]; the item at hand of "similar" and "after" (n = 1), or the app's own
            results of "search".
    """

    kind: str = HOME
    rows: Rows = field(default_factory=lambda: np.zeros(0, np.int32))

    @property
    def item(self) -> int | None:
        """Row of the item at hand."""
        return int(self.rows[0]) if self.kind in (SIMILAR, AFTER) else None

    @property
    def is_closed(self) -> bool:
        """Whether nothing but the surface's own candidates may be shown."""
        return self.kind in (SIMILAR, SEARCH)

    def candidates(
        self,
        index: Index,
        neighbours: Neighbours | None,
        limit: int,
        nprobe: int,
        excluded: NDArray[np.bool_],
    ) -> Rows:
        """Return the surface's own candidates, best first; none at home."""
        if self.kind == SIMILAR:
            return like(index, int(self.rows[0]), limit, nprobe, excluded)
        if self.kind == AFTER and neighbours is not None:
            return following(neighbours, int(self.rows[0]), limit, excluded)
        if self.kind == SEARCH:
            return self.rows[~excluded[self.rows]][:limit]
        return self.rows[:0]


def like(index: Index, row: int, limit: int, nprobe: int, excluded: NDArray[np.bool_]) -> Rows:
    """Return the items most like one, by cosine; a search by inner product brings them.

    At most `limit` are looked at and a `SIMILAR_SHARE`-th of these returned, int32 [n].
    """
    vector = index.vectors(np.array([row], np.int32))[0]
    found, _ = search(index, vector, limit, nprobe, excluded)
    vectors = index.vectors(found)
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)
    order = np.argsort(-(inner(vectors, vector) / lengths), kind="stable")
    return found[order[: -(-limit // SIMILAR_SHARE)]]


def following(neighbours: Neighbours, row: int, limit: int, excluded: NDArray[np.bool_]) -> Rows:
    """Return what is taken after an item, or with it, by the release's neighbours; int32 [n]."""
    weights = neighbours.weights[row].astype(np.int32)
    rows = neighbours.rows[row]
    order = np.argsort(-weights, kind="stable")
    kept = order[(weights[order] > 0) & ~excluded[rows[order]]]
    return np.asarray(rows[kept][:limit], np.int32)


def check(kind: str, item_id: str | None) -> None:
    """Check the arguments that name a surface.

    Raises:
        RequestInvalidError: the scene is unknown, or lacks what it needs.
    """
    if kind not in SURFACES:
        raise RequestInvalidError(f"scene {kind!r:.80} is unknown; there is {', '.join(SURFACES)}.")
    if kind in (SIMILAR, AFTER) and not isinstance(item_id, str):
        raise RequestInvalidError(f"scene {kind!r} needs item_id, the item at hand.")


def find(
    bundle: Bundle, kind: str, item_id: str | None, results: Sequence[str], faults: list[Fault]
) -> Surface:
    """Find the rows of a surface; of an item that is unknown it is the home screen, and a fault.

    Args:
        bundle: the release.
        kind: of `SURFACES`.
        item_id: the item at hand of "similar" and "after".
        results: ids that the app's own search found, best first.
        faults: takes in what went wrong.

    Raises:
        RequestInvalidError: see `check`.
    """
    check(kind, item_id)
    if kind == HOME:
        return Surface()
    if kind == SEARCH:
        found = np.array([bundle.row_of(one) for one in dict.fromkeys(results)], np.int32)
        return Surface(kind=kind, rows=found[found >= 0])
    row = bundle.row_of(str(item_id))
    if row < 0:
        text = f"item {item_id!r} is not in the release: these are for the home screen"
        faults.append(Fault(FaultCode.UNKNOWN_ITEM, text))
        return Surface()
    return Surface(kind=kind, rows=np.array([row], np.int32))
