"""Item files of format version 1: plain arrays in row order, and the rows sorted by id."""

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.array_checks import (
    expect_below,
    expect_finite,
    expect_form,
    expect_rising,
    expect_utf8,
)
from pocketrec_bundle.encoding.arrays import Array
from pocketrec_bundle.encoding.columns import ArraySource
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.items.items import ItemArrays, OpenItems

_AVAILABLE = 1
"""Bit 0 of `items/flags`."""


def open_items(source: ArraySource, spec: FeatureSpec, offsets: NDArray[np.int32]) -> OpenItems:
    """Open and check the item files.

    Raises:
        BundleInvalidError: one is missing or does not fit.
    """
    n = int(offsets[-1])
    text = source.array("items/ids_bytes")
    expected: dict[str, tuple[str, tuple[int, ...]]] = {
        "index/scales": ("f4", (n,)),
        "items/ids_offsets": ("i4", (n + 1,)),
        "items/ids_bytes": ("u1", text.shape[:1]),
        "items/ids_order": ("i4", (n,)),
        "items/categories": ("u2", (n, spec.max_categories)),
        "items/numeric": ("f4", (n, len(spec.numeric))),
        "items/flags": ("u1", (n,)),
    }
    for name, (code, shape) in expected.items():
        expect_form(name, source.array(name), code, shape)
    starts, order = source.array("items/ids_offsets"), source.array("items/ids_order")
    expect_rising("items/ids_offsets", starts, len(text))
    expect_utf8("items/ids", text, starts)
    expect_below("items/ids_order", order, n)
    categories = source.array("items/categories")
    expect_below("items/categories", categories, len(spec.categories) + 1)
    for name in ("index/scales", "items/numeric"):
        expect_finite(name, source.array(name))
    return OpenItems(
        ids=OffsetIds(starts, text, order),
        scales=source.array("index/scales"),
        categories=categories,
        numeric=source.array("items/numeric"),
        available=source.array("items/flags") & _AVAILABLE > 0,
    )


class OffsetIds:
    """Ids in row order; found by a binary search over `items/ids_order`."""

    def __init__(
        self, offsets: NDArray[np.int32], data: NDArray[np.uint8], order: NDArray[np.int32]
    ) -> None:
        self._offsets, self._data, self._order = offsets, data, order

    def at(self, row: int) -> str:
        """Return the id of a row."""
        return self._bytes(row).decode()

    def row_of(self, item_id: str) -> int:
        """Return the row of an id, or -1."""
        # An id that is no Unicode text has bytes that no id of a release can have.
        wanted = item_id.encode("utf-8", errors="surrogatepass")
        low, high = 0, len(self._order)
        while low < high:
            middle = (low + high) // 2
            if self._bytes(int(self._order[middle])) < wanted:
                low = middle + 1
            else:
                high = middle
        if low < len(self._order) and self._bytes(int(self._order[low])) == wanted:
            return int(self._order[low])
        return -1

    def all(self) -> list[str]:
        """Return all ids, in row order."""
        return [self.at(row) for row in range(len(self._order))]

    def _bytes(self, row: int) -> bytes:
        return self._data[int(self._offsets[row]) : int(self._offsets[row + 1])].tobytes()


def item_files(items: ItemArrays) -> dict[str, Array]:
    """Return the item files by name."""
    ids = [one.encode() for one in items.ids]
    return {
        "index/scales": items.scales,
        "items/ids_offsets": np.cumsum([0, *map(len, ids)]).astype(np.int32),
        "items/ids_bytes": np.frombuffer(b"".join(ids), np.uint8),
        "items/ids_order": items.by_id.astype(np.int32),
        "items/categories": items.categories,
        "items/numeric": items.numeric,
        "items/flags": np.where(items.available, _AVAILABLE, 0).astype(np.uint8),
    }
