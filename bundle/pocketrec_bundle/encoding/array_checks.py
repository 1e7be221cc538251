"""Checks of arrays from files, so that no number in one leads outside another."""

import codecs
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.arrays import Array
from pocketrec_bundle.encoding.strict_json import MAX_NUMBER
from pocketrec_bundle.errors import BundleInvalidError

_CHUNK_BYTES = 1 << 20


def expect_form(name: str, array: Array, code: str, shape: tuple[int, ...]) -> None:
    """Check the dtype code (as "i4") and the shape.

    Raises:
        BundleInvalidError: one differs. The text begins with `name`, as in all checks here.
    """
    dtype = array.dtype.str[1:]
    if dtype != code or array.shape != shape:
        raise BundleInvalidError(
            f"{name}: {dtype}{list(array.shape)}, expected {code}{list(shape)}", code="array_form"
        )


def expect_below(name: str, array: Array, limit: int) -> None:
    """Check that all integers are in 0..limit - 1.

    Raises:
        BundleInvalidError: one is not.
    """
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < limit:
        raise BundleInvalidError(
            f"{name}: a value lies outside 0..{limit - 1}", code="out_of_range"
        )


def expect_finite(name: str, array: Array) -> None:
    """Check that all numbers are within 1e15 of 0, so that inner products stay finite.

    Raises:
        BundleInvalidError: one is NaN or too large.
    """
    if array.size and not -MAX_NUMBER <= array.min() <= array.max() <= MAX_NUMBER:
        raise BundleInvalidError(
            f"{name}: a number is not within {MAX_NUMBER:g} of 0", code="not_finite"
        )


def expect_rising(name: str, offsets: Array, end: int) -> None:
    """Check that offsets go from 0 to `end` and never fall.

    Raises:
        BundleInvalidError: they do not.
    """
    # Compared, not subtracted: differences of hostile offsets wrap round and look right.
    falls = (offsets[1:] < offsets[:-1]).any()
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != end or falls:
        raise BundleInvalidError(f"{name}: offsets must rise from 0 to {end}", code="offsets")


def expect_utf8(name: str, data: NDArray[np.uint8], starts: NDArray[Any]) -> None:
    """Check that bytes are UTF-8, and that no text starts inside a character.

    Args:
        name: for the message.
        data: the bytes of all texts.
        starts: where each text starts.

    Raises:
        BundleInvalidError: the bytes are not UTF-8, or a text starts inside a character.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), _CHUNK_BYTES):
            decoder.decode(data[start : start + _CHUNK_BYTES].tobytes())
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as err:
        raise BundleInvalidError(f"{name}: not UTF-8 ({err.reason})", code="id_text") from err
    if not begins_letter(data[starts[starts < len(data)]]).all():
        raise BundleInvalidError(f"{name}: an id begins inside a letter", code="id_text")


def begins_letter(data: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each byte of UTF-8 is the first of a code point."""
    begins: NDArray[np.bool_] = data & 0xC0 != 0x80
    return begins
