"""Faults of what each item has: columns, ids and cells, cohorts, regions."""

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.sorted_ids import MAX_BLOCK, MAX_SHARED
from pocketrec_bundle.items.audience import MAX_REGIONS
from pocketrec_bundle.items.cohorts import CODES_FILE, MAX_COHORT_ITEMS, MAX_COHORTS, ROWS_FILE
from pocketrec_export.conformance.defects.defect import Arrays, Defect, arrays, edited

assert MAX_BLOCK >= 48 <= MAX_REGIONS  # items of the tiny bundle
SHAPES, LETTERS = "items/id_shapes.values", "items/id_bytes"


def _more_cohorts(found: Arrays) -> Arrays:
    codes, rows = found[CODES_FILE], found[ROWS_FILE]
    n = MAX_COHORTS + 1
    return {
        CODES_FILE: np.resize(codes, n),
        ROWS_FILE: np.resize(rows, (n, rows.shape[1])),
    }


def _longer_cohorts(found: Arrays) -> Arrays:
    rows = found[ROWS_FILE]
    return {ROWS_FILE: np.resize(rows, (len(rows), MAX_COHORT_ITEMS + 1))}


def _no_head(shapes: NDArray[np.uint16]) -> None:
    """Every id shares a letter with one before it, so that no block has a first id."""
    shapes[:, 0] = np.maximum(shapes[:, 0], 1)


def _too_far(shapes: NDArray[np.uint16]) -> None:
    shapes[shapes[:, 0] > 0, 0] = MAX_SHARED + 1


def _more_than_before(shapes: NDArray[np.uint16]) -> None:
    shapes[shapes[:, 0] > 0, 0] = MAX_SHARED


def _cut_letter(data: NDArray[np.uint8]) -> None:
    """Exchange the two halves of a letter of two bytes: no UTF-8."""
    at = int(np.flatnonzero(data >= 0xC0)[0])
    data[at : at + 2] = data[at : at + 2][::-1].copy()


def _begun_inside(found: Arrays) -> Arrays:
    """An id takes the first byte of the letter that begins the next one."""
    codes, shapes = found["items/id_shapes.codes"], found[SHAPES]
    table = shapes[codes].astype(np.int64)
    stops = np.cumsum(table[:, 1])
    data = found[LETTERS]
    at = next(i for i in range(len(stops) - 1) if data[stops[i]] >= 0xC0 and table[i + 1, 1] > 1)
    table[at, 1] += 1
    table[at + 1, 1] -= 1
    return {
        SHAPES: table.astype(np.uint16),
        "items/id_shapes.codes": np.arange(len(table), dtype=np.uint8),
    }


DEFECTS = (
    Defect(
        name="column-code-beyond",
        code="out_of_range",
        fault="a code of items/categories has no value",
        make=edited("items/categories.codes", lambda a: a.__setitem__(0, 255)),
    ),
    Defect(
        name="column-codes-signed",
        code="array_form",
        fault="codes of items/categories are i1",
        make=edited("items/categories.codes", lambda a: a.astype(np.int8)),
    ),
    Defect(
        name="column-codes-few",
        code="array_form",
        fault="items/categories has 47 codes for 48 rows",
        make=edited("items/categories.codes", lambda a: a[:-1]),
    ),
    Defect(
        name="category-beyond",
        code="out_of_range",
        fault="an item has category 4, of 3",
        make=edited("items/categories.values", lambda a: a.__setitem__((0, 0), 4)),
    ),
    Defect(
        name="number-not-a-number",
        code="not_finite",
        fault="a price is NaN",
        make=edited("items/numeric.2.values", lambda a: a.__setitem__(0, np.nan)),
    ),
    Defect(
        name="scale-infinite",
        code="not_finite",
        fault="a scale is infinite",
        make=edited("index/scales.values", lambda a: a.__setitem__(0, np.inf)),
    ),
    Defect(
        name="available-short",
        code="array_form",
        fault="items/available has a byte less",
        make=edited("items/available", lambda a: a[:-1]),
    ),
    Defect(
        name="ids-no-block",
        code="id_blocks",
        fault="the first id shares letters with one before it",
        make=edited(SHAPES, _no_head),
    ),
    Defect(
        name="ids-share-too-many",
        code="id_shared",
        fault=f"an id shares {MAX_SHARED + 1} letters",
        make=edited(SHAPES, _too_far),
    ),
    Defect(
        name="ids-share-more-than-there-are",
        code="id_shared",
        fault="an id shares more letters than the one before has",
        make=edited(SHAPES, _more_than_before),
    ),
    Defect(
        name="ids-bytes-missing",
        code="id_bytes",
        fault="items/id_bytes has a byte less",
        make=edited(LETTERS, lambda a: a[:-1]),
    ),
    Defect(
        name="ids-no-utf-8",
        code="id_text",
        fault="items/id_bytes is no UTF-8",
        make=edited(LETTERS, _cut_letter),
    ),
    Defect(
        name="ids-inside-a-letter",
        code="id_text",
        fault="an id begins inside a letter",
        make=arrays(_begun_inside),
    ),
    Defect(
        name="ids-cell-beyond",
        code="out_of_range",
        fault="an id's cell is 4, of 4",
        make=edited("items/id_cells", lambda a: a.__setitem__(0, 4)),
    ),
    Defect(
        name="ids-two-of-one-row",
        code="id_cells",
        fault="a cell comes more often than it has rows",
        make=edited("items/id_cells", lambda a: a.__setitem__(slice(0, 48), 0)),
    ),
    Defect(
        name="cohorts-many",
        code="cohorts_length",
        fault=f"more than {MAX_COHORTS} lists",
        make=arrays(_more_cohorts),
    ),
    Defect(
        name="cohorts-long",
        code="cohorts_length",
        fault=f"a list of more than {MAX_COHORT_ITEMS} items",
        make=arrays(_longer_cohorts),
    ),
    Defect(
        name="cohorts-row-beyond",
        code="out_of_range",
        fault="a list has row 48, of 48",
        make=edited(ROWS_FILE, lambda a: a.__setitem__((0, 0), 48)),
    ),
    Defect(
        name="cohorts-category-beyond",
        code="out_of_range",
        fault="a list of category 4, of 3",
        make=edited(CODES_FILE, lambda a: a.__setitem__(0, 4)),
    ),
    Defect(
        name="regions-short",
        code="array_form",
        fault="items/regions has 4 bytes an item for 40 names",
        make=edited("items/regions.values", lambda a: a[:, 1:]),
    ),
    Defect(
        name="version-1-ids-no-utf-8",
        code="id_text",
        fault="ids of version 1 are no UTF-8",
        version=1,
        make=edited("items/ids_bytes", _cut_letter),
    ),
    Defect(
        name="version-1-ids-fall",
        code="offsets",
        fault="items/ids_offsets of version 1 falls",
        version=1,
        make=edited("items/ids_offsets", lambda a: a.__setitem__(1, 10**6)),
    ),
    Defect(
        name="version-1-order-beyond",
        code="out_of_range",
        fault="items/ids_order of version 1 has row 48, of 48",
        version=1,
        make=edited("items/ids_order", lambda a: a.__setitem__(0, 48)),
    ),
    Defect(
        name="version-1-flags-short",
        code="array_form",
        fault="items/flags of version 1 has 47 rows",
        version=1,
        make=edited("items/flags", lambda a: a[:-1]),
    ),
)
