"""How relevant each candidate is, 0..1, whatever scores the ranker or retrieval gave."""

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats64

YEAR_S = 31_556_952
"""The mean Gregorian year."""
EPOCH = 1970


def relevance(scores: NDArray[np.float32]) -> Floats64:
    """Scale scores [n] so that the best is 1 and the least 0; all 1 where they are equal."""
    values = scores.astype(np.float64)
    if not len(values) or np.ptp(values) == 0:
        return np.ones(len(values))
    scaled: Floats64 = (values - values.min()) / np.ptp(values)
    return scaled


def freshened(
    values: Floats64, years: Floats64, now_utc: int, half_life_years: float, weight: float
) -> Floats64:
    """Mix relevance with newness: (1 - weight) * relevance + weight * 0.5 ^ (age / half-life).

    Args:
        values: [n], 0..1.
        years: [n], the year of each item; below 0: unknown, which counts as old.
        now_utc: unix seconds; items dated after it count as new.
        half_life_years: an item so old is half as new.
        weight: of newness, 0..1.
    """
    age = np.maximum(EPOCH + now_utc / YEAR_S - years, 0.0)
    newness = np.where(years < 0, 0.0, 0.5 ** (age / half_life_years))
    return (1 - weight) * values + weight * newness
