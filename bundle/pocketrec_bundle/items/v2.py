"""Item files of format version 2: coded columns, and sorted, front-coded ids."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.array_checks import expect_below, expect_finite, expect_form
from pocketrec_bundle.encoding.arrays import Array
from pocketrec_bundle.encoding.cell_order import CellOrder
from pocketrec_bundle.encoding.columns import (
    ArraySource,
    Stacked,
    code_dtype,
    column_files,
    open_column,
)
from pocketrec_bundle.encoding.sorted_ids import SortedIds, front_coded
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.items.items import ItemArrays, OpenItems

SHAPES, LETTERS, CELLS = "items/id_shapes", "items/id_bytes", "items/id_cells"


def open_items(source: ArraySource, spec: FeatureSpec, offsets: NDArray[np.int32]) -> OpenItems:
    """Open and check the item files.

    Raises:
        BundleInvalidError: one is missing or does not fit.
    """
    n = int(offsets[-1])
    below = partial(expect_below, limit=len(spec.categories) + 1)
    numeric = [
        open_column(source, f"items/numeric.{place}", ("f4", (n,)), expect_finite)
        for place in range(len(spec.numeric))
    ]
    bits, text = source.array("items/available"), source.array(LETTERS)
    expect_form("items/available", bits, "u1", (-(-n // 8),))
    expect_form(LETTERS, text, "u1", text.shape[:1])
    shapes = open_column(source, SHAPES, ("u2", (n, 2)), lambda *_: None)
    return OpenItems(
        ids=IdsByCell(
            SortedIds("items/ids", shapes, text), CellOrder(CELLS, source.array(CELLS), offsets)
        ),
        scales=open_column(source, "index/scales", ("f4", (n,)), expect_finite),
        categories=open_column(source, "items/categories", ("u2", (n, spec.max_categories)), below),
        numeric=Stacked(tuple(numeric)),
        available=np.unpackbits(bits, count=n, bitorder="little").view(np.bool_),
    )


class IdsByCell:
    """Sorted ids, and the mapping from their ranks to rows."""

    def __init__(self, ids: SortedIds, order: CellOrder) -> None:
        self._ids, self._order = ids, order

    def at(self, row: int) -> str:
        """Return the id of a row."""
        return self._ids.at(self._order.rank_of(row))

    def row_of(self, item_id: str) -> int:
        """Return the row of an id, or -1."""
        rank = self._ids.rank_of(item_id)
        return self._order.row_of(rank) if rank >= 0 else -1

    def all(self) -> list[str]:
        """Return all ids, in row order."""
        ids = self._ids.all()
        return [ids[rank] for rank in self._order.ranks().tolist()]


def item_files(items: ItemArrays, base: ArraySource | None) -> dict[str, Array]:
    """Return the item files by name; value tables extend those of the previous release `base`."""
    n_cells = len(items.offsets) - 1
    cells = np.repeat(np.arange(n_cells), np.diff(items.offsets))[items.by_id]
    return {
        **column_files("index/scales", items.scales, base),
        **column_files("items/categories", items.categories, base),
        **{
            name: array
            for place, column in enumerate(items.numeric.T)
            for name, array in column_files(f"items/numeric.{place}", column, base).items()
        },
        **id_files([items.ids[row] for row in items.by_id.tolist()], base),
        CELLS: cells.astype(code_dtype(n_cells)),
        "items/available": np.packbits(items.available, bitorder="little"),
    }


def id_files(ids: list[str], base: ArraySource | None = None) -> dict[str, Array]:
    """Return the files of the ids, which must be sorted and distinct."""
    shapes, text = front_coded(ids)
    return {**column_files(SHAPES, shapes, base), LETTERS: text}
