"""Rules that take candidates out for good: a floor of relevance, and near duplicates."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats32, Floats64
from pocketrec_bundle.products import inner_pairs

Positions = NDArray[np.int64]
_BLOCK = 64
"""Candidates compared with each other at a time, and with those kept before: n * n / 2 cosines."""


def above_floor(values: Floats64, floor: float) -> Positions:
    """Return the positions whose relevance is at least the floor, in their order."""
    return np.flatnonzero(values >= floor)


def distinct(
    units: Floats32,
    cosine: float,
    titles: Sequence[str] = (),
    shown_units: Floats32 | None = None,
    shown_titles: Sequence[str] = (),
) -> Positions:
    """Return the positions that are no near duplicate of one kept before, in their order.

    Args:
        units: float32 [n, d], vectors of length 1, best first.
        cosine: two vectors at or above it are near duplicates.
        titles: of all n, as `same_words` gives them, or none; equal ones are duplicates, "" never.
        shown_units: float32 [m, d], of what earlier pages showed.
        shown_titles: of the same.
    """
    n = len(units)
    gone = np.zeros(n, np.bool_)
    codes = np.full(n, -1, np.int64)
    if titles:
        codes = _codes(titles)
        gone |= np.isin(titles, [title for title in shown_titles if title])
    before = units[:0] if shown_units is None else shown_units  # what nothing may be like
    for start in range(0, n, _BLOCK):
        at = slice(start, min(start + _BLOCK, n))
        own, own_codes, out = units[at], codes[at], gone[at]  # views
        near = np.tril(inner_pairs(own, own) >= cosine, -1)  # of each, the ones before it
        near |= np.tril((own_codes[:, None] == own_codes) & (own_codes >= 0), -1)
        out |= (inner_pairs(own, before) >= cosine).any(axis=1)
        kept_codes = codes[:start][~gone[:start]]
        out |= np.isin(own_codes, kept_codes[kept_codes >= 0])
        for position in np.flatnonzero(near.any(axis=1)):
            out[position] |= (near[position] & ~out).any()
        before = np.concatenate([before, own[~out]])
    return np.flatnonzero(~gone)


def _codes(titles: Sequence[str]) -> Positions:
    """A number for each different title, -1 for ""."""
    seen: dict[str, int] = {"": -1}
    return np.array([seen.setdefault(title, len(seen)) for title in titles], np.int64)
