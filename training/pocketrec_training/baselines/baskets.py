"""Histories as baskets: the distinct items of each time stamp."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.features import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Baskets:
    """Lines of baskets, each item once a basket; all int64 [n_lines].

    Attributes:
        owners: place of the history that the line is from.
        rows: the item.
        ages: baskets back from the last one of that history, 0 = the last.
        sizes: number of baskets of that history.
    """

    owners: NDArray[np.int64]
    rows: NDArray[np.int64]
    ages: NDArray[np.int64]
    sizes: NDArray[np.int64]


def baskets_of(histories: Sequence[History]) -> Baskets:
    """Cut histories into baskets wherever the time stamp changes."""
    owners = np.repeat(np.arange(len(histories)), [len(past) for past in histories])
    rows = np.concatenate([np.zeros(0, np.int64), *(past.rows for past in histories)])
    ts = np.concatenate([np.zeros(0, np.int64), *(past.ts for past in histories)])
    starts = np.ones(len(rows), bool)
    starts[1:] = (np.diff(ts) != 0) | (np.diff(owners) != 0)
    basket = np.cumsum(starts) - 1
    owner_of = owners[starts]
    sizes = np.bincount(owner_of, minlength=len(histories))
    last = np.cumsum(sizes) - 1
    wide = int(rows.max(initial=0)) + 1
    basket, rows = np.divmod(np.unique(basket * wide + rows), wide)
    owners = owner_of[basket]
    return Baskets(owners=owners, rows=rows, ages=last[owners] - basket, sizes=sizes[owners])
