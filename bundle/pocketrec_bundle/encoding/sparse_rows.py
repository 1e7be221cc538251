"""Numbers that few of the rows of a release have: rising row numbers, and a value for each."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def values_at(
    known: NDArray[Any], values: NDArray[Any], rows: NDArray[Any], otherwise: float = 0
) -> NDArray[Any]:
    """Return the value of each of some rows, [n]; `otherwise` for a row that is not known.

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
