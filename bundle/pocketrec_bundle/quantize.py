"""Symmetric int8 rows, the stored form of item vectors and of neighbours' weights."""

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats32

STEPS_PER_OCTAVE = 32
"""Scales are integer powers of 2^(1/32), 2.2% apart, so that a catalogue has few different ones.

256 of them, one byte an item, span 8 octaves; MovieLens' item vectors span 2. The rounding error
grows by 1 to 2% (docs/decisions/0006-compact-item-files.md).
"""
SLACK = 1e-4
"""In steps: a scale at most this far above a power is rounded down to it; values clip at 127."""

_BLOCK = 1 << 16
"""Rows rounded at a time: a million would need several copies of their vectors."""


def quantize_rows(vectors: Floats32) -> tuple[NDArray[np.int8], Floats32]:
    """Quantize each row to symmetric int8 with its own scale; the error is at most scale / 2.

    The scale is the smallest power of 2^(1/32) that keeps the row's largest number within 127
    steps. A row's result depends on that row alone.

    Returns:
        int8 [N, d] and float32 [N].
    """
    rows = np.empty(vectors.shape, np.int8)
    scales = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        part = slice(start, start + _BLOCK)
        largest = np.abs(vectors[part]).max(axis=1) / 127.0
        least = np.where(largest > 0, largest, 1.0).astype(np.float64)
        steps = np.ceil(np.log2(least) * STEPS_PER_OCTAVE - SLACK)
        scales[part] = np.exp2(steps / STEPS_PER_OCTAVE)
        rows[part] = np.clip(np.rint(vectors[part] / scales[part, None]), -127, 127)
    return rows, scales
