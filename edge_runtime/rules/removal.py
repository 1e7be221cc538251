"""Rules that take candidates out for good: a floor of relevance, and near duplicates."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_runtime.rules.relevance import Doubles

Floats = NDArray[np.float32]
Positions = NDArray[np.int64]


def above_floor(values: Doubles, floor: float) -> Positions:
    """Return the positions whose relevance is at least the floor, in their order."""
    return np.flatnonzero(values >= floor)


def distinct(
    units: Floats,
    cosine: float,
    titles: Sequence[str] = (),
    shown_units: Floats | None = None,
    shown_titles: Sequence[str] = (),
) -> Positions:
    """Return the positions that are no near duplicate of one kept before, in their order.

    Args:
        units: float32 [n, d], vectors of length 1, best first; one product of all pairs is made.
        cosine: two vectors at or above it are near duplicates.
        titles: of all n, as `same_words` gives them, or none; equal ones are duplicates, "" never.
        shown_units: float32 [m, d], of what earlier pages showed.
        shown_titles: of the same.
    """
    near = units @ units.T >= cosine  # [n, n]
    gone = np.zeros(len(units), np.bool_)
    if shown_units is not None and len(shown_units):
        gone |= (units @ shown_units.T >= cosine).any(axis=1)
    if titles:
        codes = _codes(titles)
        near |= (codes[:, None] == codes) & (codes >= 0)
        gone |= np.isin(titles, [title for title in shown_titles if title])
    near = np.tril(near, -1)  # of each, the ones before it
    for position in np.flatnonzero(near.any(axis=1)):
        gone[position] |= (near[position] & ~gone).any()
    return np.flatnonzero(~gone)


def _codes(titles: Sequence[str]) -> Positions:
    """A number for each different title, -1 for ""."""
    seen: dict[str, int] = {"": -1}
    return np.array([seen.setdefault(title, len(seen)) for title in titles], np.int64)
