"""The items of a release of any format version: as opened, and as written."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.columns import Column


class ItemIds(Protocol):
    """The app's own ids by row."""

    def at(self, row: int) -> str:
        """Return the id of a row 0..N-1."""

    def row_of(self, item_id: str) -> int:
        """Return the row of an id, or -1."""

    def all(self) -> list[str]:
        """Return all ids, in row order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenItems:
    """The items of an opened release, checked and memory-mapped, in row order.

    Attributes:
        ids: the app's own ids.
        scales: float32 [N], of `index/rows`.
        categories: integer [N, K], codes; 0 is padding.
        numeric: float32 [N, M]; -1 is unknown.
        available: bool [N], whether an item may be recommended.
    """

    ids: ItemIds
    scales: Column
    categories: Column
    numeric: Column
    available: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemArrays:
    """The items to write, in row order: by cell, and within a cell by id.

    Attributes:
        ids: the app's own ids.
        by_id: int64 [N], rows in the order of their ids.
        offsets: int32 [C + 1], of the cells.
        scales: float32 [N].
        categories: uint16 [N, K].
        numeric: float32 [N, M].
        available: bool [N].
    """

    ids: list[str]
    by_id: NDArray[np.int64]
    offsets: NDArray[np.int32]
    scales: NDArray[np.float32]
    categories: NDArray[Any]
    numeric: NDArray[np.float32]
    available: NDArray[np.bool_]
