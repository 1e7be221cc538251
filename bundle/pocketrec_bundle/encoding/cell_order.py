"""Convert ranks (places in the order of ids) to rows and back; only each id's cell is stored.

Rows lie by cell, and within a cell by id. So the row of a rank is its cell's first row plus the
number of lower ranks in that cell. Counts at every 2^14th rank make both directions fast.
FORMAT.md, "Rows".
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.columns import expect_codes
from pocketrec_bundle.errors import BundleInvalidError

_STRIDE = 1 << 14


class CellOrder:
    """The mapping between ranks and rows."""

    def __init__(self, name: str, cells: NDArray[Any], offsets: NDArray[np.int32]) -> None:
        """Count the cells.

        Args:
            name: of the file, for messages.
            cells: integer [N], the cell of each rank.
            offsets: int32 [C + 1], checked: cell c holds rows offsets[c]..offsets[c+1]-1.

        Raises:
            BundleInvalidError: a cell does not come as often as it has rows; two ranks would have
                one row.
        """
        n, n_cells = int(offsets[-1]), len(offsets) - 1
        expect_codes(name, cells, n, n_cells)
        self._cells, self._offsets = cells, offsets
        # At least as many ranks as cells: a release of many cells must not cost their product.
        self._stride = max(_STRIDE, n_cells)
        before = [np.zeros(n_cells, np.int64)]
        for start in range(0, n, self._stride):
            part = cells[start : start + self._stride]
            before.append(before[-1] + np.bincount(part, minlength=n_cells))
        if (before[-1] != np.diff(offsets)).any():
            raise BundleInvalidError(
                f"{name}: a cell does not come as often as it has rows", code="id_cells"
            )
        self._before = np.stack(before).astype(np.int32)  # [parts + 1, C]

    def row_of(self, rank: int) -> int:
        """Return the row of a rank 0..N-1."""
        cell, part = int(self._cells[rank]), rank // self._stride
        earlier = np.count_nonzero(self._cells[part * self._stride : rank] == cell)
        return int(self._offsets[cell]) + int(self._before[part, cell]) + int(earlier)

    def rank_of(self, row: int) -> int:
        """Return the rank of a row 0..N-1."""
        cell = int(np.searchsorted(self._offsets, row, "right")) - 1
        place = row - int(self._offsets[cell])
        part = int(np.searchsorted(self._before[:, cell], place, "right")) - 1
        start = part * self._stride
        ranks = np.flatnonzero(self._cells[start : start + self._stride] == cell)
        return start + int(ranks[place - int(self._before[part, cell])])

    def ranks(self) -> NDArray[np.int64]:
        """Return the rank of each row, int64 [N]."""
        return np.argsort(self._cells, kind="stable").astype(np.int64)
