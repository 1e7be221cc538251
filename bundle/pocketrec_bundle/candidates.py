"""Which items the ranker gets: retrieval's, the history's neighbours and what the user had.

One implementation, which training and the device both run.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.features import FeatureSpec, History, Ints
from pocketrec_bundle.neighbours import Votes
from pocketrec_bundle.ranker_features import had_before


def extra_candidates(
    spec: FeatureSpec,
    votes: Votes | None,
    history: History,
    now_utc: int,
    excluded: NDArray[np.bool_],
) -> Ints:
    """Return rows that the ranker must get whatever retrieval says, int32 [n], each once.

    First the user's own items, most often and most recently had first, at most
    `spec.own_candidates`; then the items with the most votes of the history's neighbours, at most
    `spec.neighbour_candidates`. Ties: lower row first.

    Args:
        spec: how many.
        votes: of the history, see `votes_of`; None without neighbours.
        history: all events.
        now_utc: unix seconds.
        excluded: bool [N], rows that must not be returned; with the history's own in it nothing is
            offered again.
    """
    had, recent = had_before(history.had(), now_utc)
    free = ~excluded[had]
    own = _best(had[free], recent[free], spec.own_candidates)
    if votes is None or not spec.neighbour_candidates:
        return own
    chosen = (votes.plain > 0) & ~excluded[votes.rows] & ~np.isin(votes.rows, own)
    near = _best(votes.rows[chosen], votes.plain[chosen], spec.neighbour_candidates)
    return np.concatenate([own, near])


def merged(extra: Ints, retrieved: NDArray[Any], limit: int) -> Ints:
    """Put `extra` in the place of the last of the retrieved rows (best first); int32 [<= limit]."""
    others = retrieved[~np.isin(retrieved, extra)][: max(limit - len(extra), 0)]
    return np.concatenate([extra[:limit], others]).astype(np.int32)


def _best(rows: NDArray[Any], values: NDArray[Any], k: int) -> Ints:
    return rows[np.lexsort((rows, -values))][:k].astype(np.int32)
