"""Faults of array files: their headers, and what arrays must agree on."""

import struct
from collections.abc import Callable

import numpy as np

from pocketrec_bundle.reader import MAX_POPULAR
from pocketrec_export.conformance.defects.defect import Arrays, Defect, arrays, edited, signed
from pocketrec_export.conformance.sound import Base, Mutant

HEAD = "items/popular"
"""The array whose header is changed; i4 [6]."""


def _at(place: int, form: str, *values: int | bytes) -> Callable[[Base], Mutant]:
    """Write values over a header."""

    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        struct.pack_into(f"<{form}", changed, place, *values)
        return bytes(changed)

    return signed(HEAD, change)


def _no_cells(found: Arrays) -> Arrays:
    """Nothing at all: no items, one offset, no centroids."""
    names = ("index/rows", "index/centroids", "items/popular", *_NEIGHBOURS)
    return {name: found[name][:0] for name in names} | {"index/offsets": found["index/offsets"][:1]}


_NEIGHBOURS = tuple(f"items/neighbour{end}" for end in ("s", "_weights", "_scales"))
DEFECTS = (
    Defect(
        name="array-short",
        code="array_header",
        fault="an array file has 63 bytes",
        make=signed(HEAD, lambda data: data[:63]),
    ),
    Defect(
        name="array-magic",
        code="array_header",
        fault="an array file begins with PRAX",
        make=_at(0, "4s", b"PRAX"),
    ),
    Defect(
        name="array-version-0",
        code="array_header",
        fault="an array file of version 0",
        make=_at(4, "H", 0),
    ),
    Defect(
        name="array-too-new",
        code="too_new",
        fault="an array file of version 2",
        make=_at(4, "H", 2),
    ),
    Defect(
        name="array-reserved",
        code="array_header",
        fault="the reserved bytes at 12 are not 0",
        make=_at(12, "I", 1),
    ),
    Defect(
        name="array-reserved-end",
        code="array_header",
        fault="the reserved bytes at 56 are not 0",
        make=_at(56, "Q", 1),
    ),
    Defect(name="array-dtype", code="array_dtype", fault="dtype code x9", make=_at(6, "2s", b"x9")),
    Defect(
        name="array-dtype-f8",
        code="array_dtype",
        fault="dtype code f8, which the format lacks",
        make=_at(6, "2s", b"f8"),
    ),
    Defect(
        name="array-no-dimensions",
        code="array_dimensions",
        fault="0 dimensions",
        make=_at(8, "I", 0),
    ),
    Defect(
        name="array-five-dimensions",
        code="array_dimensions",
        fault="5 dimensions",
        make=_at(8, "I", 5),
    ),
    Defect(
        name="array-unused-size",
        code="array_dimensions",
        fault="a size that is not in use is 2",
        make=_at(24, "Q", 2),
    ),
    Defect(
        name="array-sizes",
        code="array_size",
        fault="the size is 7, the bytes are those of 6",
        make=_at(16, "Q", 7),
    ),
    Defect(
        name="array-sizes-wrap",
        code="array_size",
        fault="sizes whose product is 0 in 64 bits",
        make=_at(8, "IIQQQQQ", 2, 0, 1 << 32, 1 << 32, 1, 1, 0),
    ),
    Defect(
        name="array-sizes-beside-zero",
        code="array_size",
        fault="a size of 2^62 beside one of 0",
        make=_at(8, "IIQQQQQ", 2, 0, 0, 1 << 62, 1, 1, 0),
    ),
    Defect(
        name="array-cut",
        code="array_length",
        fault="the last byte is missing",
        make=signed(HEAD, lambda data: data[:-1]),
    ),
    Defect(
        name="array-longer",
        code="array_length",
        fault="a byte follows the last",
        make=signed(HEAD, lambda data: data + b"\x00"),
    ),
    Defect(
        name="array-of-other-numbers",
        code="array_form",
        fault="index/rows is u1, not i1",
        make=edited("index/rows", lambda a: a.view(np.uint8)),
    ),
    Defect(
        name="array-of-other-shape",
        code="array_form",
        fault="index/rows has a column less",
        make=edited("index/rows", lambda a: a[:, 1:]),
    ),
    Defect(
        name="offsets-begin-late",
        code="offsets",
        fault="index/offsets begins at 1",
        make=edited("index/offsets", lambda a: a.__setitem__(0, 1)),
    ),
    Defect(
        name="offsets-fall",
        code="offsets",
        fault="index/offsets falls",
        make=edited("index/offsets", lambda a: a.__setitem__(2, 5)),
    ),
    Defect(
        name="offsets-end-early",
        code="offsets",
        fault="index/offsets ends before the last row",
        make=edited("index/offsets", lambda a: a.__setitem__(-1, 47)),
    ),
    Defect(
        name="offsets-wrap",
        code="offsets",
        fault="index/offsets falls by so much that the difference wraps round",
        make=edited("index/offsets", lambda a: a.__setitem__(slice(1, 3), [2**31 - 1, -(2**31)])),
    ),
    Defect(name="no-cells", code="no_cells", fault="no items and no cells", make=arrays(_no_cells)),
    Defect(
        name="popular-long",
        code="popular_length",
        fault=f"more than {MAX_POPULAR} popular items",
        make=edited(HEAD, lambda a: np.resize(a, MAX_POPULAR + 1)),
    ),
    Defect(
        name="popular-beyond",
        code="out_of_range",
        fault="a popular item of row 48, of 48",
        make=edited(HEAD, lambda a: a.__setitem__(0, 48)),
    ),
    Defect(
        name="popular-negative",
        code="out_of_range",
        fault="a popular item of row -1",
        make=edited(HEAD, lambda a: a.__setitem__(0, -1)),
    ),
    Defect(
        name="centroid-not-a-number",
        code="not_finite",
        fault="a centroid has NaN",
        make=edited("index/centroids", lambda a: a.__setitem__((0, 0), np.nan)),
    ),
    Defect(
        name="centroid-infinite",
        code="not_finite",
        fault="a centroid is infinite",
        make=edited("index/centroids", lambda a: a.__setitem__((0, 0), np.inf)),
    ),
    Defect(
        name="centroid-huge",
        code="not_finite",
        fault="a centroid has 2e15",
        make=edited("index/centroids", lambda a: a.__setitem__((0, 0), 2e15)),
    ),
    Defect(
        name="neighbour-beyond",
        code="out_of_range",
        fault="a neighbour of row 48, of 48",
        make=edited("items/neighbours", lambda a: a.__setitem__((0, 0), 48)),
    ),
    Defect(
        name="neighbour-scale",
        code="not_finite",
        fault="a scale of neighbours is infinite",
        make=edited("items/neighbour_scales", lambda a: a.__setitem__(0, -np.inf)),
    ),
)
