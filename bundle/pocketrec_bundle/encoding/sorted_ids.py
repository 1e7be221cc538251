"""Sorted item ids, front-coded: each id is stored as its difference from the previous one.

An id that shares no letters starts a block. Writers also start a block where a hash of the id says
so; a new id then changes its own block only. To find an id, search the blocks' first ids by
bisection, then walk through one block. FORMAT.md, "Ids".
"""

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.array_checks import begins_letter, expect_utf8
from pocketrec_bundle.encoding.columns import Column, numbers_at
from pocketrec_bundle.errors import BundleInvalidError, InputError

MAX_SHARED = 255
"""Maximum letters (code points) that an id shares; bounds the size that a file expands to."""
MAX_BLOCK = 128
"""Maximum ids in a block; bounds the walk."""
MAX_ADDED_BYTES = (1 << 16) - 1

_MEAN_BLOCK = 32
_PART = 1 << 13


def front_coded(ids: list[str]) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Encode ids, which are sorted and distinct.

    Returns:
        uint16 [N, 2]: letters that an id shares with the previous one, bytes of UTF-8 that it adds;
        uint8: the added bytes.

    Raises:
        InputError: an id is too long.
    """
    shared = _shared_letters(ids)
    hashes = np.fromiter((zlib.crc32(one.encode()) for one in ids), np.uint32, len(ids))
    shared[hashes % _MEAN_BLOCK == 0] = 0
    heads = np.append(np.flatnonzero(shared == 0), len(ids))
    for head in np.flatnonzero(np.diff(heads) > MAX_BLOCK):
        shared[heads[head] : heads[head + 1] : MAX_BLOCK] = 0
    parts = [one[n:].encode() for one, n in zip(ids, shared.tolist(), strict=True)]
    added = np.fromiter(map(len, parts), np.int64, len(parts))
    if added.max(initial=0) > MAX_ADDED_BYTES:
        raise InputError(f"an item id exceeds {MAX_ADDED_BYTES} bytes. Shorten it.")
    data = np.frombuffer(b"".join(parts), np.uint8)
    return np.stack([shared, added], axis=1).astype(np.uint16), data


def _shared_letters(ids: list[str]) -> NDArray[np.int64]:
    """Return the letters each id shares with the previous one, int64 [N], at most `MAX_SHARED`."""
    shared = np.zeros(len(ids), np.int64)
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    for start in range(0, len(ids), _PART):  # a part with the id before it
        first = max(0, start - 1)
        part = np.array([one[:MAX_SHARED] for one in ids[first : start + _PART]])
        letters = part.view(np.uint32).reshape(len(part), -1)  # filled up with zeros
        differ = np.pad(letters[1:] != letters[:-1], ((0, 0), (0, 1)), constant_values=True)
        length = lengths[first : first + len(part)]
        shortest = np.minimum(length[1:], length[:-1])
        shared[first + 1 : first + len(part)] = np.minimum(differ.argmax(axis=1), shortest)
    return shared


class SortedIds:
    """Ids by rank, their place in sorted order; decoded on demand."""

    def __init__(self, name: str, shapes: Column, data: NDArray[np.uint8]) -> None:
        """Check all ids without decoding them.

        Args:
            name: of the ids, for messages.
            shapes: integers [N, 2], see `front_coded`.
            data: the added bytes.

        Raises:
            BundleInvalidError: an id shares more than the previous one has, a block is too long,
                or the texts are not UTF-8 or have the wrong length.
        """
        self._shapes, self._data = shapes, data
        shared, added = (numbers_at(shapes, place) for place in (0, 1))
        heads = np.flatnonzero(shared == 0)
        gaps = np.diff(heads, append=len(shared))
        if len(shared) and (not len(heads) or heads[0] or gaps.max() > MAX_BLOCK):
            raise BundleInvalidError(
                f"{name}: a block has no first id, or more than {MAX_BLOCK} ids", code="id_blocks"
            )
        if shared.max(initial=0) > MAX_SHARED:
            raise BundleInvalidError(
                f"{name}: an id shares more than {MAX_SHARED} letters", code="id_shared"
            )
        if int(added.sum(dtype=np.int64)) != len(data):
            raise BundleInvalidError(
                f"{name}: ids of {added.sum(dtype=np.int64)} bytes in {len(data)}", code="id_bytes"
            )
        letters = _letters(name, data, added)
        if (shared[1:] > shared[:-1] + letters[:-1]).any():
            raise BundleInvalidError(
                f"{name}: an id shares more than the one before it has", code="id_shared"
            )
        self._heads = np.append(heads, len(shared)).astype(np.int32)  # [blocks + 1]
        # A block of 128 times 65,535 bytes fits int32.
        sizes = np.add.reduceat(added, heads) if len(heads) else heads
        self._starts = np.concatenate(
            [[0], np.cumsum(sizes, dtype=np.int64)]
        )  # [blocks + 1], bytes
        self._stops = self._starts[:-1] + added[heads]  # of the first ids

    def __len__(self) -> int:
        return len(self._shapes)

    def at(self, rank: int) -> str:
        """Return the id of a rank 0..N-1."""
        block = int(np.searchsorted(self._heads, rank, "right")) - 1
        return self._block(block, rank + 1)[-1]

    def rank_of(self, item_id: str) -> int:
        """Return the rank of an id, or -1. Code points sort like their UTF-8 bytes."""
        low, high = 0, len(self._stops)
        while low < high:
            middle = (low + high) // 2
            if self._text(int(self._starts[middle]), int(self._stops[middle])) <= item_id:
                low = middle + 1
            else:
                high = middle
        ids = self._block(low - 1) if low else []
        return int(self._heads[low - 1]) + ids.index(item_id) if item_id in ids else -1

    def all(self) -> list[str]:
        """Return all ids, sorted."""
        return [one for block in range(len(self._stops)) for one in self._block(block)]

    def _text(self, start: int, stop: int) -> str:
        return self._data[start:stop].tobytes().decode()

    def _block(self, block: int, end: int | None = None) -> list[str]:
        """Return a block's ids, up to rank `end` - 1."""
        first, last = int(self._heads[block]), int(self._heads[block + 1])
        data = self._data[int(self._starts[block]) : int(self._starts[block + 1])].tobytes()
        ids, text, start = [], "", 0
        for shared, added in self._shapes[first : last if end is None else end].tolist():
            text = text[:shared] + data[start : start + added].decode()
            start += added
            ids.append(text)
        return ids


def _letters(name: str, data: NDArray[np.uint8], added: NDArray[Any]) -> NDArray[Any]:
    """Check that all added texts are UTF-8, and return the letters of each, [N]."""
    if data.max(initial=0) < 0x80:
        return added
    starts = np.cumsum(added, dtype=np.int64) - added
    expect_utf8(name, data, starts)
    some = np.flatnonzero(added)  # reduceat takes an empty part for its first element
    letters = np.zeros(len(added), np.int32)
    letters[some] = np.add.reduceat(begins_letter(data), starts[some], dtype=np.int32)
    return letters
