"""Bit records: small unsigned integers of each row side by side, padded to whole bytes.

Bit 0 is the lowest bit of byte 0; the low bits of a field come first. Rows begin at bytes, so a row
that is inserted or removed leaves the bytes of all others as they are, and a delta stays small.
FORMAT.md, "Feature records".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.arrays import Array
from pocketrec_bundle.errors import BundleInvalidError

MAX_BITS = 24
"""Bits of a field. With the bits before it in its first byte it fits in 4 bytes."""
_BLOCK = 1 << 14
"""Rows checked at a time: their records stay in the cache."""


@dataclass(frozen=True, slots=True)
class BitField:
    """A field of a record.

    Attributes:
        offset: of its first bit.
        bits: 1..`MAX_BITS`.
    """

    offset: int
    bits: int

    def of(self, columns: NDArray[np.uint8]) -> NDArray[np.uint32]:
        """Return the field's numbers, uint32 [n].

        Args:
            columns: uint8 [R, n], byte by byte the records of n rows.
        """
        first, shift = divmod(self.offset, 8)
        last = (self.offset + self.bits - 1) // 8
        if first == last:
            small = columns[first] >> shift & (1 << self.bits) - 1
            return np.asarray(small, np.uint32)
        found = columns[first].astype(np.uint32)
        for byte in range(first + 1, last + 1):
            found |= columns[byte].astype(np.uint32) << 8 * (byte - first)
        return np.asarray(found >> shift & np.uint32((1 << self.bits) - 1), np.uint32)


def fields_of(bits: Sequence[int]) -> tuple[BitField, ...]:
    """Place fields of these sizes one after the other."""
    found, offset = [], 0
    for each in bits:
        found.append(BitField(offset, each))
        offset += each
    return tuple(found)


def record_bytes(bits: Sequence[int]) -> int:
    """Return the bytes of a record with fields of these sizes."""
    return -(-sum(bits) // 8)


def bits_for(n: int) -> int:
    """Return the bits that numbers 0..n - 1 need."""
    return max(n - 1, 0).bit_length()


def records(columns: Sequence[NDArray[Any]], bits: Sequence[int]) -> NDArray[np.uint8]:
    """Pack columns of unsigned integers to records, uint8 [N, R].

    Args:
        columns: [N] each, below 2 ** bits.
        bits: 1..`MAX_BITS` of each column.
    """
    n = len(columns[0])
    packed = np.zeros((record_bytes(bits), n), np.uint8)
    for column, field in zip(columns, fields_of(bits), strict=True):
        first, shift = divmod(field.offset, 8)
        rest = column.astype(np.uint32) << np.uint32(shift)
        for byte in range(first, (field.offset + field.bits - 1) // 8 + 1):
            packed[byte] |= (rest & np.uint32(255)).astype(np.uint8)
            rest >>= np.uint32(8)
    return np.ascontiguousarray(packed.T)


def expect_fields_below(
    name: str, array: Array, limits: Sequence[tuple[str, BitField, int]]
) -> None:
    """Check the numbers of some fields in all records.

    Args:
        name: of the file, for the message.
        array: uint8 [N, R].
        limits: what each field is called, the field, and what its numbers must be below. A field
            that cannot hold the limit needs no look.

    Raises:
        BundleInvalidError: a number is too large.
    """
    looked = [each for each in limits if each[2] < 1 << each[1].bits]
    for start in range(0, len(array) if looked else 0, _BLOCK):
        columns = np.ascontiguousarray(array[start : start + _BLOCK].T)
        for label, field, limit in looked:
            if int(field.of(columns).max(initial=0)) >= limit:
                raise BundleInvalidError(
                    f"{name}: {label}: a code is not in 0..{limit - 1}", code="out_of_range"
                )
