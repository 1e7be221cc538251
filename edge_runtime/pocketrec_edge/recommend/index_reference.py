"""Retrieval in its plainest form, one row at a time; `index.py` is tested against it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_edge.recommend.index import Index


def exact(index: Index, query: NDArray[np.float32], k: int, excluded: NDArray[Any]) -> list[int]:
    """Return the k best rows of the whole catalogue, best first, ties by lower row."""
    scored = []
    for row in range(len(index.rows)):
        if not excluded[row]:
            total = sum(float(a) * float(b) for a, b in zip(index.rows[row], query, strict=True))
            scored.append((-total * float(index.scales[row]), row))
    return [row for _, row in sorted(scored)[:k]]
