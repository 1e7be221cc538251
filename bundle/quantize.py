"""Symmetric int8 rows: how item vectors and neighbours' weights travel."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def quantize_rows(vectors: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Symmetric int8 with a scale a row: int8 [N, d], float32 [N]; error <= scale / 2."""
    scales = np.abs(vectors).max(axis=1) / 127.0
    scales = np.where(scales > 0, scales, 1.0).astype(np.float32)
    rows = np.clip(np.rint(vectors / scales[:, None]), -127, 127).astype(np.int8)
    return rows, scales
