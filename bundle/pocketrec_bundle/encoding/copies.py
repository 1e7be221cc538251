"""Find the parts that a new file shares with an old one, as steps: new bytes, then a copy.

After a difference, the search first continues at the same distance between the files (a replaced
row, a changed price). If it finds nothing soon, hashes of 16-byte blocks find parts that moved.
Time is linear in the bytes that differ, except for files that repeat themselves.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Step = tuple[int, int, int]
STEP_BYTES = 12

BLOCK = 16
"""Minimum bytes of a copy; old blocks are hashed at multiples of it."""
_NEAR = 1 << 12
"""Bytes that the search at the same distance looks ahead."""
_SHORT = 256
_WINDOW = 1 << 16
_PRIME = np.uint64(0x9E3779B97F4A7C15)


def steps(old: Bytes, new: Bytes) -> Iterator[Step]:
    """Yield steps (new bytes, then old bytes, jump in the old file) whose sum is the new file."""
    blocks = _Blocks(old, new)
    at = written = expected = 0
    start = 0
    while at < len(new):
        length = _equal(old, start, new, at) if start < len(old) else 0
        if length < BLOCK:
            near = _near(old, start, new, at)
            # A near end of a long gap may hide that the gap itself is there elsewhere.
            far = None if near and near[0] - at <= _SHORT else blocks.next_match(at)
            match = min(filter(None, (near, far)), default=None)
            if match is None:
                break
            at, start = match
            length = _equal(old, start, new, at)
        back = _equal_before(old, start, new, at, at - written)
        at, start, length = at - back, start - back, length + back
        yield at - written, length, start - expected
        at, start = at + length, start + length
        written, expected = at, start
    if written < len(new):
        yield len(new) - written, 0, 0


class _Blocks:
    """The position of each block of the old file, by its hash."""

    def __init__(self, old: Bytes, new: Bytes) -> None:
        self._old, self._new = old, new
        n = len(old) // BLOCK
        hashes = np.empty(n, np.uint64)
        for at in range(0, n, _WINDOW):
            part = old[at * BLOCK : min(at + _WINDOW, n) * BLOCK].view(np.uint64).reshape(-1, 2)
            hashes[at : at + len(part)] = _mixed(part[:, 0], part[:, 1])
        order = np.argsort(hashes, kind="stable").astype(np.uint32)
        hashes = hashes[order]
        first = np.ones(n, bool)
        np.not_equal(hashes[1:], hashes[:-1], out=first[1:])
        self._hashes, self._places = hashes[first], order[first]
        self._window, self._found = -1, np.zeros((0, 2), np.int64)

    def next_match(self, at: int) -> tuple[int, int] | None:
        """Return the next position in the new file, from `at`, of a block that the old file has.

        Returns:
            The positions in the new and in the old file; None: no block matches.
        """
        while at + BLOCK <= len(self._new) and len(self._hashes):
            window = at // _WINDOW
            if window != self._window:
                self._window, self._found = window, self._search(window * _WINDOW)
            row = int(np.searchsorted(self._found[:, 0], at))
            if row < len(self._found):
                place, start = self._found[row].tolist()
                return place, start
            at = (window + 1) * _WINDOW
        return None

    def _search(self, begin: int) -> NDArray[np.int64]:
        """Return matches in a window, int64 [matches, 2]: positions in the new and old file."""
        part = self._new[begin : begin + _WINDOW + BLOCK - 1]
        eights = np.lib.stride_tricks.sliding_window_view(part, 8)
        words = np.ascontiguousarray(eights).view(np.uint64)[:, 0]
        hashes = _mixed(words[:-8], words[8:])
        at = np.searchsorted(self._hashes, hashes)
        at[at == len(self._hashes)] = 0
        hits = np.flatnonzero(self._hashes[at] == hashes)
        starts = self._places[at[hits]].astype(np.int64) * BLOCK
        real = np.ones(len(hits), bool)
        for k in range(BLOCK):  # equal hashes are not equal bytes
            real &= part[hits + k] == self._old[starts + k]
        return np.stack([hits + begin, starts], axis=1)[real]


def _mixed(one: NDArray[np.uint64], two: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed: NDArray[np.uint64] = (one ^ (one >> np.uint64(29))) * _PRIME + two
    mixed = (mixed ^ (mixed >> np.uint64(32))) * _PRIME
    return mixed ^ (mixed >> np.uint64(29))


def _equal(old: Bytes, start: int, new: Bytes, at: int) -> int:
    """Count equal bytes from two positions on, in parts of growing size."""
    most, done, part = min(len(old) - start, len(new) - at), 0, 64
    while done < most:
        n = min(part, most - done)
        differs = old[start + done : start + done + n] != new[at + done : at + done + n]
        first = int(differs.argmax())
        if differs[first]:
            return done + first
        done, part = done + n, min(part * 4, 1 << 20)
    return most


def _equal_before(old: Bytes, start: int, new: Bytes, at: int, most: int) -> int:
    """Count equal bytes before two positions, at most `most`."""
    most = min(most, start)
    differs = np.flatnonzero(old[start - most : start] != new[at - most : at])
    return most - int(differs[-1]) - 1 if len(differs) else most


def _near(old: Bytes, start: int, new: Bytes, at: int) -> tuple[int, int] | None:
    """Return where the next two blocks of equal bytes begin at the same distance, if near."""
    n = min(_NEAR, len(old) - start, len(new) - at)
    if n < 2 * BLOCK:
        return None
    differs = np.flatnonzero(old[start : start + n] != new[at : at + n])
    bounds = np.concatenate([[-1], differs, [n]])
    long = np.flatnonzero(np.diff(bounds) > 2 * BLOCK)
    if not len(long):
        return None
    skip = int(bounds[long[0]]) + 1
    return at + skip, start + skip
