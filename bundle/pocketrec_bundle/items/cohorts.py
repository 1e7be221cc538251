"""Cohort lists: the most popular items of each common category, stored in a release.

They serve users of whom the app knows only what they chose, and all users when no model runs.
FORMAT.md, "Cohorts".
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.array_checks import expect_below, expect_form
from pocketrec_bundle.encoding.columns import ArraySource
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.features import Ints

MAX_COHORTS = 256
MAX_COHORT_ITEMS = 50
CODES_FILE, ROWS_FILE = "items/cohort_categories", "items/cohort_rows"
NO_ITEM = -1
"""Pads lists that are shorter than the longest one."""


@dataclass(frozen=True, slots=True)
class Cohorts:
    """The lists of G categories.

    Attributes:
        codes: uint16 [G], category codes; the category with the most items first.
        rows: int32 [G, m], item rows, the most popular first, then `NO_ITEM`.
    """

    codes: NDArray[Any]
    rows: Ints

    @classmethod
    def of(cls, source: ArraySource, n_items: int, n_categories: int) -> "Cohorts | None":
        """Open and check the lists of a release, memory-mapped; None if it has no lists.

        Raises:
            BundleInvalidError: one of the two files is missing, or does not fit.
        """
        if not source.lists(CODES_FILE) and not source.lists(ROWS_FILE):
            return None
        codes, rows = source.array(CODES_FILE), source.array(ROWS_FILE)
        n, longest = len(codes), rows.shape[-1]
        expect_form(CODES_FILE, codes, "u2", (n,))
        expect_form(ROWS_FILE, rows, "i4", (n, longest))
        if n > MAX_COHORTS or longest > MAX_COHORT_ITEMS:
            raise BundleInvalidError(
                f"{ROWS_FILE}: over {MAX_COHORTS} lists, or one above {MAX_COHORT_ITEMS} items",
                code="cohorts_length",
            )
        expect_below(CODES_FILE, codes, n_categories + 1)
        if rows.size and not NO_ITEM <= int(rows.min()) <= int(rows.max()) < n_items:
            raise BundleInvalidError(
                f"{ROWS_FILE}: a value lies outside {NO_ITEM}..{n_items - 1}", code="out_of_range"
            )
        return cls(codes, rows)

    def items(self, code: int) -> Ints:
        """Return the rows of a category's list, int32 [<= m]; empty if it has no list."""
        lines = np.flatnonzero(self.codes == code)
        if not code or not len(lines):
            return np.zeros(0, np.int32)
        line = self.rows[lines[0]]
        rows: Ints = line[line != NO_ITEM]
        return rows
