"""Ids and titles of what is shown, remembered between requests."""

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.faults import Fault, FaultCode

MOST_TEXTS = 8192
"""Items that are remembered."""


class Texts:
    """Look-ups in a release's catalogue; most items of a slate come again in the next one.

    Attributes:
        fault: why ids stand for titles; None where the catalogue was readable so far.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.fault: Fault | None = None
        self._known: dict[int, tuple[str, str]] = {}

    def titles(self, rows: NDArray[np.int32]) -> list[str]:
        """Return the titles of rows."""
        return [title for _, title in self.of(rows)]

    def of(self, rows: NDArray[np.int32]) -> list[tuple[str, str]]:
        """Return id and title of rows; a look-up takes 10 us.

        Both from the catalogue: finding an id in `items/ids` would take 30 us more. Without a
        readable catalogue the id must do for a title.
        """
        wanted = rows.tolist()
        if new := {row for row in wanted if row not in self._known}:
            if len(self._known) + len(new) > MOST_TEXTS:
                self._known, new = {}, set(wanted)
            self._known.update(self._found(new))
        return [self._known[row] for row in wanted]

    def _found(self, rows: set[int]) -> dict[int, tuple[str, str]]:
        try:
            items = self._bundle.catalogue(sorted(rows))
        except PocketRecError as err:
            self.fault = Fault(FaultCode.CATALOGUE_UNREADABLE, f"{err}; ids stand for titles")
            ids = {row: self._bundle.item_id(row) for row in rows}
            return {row: (item_id, item_id) for row, item_id in ids.items()}
        found = {item.row: (item.item_id, item.title) for item in items}
        return found | {row: (self._bundle.item_id(row), "") for row in rows - found.keys()}
