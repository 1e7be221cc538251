"""Fallback without a user tower: lists of the user's categories, then popular items."""

from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.columns import Column, column_at
from pocketrec_bundle.features import History
from pocketrec_bundle.items.cohorts import Cohorts
from pocketrec_bundle.reader import Bundle

COMMONEST = 3
"""Categories of the history whose lists are shown."""


def wanted_categories(categories: Column, history: History) -> list[int]:
    """Codes of the chosen interests, or of the commonest categories of the history.

    Args:
        categories: codes by item row.
        history: with the events that stand for interests, if there are any.
    """
    if history.interests:
        return list(dict.fromkeys(reversed(history.interests)))
    marks = Counter(np.asarray(categories[history.rows]).ravel().tolist())
    del marks[0]
    return sorted(marks, key=lambda code: (-marks[code], code))[:COMMONEST]


def fallback_rows(
    cohorts: Cohorts | None,
    codes: Sequence[int],
    popular: NDArray[Any],
    excluded: NDArray[np.bool_],
) -> dict[int, int]:
    """Take the lists of some categories in turns, then the popular items, each row once.

    Args:
        cohorts: of the release, if it has any.
        codes: of the categories, the first one's best item comes first.
        popular: integer [P], rows, best first.
        excluded: bool [N], rows that must not be shown.

    Returns:
        The rows in their order, and of each the code of the list that brought it, 0: popular.
    """
    brought: dict[int, int] = {}
    lists = [] if cohorts is None else [cohorts.items(code).tolist() for code in codes]
    for places in zip_longest(*lists, fillvalue=-1):
        for code, row in zip(codes, places, strict=True):
            if row >= 0 and not excluded[row]:
                brought.setdefault(row, code)
    for row in popular[~excluded[popular]].tolist():
        brought.setdefault(row, 0)
    return brought


class Lists:
    """The lists of one release."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def rows(
        self, history: History, excluded: NDArray[np.bool_], k: int, *, beyond: bool
    ) -> dict[int, int]:
        """Return what `fallback_rows` finds for a user.

        Args:
            history: the user's.
            excluded: bool [N], rows that must not be shown.
            k: rows wanted.
            beyond: whether other items follow, by popularity, where the lists have fewer.
        """
        codes = wanted_categories(self._bundle.categories, history)
        popular = np.asarray(self._bundle.array("items/popular"))
        rows = popular[~excluded[popular]]
        if beyond and len(rows) < k:
            others = np.setdiff1d(np.flatnonzero(~excluded), rows)
            place = self._bundle.spec.numeric.index("popularity")
            popularity = column_at(self._bundle.numeric, place)[others]
            rows = np.concatenate([rows, others[np.lexsort((others, -popularity))]])
        return fallback_rows(self._bundle.cohorts, codes, rows, excluded)
