"""Histograms of an arm, in which each number is of no device or of at least k devices.

Neighbouring bins are merged until k devices have a count in them. None stands for a bin that is
counted in the next number. Nothing is left out, so no hidden bin follows from a total.
"""

import numpy as np
import numpy.typing as npt


def merged(rows: npt.NDArray[np.int64], k: int) -> list[int | None]:
    """Add the histograms of devices, and merge the bins of few devices.

    Args:
        rows: int64 [devices, bins], counts of at least 0.
        k: devices that a number must be of.

    Returns:
        A number or None for each bin. All are None if fewer than k devices have any count. A bin
        that no device has is 0, unless bins of few devices beside it are merged through it.

    Example:
        >>> merged(np.array([[2, 0, 1, 0], [1, 0, 0, 0], [3, 0, 1, 0]]), 3)
        [None, None, None, 8]
        >>> merged(np.array([[2, 0, 1, 0], [1, 0, 0, 0], [3, 0, 1, 0]]), 2)
        [6, 0, 2, 0]
    """
    ends: list[tuple[int, int]] = []  # last bin of each range, and its devices
    has = np.zeros(len(rows), dtype=bool)
    for at in range(rows.shape[1]):
        has |= rows[:, at] > 0
        n = int(has.sum())
        if n == 0 or n >= k:
            ends.append((at, n))
            has[:] = False
    if has.any():  # the last bins are of few devices
        while ends and ends[-1][1] == 0:
            ends.pop()
        if not ends:
            return [None] * rows.shape[1]
        ends.pop()
        ends.append((rows.shape[1] - 1, k))
    made: list[int | None] = [None] * rows.shape[1]
    first = 0
    for last, _ in ends:
        made[last] = int(rows[:, first : last + 1].sum())
        first = last + 1
    return made
