"""SLIST: the linear model of the next item, with the whole matrix of items by items."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.linalg import solve
from scipy.sparse import csr_matrix, diags, issparse

from pocketrec_bundle.floats import Floats32
from pocketrec_training.baselines.item_matrix import (
    ItemMatrix,
    PairSums,
    float32,
    inverse,
    together,
)
from pocketrec_training.baselines.scorer import Asked, Build, Scorer, faded
from pocketrec_training.data.dataset import TRAIN, Dataset

_COLUMNS = 512
_LEAST_SHARE = 0.02
"""Events of the past that would weigh less are left out of the fit."""


def slist(data: Dataset) -> Build:
    """Ridge regression of the next item and of the whole history on the faded past.

    SLIST (Choi et al. 2021, sec. 3.4, without their weights of time) minimises
    share |X - X B|^2 + (1 - share) |Y - S B|^2 + l2 |B|^2: X holds a user's items, a row of S the
    events before one, each worth `decay` times the next, and the row of Y that event. With share 0
    it is their SLIT. Parameters: l2, decay, share. The history asked about fades by `decay` too.
    Time grows with n_items^3: 5 s for 4,000 items on one core, 25 s for 12,000 sparse ones.
    """
    sets = together(data)
    tables = lru_cache(maxsize=1)(lambda decay: next_item_tables(data, decay))

    def build(l2: float = 100.0, decay: float = 0.9, share: float = 0.2) -> Scorer:
        past, wanted = tables(decay)
        kept = ridge(_mixed(past, sets, share), _mixed(wanted, sets, share), l2)

        def score(asked: Asked) -> Floats32:
            return np.asarray(faded(asked, len(kept), decay) @ kept, np.float32)

        return score

    return build


def _mixed(table: ItemMatrix, sets: csr_matrix, share: float) -> ItemMatrix:
    """Return (1 - share) * table + share * sets, dense ones in parts to bound memory."""
    if issparse(table):
        return csr_matrix((1 - share) * table + share * sets.astype(np.float64))
    found = (1 - share) * table
    for at in range(0, found.shape[0], _COLUMNS):
        part = sets[at : at + _COLUMNS].toarray()  # symmetric: its rows are its columns
        found[:, at : at + _COLUMNS] += (np.float32(share) * part).T
    return found


def ridge(gram: ItemMatrix, right: ItemMatrix, l2: float) -> Floats32:
    """Return (gram + l2 I)^-1 right, float32; dense arguments are overwritten.

    Raises:
        LinAlgError: gram + l2 I is not positive definite.
    """
    if issparse(right):
        found = inverse(gram, l2)
        columns = csr_matrix(right.T, dtype=found.dtype)
        for at in range(0, len(found), _COLUMNS):  # a row of the product needs that row only
            part = np.ascontiguousarray(found[at : at + _COLUMNS].T)
            found[at : at + _COLUMNS] = (columns @ part).T
        return float32(found)
    gram[np.diag_indices_from(gram)] += l2
    return float32(solve(gram, right, assume_a="pos", overwrite_a=True, overwrite_b=True))


def next_item_tables(data: Dataset, decay: float) -> tuple[ItemMatrix, ItemMatrix]:
    """Return S'S and S'Y of the training fold, [n, n] each, both dense or both sparse.

    A row of S holds the events before one of the training fold, each worth `decay` times the next
    one, and the row of Y that event. S itself is never made: two events of a user with `gap`
    between them meet in the rows of all events after both, so that their sum has a closed form.
    """
    n, user = len(data.items), data.event_users
    trained = data.fold == TRAIN
    longest = int(np.diff(data.offsets).max(initial=1))
    window = longest
    if decay < 1:
        window = 1 if decay == 0 else 1 + math.floor(math.log(_LEAST_SHARE) / math.log(decay))
    # Training events after each event, of the same user: in so many rows of S it can stand.
    ends = np.bincount(user[trained], minlength=data.n_users)
    left = ends[user] - 1 - (np.arange(len(user)) - data.offsets[user])
    rows_of = np.concatenate([[0.0], np.cumsum(float(decay) ** (2 * np.arange(window)))])
    # Pairs (earlier, later); the sum is symmetric, so the other half is added at the end.
    most = _pairs(np.diff(data.offsets), window)
    halves, wanted = PairSums(n, most), PairSums(n, most)
    for gap in range(1, min(window, longest - 1) + 1):
        at = gap + np.flatnonzero((user[gap:] == user[:-gap]) & trained[gap:])
        later, earlier = data.rows[at], data.rows[at - gap]
        wanted.add(later, earlier, np.array(float(decay) ** (gap - 1)))
        rows = rows_of[np.minimum(left[at], window - gap)]
        halves.add(later, earlier, float(decay) ** gap * rows)
    own = np.bincount(data.rows, rows_of[np.clip(left, 0, window)], n)
    gram = _whole(halves.total(), own)
    # The Gram matrix is symmetric. Both are in Fortran order, so that `solve` copies neither.
    return gram.T, wanted.total().T


def _pairs(lengths: np.ndarray[Any, Any], window: int) -> int:
    """Return an upper bound of the pairs of events at most `window` apart."""
    return int((lengths * np.minimum(lengths, window)).sum())


def _whole(half: ItemMatrix, own: np.ndarray[Any, Any]) -> ItemMatrix:
    """Add the other half and the diagonal."""
    if issparse(half):
        return csr_matrix(half + half.T + diags(own))
    gram = half + half.T
    gram[np.diag_indices_from(gram)] += own
    return gram
