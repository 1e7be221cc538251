"""Array files: hostile headers, other forms, numbers that point nowhere."""

import struct

import numpy as np
from numpy.random import Generator

from pocketrec_bundle.encoding.arrays import HEADER_BYTES, encode_array
from pocketrec_export.conformance.sound import Base, Mutant, pick

HUGE = (0, 1, 2, 127, 255, 65_535, 1 << 16, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 62, 1 << 63)


def array_header(base: Base, rng: Generator) -> Mutant:
    """Numbers in an array's header are hostile; some fit the payload all the same."""
    name = pick(rng, base.arrays)
    data = bytearray(base.files[name])
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 4))):
            at, form = pick(
                rng, ((4, "H"), (8, "I"), (12, "I"), *((n, "Q") for n in range(16, 64, 8)))
            )
            limit = 1 << 8 * struct.calcsize(form)
            number = (pick(rng, HUGE) + int(rng.integers(-1, 2))) % limit
            struct.pack_into(f"<{form}", data, at, number)
    elif rng.random() < 0.5:  # nothing to store, in a shape beyond all memory
        data = data[:HEADER_BYTES]
        sizes = [pick(rng, HUGE) for _ in range(4)]
        sizes[int(rng.integers(4))] = 0
        struct.pack_into("<I", data, 8, 4)
        struct.pack_into("<5Q", data, 16, *sizes, 0)
    else:
        data[6:8] = pick(
            rng, (b"u1", b"i1", b"u2", b"i4", b"i8", b"f2", b"f4", b"O8", b"f8", b"\xff\xff")
        )
    return base.signed({name: bytes(data)})


def array_form(base: Base, rng: Generator) -> Mutant:
    """An array has another dtype or shape than it should, in a file that is sound."""
    name = pick(rng, base.arrays)
    array = base.arrays[name]
    how = pick(rng, ("dtype", "shape", "shorter", "longer", "deeper", "empty"))
    if how == "dtype":
        with np.errstate(invalid="ignore"):
            array = array.astype(pick(rng, ("u1", "i1", "u2", "<i4", "<i8", "<f2", "<f4")))
    elif how == "shape":
        array = array.reshape(pick(rng, ((-1,), (1, -1), (-1, 1), array.shape[::-1])))
    elif how == "deeper":
        array = array[None, None]
    elif how == "empty":
        array = array.reshape(-1)[:0].reshape(pick(rng, ((0,), (0, 7), (0, 1, 1, 1))))
    else:
        array = np.resize(
            array, (max(0, len(array) + (-1 if how == "shorter" else 1)), *array.shape[1:])
        )
    return base.signed({name: encode_array(array)})


def array_values(base: Base, rng: Generator) -> Mutant:
    """An array holds NaN, or rows that do not exist."""
    name = pick(rng, base.arrays)
    array = base.arrays[name].copy()
    flat = array.reshape(-1)
    if array.dtype.kind == "f":
        extreme = [np.nan, np.inf, -np.inf, 3e38, -3e38, 9e14, -9e14, 1e-45, 0, -1]
    else:
        info = np.iinfo(array.dtype)
        extreme = [info.min, info.min + 1, -1, 0, 1, 3, 48, 49, info.max - 1, info.max]
        extreme = [number for number in extreme if info.min <= number <= info.max]
    for _ in range(pick(rng, (1, 1, 2, 4, len(flat)))):
        flat[int(rng.integers(len(flat)))] = pick(rng, extreme)
    return base.signed({name: encode_array(array)})


def wrapping_offsets(base: Base, rng: Generator) -> Mutant:
    """Offsets whose differences look right in 32 bits: 0, 2^31-1, -2^31, -1, ... the end."""
    name = pick(rng, ("index/offsets", "items/ids_offsets"))
    if base.version > 1:
        name = "index/offsets"
    array = base.arrays[name].copy()
    if len(array) < 5:
        array = np.resize(array, 5)
    at = int(rng.integers(1, len(array) - 3))
    end = base.arrays[name][-1]
    array[at:] = -1
    array[at : at + 3] = (2**31 - 1, -(2**31), -1)
    array[-1] = end
    return base.signed({name: encode_array(array)})
