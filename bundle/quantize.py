"""Symmetric int8 rows: how item vectors and neighbours' weights travel."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_BLOCK = 1 << 16
"""Rows rounded at a time: a million would need several copies of their vectors."""


def quantize_rows(vectors: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Symmetric int8 with a scale a row: int8 [N, d], float32 [N]; error <= scale / 2."""
    rows = np.empty(vectors.shape, np.int8)
    scales = np.empty(len(vectors), np.float32)
    for at in range(0, len(vectors), _BLOCK):
        part = slice(at, at + _BLOCK)
        largest = np.abs(vectors[part]).max(axis=1) / 127.0
        scales[part] = np.where(largest > 0, largest, 1.0)
        steps = np.rint(vectors[part] / scales[part, None])
        rows[part] = np.clip(steps, -127, 127)
    return rows, scales
