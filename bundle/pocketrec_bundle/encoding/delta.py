"""Deltas: the difference between two versions of a file (needs only numpy and liblzma).

A delta is an xz stream. FORMAT.md, "Deltas", has an example. Its content, by form:

    copy        u32 n, then n steps, then all new bytes. A step takes new bytes, then copies bytes
                of the old file, from where the previous step ended plus a jump. Steps are three
                int32 arrays (new, old, jump), each stored as planes of its four bytes.
    difference  one byte for each byte of the file: new minus old, modulo 256; equal sizes only.

Copies suit files whose parts are unchanged or moved. Differences suit int8 rows that all change a
little. The caller knows the size and hash of the result, and checks the hash.
"""

import lzma
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.arrays import HEADER_BYTES, parse_header
from pocketrec_bundle.encoding.copies import STEP_BYTES, steps
from pocketrec_bundle.errors import BundleInvalidError

COPY, DIFFERENCE = "copy", "difference"
FORMS = (COPY, DIFFERENCE)
MAX_BYTES = 256 << 20
"""Larger files have no deltas. Measured memory: making a delta takes 94 MiB (xz) and up to 3 bytes
for each byte of the new file; applying it takes up to 3 bytes for each. So both need less than
1 GiB, plus the files themselves where they are mapped."""

Filters = list[dict[str, int]]
_PART = 1 << 20
_DECODER_BYTES = 12 << 20  # what xz needs at the preset that is written, with a 8 MiB dictionary
_MATCHING: Filters = [{"id": lzma.FILTER_LZMA2, "preset": 6}]
# Differences repeat nothing but are few values: about as small as preset 6, in a tenth of its time.
_COUNTING: Filters = [
    {
        "id": lzma.FILTER_LZMA2,
        "mode": lzma.MODE_NORMAL,
        "mf": lzma.MF_HC3,
        "depth": 1,
        "nice_len": 16,
        "dict_size": 1 << 16,
        "lc": 0,
        "lp": 0,
        "pb": 0,
    }
]

Bytes = NDArray[np.uint8]
Buffer = bytes | memoryview


def make_delta(old: Buffer, new: Buffer) -> tuple[str, bytes]:
    """Make the smallest delta of all forms; equal files give equal bytes.

    Args:
        old: the file on the device, at most `MAX_BYTES`.
        new: the file it needs, at most `MAX_BYTES`.

    Returns:
        The form, and the delta.

    Raises:
        ValueError: a file is too large.
    """
    if max(len(old), len(new)) > MAX_BYTES:
        raise ValueError(f"a file of {max(len(old), len(new))} bytes; deltas go to {MAX_BYTES}")
    before, after = np.frombuffer(old, np.uint8), np.frombuffer(new, np.uint8)
    parts = list(_copy_parts(before, after))
    if not (_is_int8(after) and before[:HEADER_BYTES].tobytes() == after[:HEADER_BYTES].tobytes()):
        return COPY, _packed(parts, _MATCHING)
    differences = (
        (after[start : start + _PART] - before[start : start + _PART]).tobytes()
        for start in range(0, len(after), _PART)
    )
    moved = DIFFERENCE, _packed(differences, _COUNTING)
    if sum(map(len, parts)) > len(new) / 2:  # int8 rows do not compress: it would be no smaller
        return moved
    copied = COPY, _packed(parts, _MATCHING)
    return min(copied, moved, key=lambda each: len(each[1]))


def apply_delta(form: str, delta: bytes, old: Buffer, size: int) -> bytearray:
    """Make the new file from the old one; every number in the delta is checked.

    Args:
        form: one of `FORMS`.
        delta: its bytes.
        old: the old file.
        size: bytes of the result, from the manifest; bounds the memory used.

    Returns:
        `size` bytes; the caller must check their hash.

    Raises:
        BundleInvalidError: the delta is damaged, does not fit the old file, or gives another size.
    """
    if not 0 <= size <= MAX_BYTES:
        raise BundleInvalidError(f"delta: a file of {size} bytes has none", code="delta")
    before = np.frombuffer(old, np.uint8)
    if form == DIFFERENCE:
        if len(before) != size:
            raise BundleInvalidError(
                f"delta: the old file has {len(before)} bytes, not {size}", code="delta"
            )
        moved = np.frombuffer(_unpacked(delta, size), np.uint8)
        if len(moved) != size:
            raise BundleInvalidError(f"delta: {len(moved)} bytes of {size}", code="delta")
        return bytearray(moved + before)
    if form == COPY:
        return _copied(_unpacked(delta, 4 + _most_steps(size) * STEP_BYTES + size), before, size)
    raise BundleInvalidError(f"delta: unknown form {form!r}", code="delta")


def _is_int8(data: Bytes) -> bool:
    head = data[:HEADER_BYTES].tobytes()
    try:
        dtype, _ = parse_header("", head, len(data), MAX_BYTES)
    except BundleInvalidError:
        return False
    return dtype == np.int8


def _copy_parts(old: Bytes, new: Bytes) -> Iterator[bytes]:
    """Yield the content of a delta of the form "copy"."""
    table = np.fromiter(chain.from_iterable(steps(old, new)), "<i4").reshape(-1, 3)
    yield np.uint32(len(table)).astype("<u4").tobytes()
    planes = np.ascontiguousarray(table.T).view(np.uint8).reshape(3, len(table), 4)
    yield planes.transpose(0, 2, 1).tobytes()
    position = 0
    for fresh, kept, _ in table.tolist():
        yield new[position : position + fresh].tobytes()
        position += fresh + kept


def _most_steps(size: int) -> int:
    """Return the maximum number of steps: every step but the last copies at least 16 bytes."""
    return size // 16 + 1


def _copied(content: bytes, old: Bytes, size: int) -> bytearray:
    n = int.from_bytes(content[:4], "little")
    end = 4 + n * STEP_BYTES
    if n > _most_steps(size) or len(content) < end:
        raise BundleInvalidError(f"delta: {len(content)} bytes do not hold {n} steps", code="delta")
    planes = np.frombuffer(content, np.uint8, n * STEP_BYTES, 4).reshape(3, 4, n)
    table = np.ascontiguousarray(planes.transpose(0, 2, 1)).view("<i4").reshape(3, n)
    fresh, kept, jump = table.astype(np.int64)
    starts = np.cumsum(jump + kept) - kept
    fits = not n or min(fresh.min(), kept.min(), starts.min()) >= 0
    if not fits or (starts + kept).max(initial=0) > len(old):
        raise BundleInvalidError("delta: it copies what the old file does not have", code="delta")
    if fresh.sum() + kept.sum() != size or fresh.sum() != len(content) - end:
        raise BundleInvalidError(f"delta: it does not give {size} bytes", code="delta")
    made, source, base = bytearray(size), memoryview(content), old.data
    to, taken = 0, end
    for n_new, n_old, start in zip(fresh.tolist(), kept.tolist(), starts.tolist(), strict=True):
        made[to : to + n_new] = source[taken : taken + n_new]
        to, taken = to + n_new, taken + n_new
        made[to : to + n_old] = base[start : start + n_old]
        to += n_old
    return made


def _packed(parts: Iterable[bytes], filters: Filters) -> bytes:
    packer = lzma.LZMACompressor(check=lzma.CHECK_NONE, filters=filters)
    packed = [packer.compress(part) for part in parts]
    return b"".join([*packed, packer.flush()])


def _unpacked(data: bytes, most: int) -> bytes:
    """Unpack at most `most` bytes; a decompression bomb is refused once it exceeds them."""
    reader: Any = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_DECODER_BYTES)
    try:
        content: bytes = reader.decompress(data, max_length=most + 1)
    except (lzma.LZMAError, MemoryError) as err:
        raise BundleInvalidError(f"delta: damaged ({err})", code="delta") from err
    if len(content) > most:
        raise BundleInvalidError(f"delta: it holds more than {most} bytes", code="delta")
    if not reader.eof or reader.unused_data:
        raise BundleInvalidError("delta: cut short, or too long", code="delta")
    return content
