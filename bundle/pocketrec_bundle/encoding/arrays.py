"""Array files: a 64-byte header, then the numbers, little-endian and row-major, for mmap.

Header (FORMAT.md, "Array file"): magic `PRAR`, u16 version, 2-byte dtype code, u32 number of
dimensions, u32 zero, four u64 sizes (unused ones 1), u64 payload bytes, u64 zero.
"""

import math
import mmap
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.errors import BundleInvalidError, BundleTooNewError

MAGIC = b"PRAR"
VERSION = 1
HEADER_BYTES = 64
MAX_DIMENSIONS = 4
MAX_ARRAY_BYTES = 4 << 30

_HEADER = struct.Struct("<4sH2sII4QQQ")
_DTYPES = {code: np.dtype(f"<{code}") for code in ("u1", "i1", "u2", "i4", "i8", "f2", "f4")}

Array = NDArray[Any]


def encode_array(array: Array) -> bytes:
    """Encode an array of at most 4 dimensions as the bytes of an array file.

    Raises:
        ValueError: the dtype is not one of u1 i1 u2 i4 i8 f2 f4, or there are 0 or > 4 dimensions.
    """
    code = array.dtype.str[1:]
    if code not in _DTYPES:
        raise ValueError(f"dtype {array.dtype} has no code; use one of {', '.join(_DTYPES)}")
    if not 1 <= array.ndim <= MAX_DIMENSIONS:
        raise ValueError(f"{array.ndim} dimensions; an array file holds 1..{MAX_DIMENSIONS}")
    payload = np.ascontiguousarray(array, dtype=_DTYPES[code]).tobytes()
    shape = (*array.shape, *(1,) * (MAX_DIMENSIONS - array.ndim))
    header = _HEADER.pack(
        MAGIC, VERSION, code.encode("ascii"), array.ndim, 0, *shape, len(payload), 0
    )
    return header + payload


def open_array(path: Path, *, max_bytes: int = MAX_ARRAY_BYTES) -> Array:
    """Map an array file read-only; nothing is copied, and only the pages used are read.

    Args:
        path: the file; its header is checked against its real size before it is mapped.
        max_bytes: refuse a larger payload.

    Raises:
        BundleInvalidError: wrong magic, version, dtype or sizes, or the file is cut short or too
            long.
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            dtype, shape = parse_header(path.name, stream.read(HEADER_BYTES), size, max_bytes)
            if 0 in shape:
                return np.zeros(shape, dtype)
            # Not np.memmap, which looks up every folder above and slows each slice down.
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as err:
        raise BundleInvalidError(
            f"{path.name}: cannot be read ({err.strerror or err})", code="file_missing"
        ) from err
    return np.frombuffer(mapped, dtype, offset=HEADER_BYTES).reshape(shape)


def parse_header(
    name: str, head: bytes, size: int, max_bytes: int
) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    """Check the 64 header bytes of an array file of `size` bytes; return dtype and shape.

    Raises:
        BundleInvalidError: as for `open_array`.
    """
    if len(head) < HEADER_BYTES:
        raise BundleInvalidError(
            f"{name}: {len(head)} bytes are too few for an array header", code="array_header"
        )
    magic, version, code, n_dims, zero, *rest = _HEADER.unpack(head)
    shape, payload_bytes, reserved = tuple(rest[:4]), rest[4], rest[5]
    if magic == MAGIC and version > VERSION:
        raise BundleTooNewError(f"{name}: an array file of version {version}. Update the app.")
    if magic != MAGIC or version != VERSION or zero != 0 or reserved != 0:
        raise BundleInvalidError(
            f"{name}: not an array file of version {VERSION}", code="array_header"
        )
    dtype = _DTYPES.get(code.decode("ascii", errors="replace"))
    if dtype is None:
        raise BundleInvalidError(f"{name}: unknown dtype code {code!r}", code="array_dtype")
    if not 1 <= n_dims <= MAX_DIMENSIONS or any(n != 1 for n in shape[n_dims:]):
        raise BundleInvalidError(
            f"{name}: bad dimensions {n_dims} with sizes {shape}", code="array_dimensions"
        )
    # Python integers do not overflow, so hostile sizes cannot wrap round to a small product.
    if math.prod(shape) * dtype.itemsize != payload_bytes:
        raise BundleInvalidError(
            f"{name}: sizes {shape} do not give {payload_bytes} bytes", code="array_size"
        )
    # Without its zeros too: numpy cannot describe 0 x 2^62 numbers.
    if math.prod(n for n in shape if n) * dtype.itemsize > max_bytes:
        raise BundleInvalidError(
            f"{name}: sizes {shape} exceed the limit of {max_bytes} bytes", code="array_size"
        )
    if size != HEADER_BYTES + payload_bytes:
        raise BundleInvalidError(
            f"{name}: {size} bytes on disk, header says {payload_bytes} + 64", code="array_length"
        )
    return dtype, shape[:n_dims]
