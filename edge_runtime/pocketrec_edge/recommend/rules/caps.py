"""Caps: at most so many items of one kind."""

import numpy as np
from numpy.typing import NDArray


def within_cap(groups: NDArray[np.int64], limit: int) -> NDArray[np.bool_]:
    """Whether each item, in its order, is among the first `limit` of its group, bool [n].

    groups: integer [n]; 0 stands for items without a group, which are never capped.
    """
    by_group = np.argsort(groups, kind="stable")
    ordered = groups[by_group]
    starts = np.searchsorted(ordered, ordered)  # where each one's group begins
    place = np.empty(len(groups), np.int64)
    place[by_group] = np.arange(len(groups)) - starts
    inside: NDArray[np.bool_] = (groups == 0) | (place < limit)
    return inside


def bands(values: NDArray[np.float64], bounds: tuple[float, ...]) -> NDArray[np.int64]:
    """Return the band of each value, 1..len(bounds) + 1; a bound begins a band.

    0 where the value is below 0, which is how an unknown one is stored.
    """
    found = np.searchsorted(np.array(bounds), values, side="right") + 1
    return np.where(values < 0, 0, found)
