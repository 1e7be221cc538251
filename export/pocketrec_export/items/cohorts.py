"""The cohort lists of a release, from its item columns."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.items.cohorts import MAX_COHORT_ITEMS, MAX_COHORTS, NO_ITEM, Cohorts


def cohort_lists(
    categories: NDArray[Any], popularity: NDArray[np.float32], available: NDArray[np.bool_]
) -> Cohorts:
    """List the most popular available items of the categories that the most of them have.

    Ties go to the lower code, and to the lower row.

    Args:
        categories: integer [N, K], codes, 0 = padding.
        popularity: float32 [N].
        available: bool [N].
    """
    n = len(categories)
    best = np.lexsort((np.arange(n), -popularity))
    best = best[available[best]]
    codes = np.sort(categories[best], axis=1)
    codes[:, 1:][codes[:, 1:] == codes[:, :-1]] = 0  # an item stands once in a list
    marks = codes.ravel()  # [items * K], most popular item first
    order = np.argsort(marks, kind="stable")
    order = order[marks[order] > 0]
    found, starts, counts = np.unique(marks[order], return_index=True, return_counts=True)
    commonest = np.lexsort((found, -counts))[:MAX_COHORTS]
    longest = min(int(counts.max(initial=0)), MAX_COHORT_ITEMS)
    rows = np.full((len(commonest), longest), NO_ITEM, np.int32)
    each = categories.shape[1]
    for line, group in zip(rows, commonest, strict=True):
        places = order[starts[group] : starts[group] + min(counts[group], longest)]
        line[: len(places)] = best[places // each]
    return Cohorts(found[commonest].astype(np.uint16), rows)
