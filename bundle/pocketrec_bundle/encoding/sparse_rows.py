"""Sparse vectors over the rows of a release: rising row numbers and their values."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def values_at(
    known: NDArray[Any], values: NDArray[Any], rows: NDArray[Any], otherwise: float = 0
) -> NDArray[Any]:
    """Return the values of some rows, [n]; `otherwise` for rows that are not in `known`.

    Args:
        known: integer [m], rising, each once.
        values: [m], of the known rows.
        rows: integer [n], in any order.
        otherwise: value of all other rows.
    """
    if not len(known):
        return np.full(len(rows), otherwise, values.dtype)
    place = np.minimum(np.searchsorted(known, rows), len(known) - 1)
    return np.where(known[place] == rows, values[place], otherwise)
