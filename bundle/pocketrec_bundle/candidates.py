"""Choose the ranker's candidates: retrieved rows, neighbours of the history, own items.

Training and the device run this one implementation.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.features import FeatureSpec, History, Ints
from pocketrec_bundle.neighbours import Votes
from pocketrec_bundle.ranker_features import recency_counts


def extra_candidates(
    spec: FeatureSpec,
    votes: Votes | None,
    history: History,
    now_utc: int,
    excluded: NDArray[np.bool_],
) -> Ints:
    """Return the rows that become candidates whatever their score, int32 [n], each once.

    First the user's own items with the largest `recent_had`, at most `spec.own_candidates`. Then
    the items with the most votes of the history's neighbours, at most `spec.neighbour_candidates`.
    Ties: the lower row first. FORMAT.md, "Forced rows".

    Args:
        spec: gives both numbers.
        votes: of the history, see `votes_of`; None if the release has no neighbours.
        history: all events.
        now_utc: unix seconds.
        excluded: bool [N], rows that must not be returned. Include the rows of the history if
            items must not repeat.
    """
    own_rows, recency = recency_counts(history.interactions(), now_utc)
    free = ~excluded[own_rows]
    own = _best(own_rows[free], recency[free], spec.own_candidates)
    if votes is None or not spec.neighbour_candidates:
        return own
    eligible = (votes.plain > 0) & ~excluded[votes.rows] & ~np.isin(votes.rows, own)
    near = _best(votes.rows[eligible], votes.plain[eligible], spec.neighbour_candidates)
    return np.concatenate([own, near])


def merged(extra: Ints, retrieved: NDArray[Any], limit: int) -> Ints:
    """Return the forced rows, then retrieved ones (best first) up to `limit`; int32 [<= limit].

    A row in both lists comes once. FORMAT.md, "Forced rows".
    """
    others = retrieved[~np.isin(retrieved, extra)][: max(limit - len(extra), 0)]
    return np.concatenate([extra[:limit], others]).astype(np.int32)


def _best(rows: NDArray[Any], values: NDArray[Any], k: int) -> Ints:
    return rows[np.lexsort((rows, -values))][:k].astype(np.int32)
