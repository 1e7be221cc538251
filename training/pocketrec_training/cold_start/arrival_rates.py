"""How fast items of such content are taken, foretold from the items that are known.

Two regressions from content: one on what arrived and how it then sold, one on what all items have
sold lately. The first is right where new items are novelties, the second where they are more of
what is there; a catalogue's updates are both.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import Ridge

from pocketrec_bundle.floats import Floats32
from pocketrec_training.data.dataset import Dataset

Rates = Callable[[csr_matrix], Floats32]
"""From features of m items, float32 [m, F], to their rates in standard deviations, float32 [m]."""

_ALREADY_THERE = 0.02
"""Share of the events in which an item counts as one that was there when the log began."""

_HEAD_START = 0.5
"""Added to an arrival's time on sale, as a share of the log, so that a lucky first day is tamed."""

_SHRINKAGE_ARRIVALS, _SHRINKAGE_ALL = 30.0, 3.0
"""Ridge penalties; each kind of content has rows of length 1."""

_HALF_LIFE_S = 30 * 86_400
_UNSOLD = 0.3
"""Events granted to an item that had none lately."""

_LEAST_SPREAD = 0.01
"""Of a foretold logarithm; where content tells less, all rates are near zero."""


def arrival_rates(data: Dataset, known: csr_matrix) -> Rates:
    """Learn to foretell how fast a new item will be taken, in standard deviations of past arrivals.

    A ridge regression from content to log(users an arrival won / its time on sale). Items that were
    there when the log began are left out: they tell of what lasts, not of what arrives.

    Args:
        data: the past.
        known: float32 [n_items, features].

    Returns:
        A function from features of new items, float32 [m, features], to their rates, float32 [m];
        zeros where no two items arrived.
    """
    n = len(data.items)
    first = data.first_seen()
    begin, end = int(data.ts.min()), int(data.ts.max())
    arrived = (first > np.quantile(data.ts, _ALREADY_THERE)) & (first <= end)
    if arrived.sum() < 2:
        return lambda fresh: np.zeros(fresh.shape[0], np.float32)
    users = data.event_users
    won = np.bincount(np.unique(users * n + data.rows) % n, minlength=n)[arrived]
    on_sale = (end - first[arrived]) / (end - begin)
    rates = np.log((won + 0.5) / (on_sale + _HEAD_START))
    return _fitted(known[arrived], rates, _SHRINKAGE_ARRIVALS)


def recent_rates(data: Dataset, known: csr_matrix) -> Rates:
    """Learn to foretell what an item sells now: log of its events, the older the less.

    An event of 30 days before the last one of the data counts half.

    Args:
        data: the past.
        known: float32 [n_items, F].
    """
    weights = np.exp2((data.ts - data.ts.max()) / _HALF_LIFE_S)
    events = np.bincount(data.rows, weights, len(data.items))
    return _fitted(known, np.log(events + _UNSOLD), _SHRINKAGE_ALL)


def _fitted(known: csr_matrix, rates: NDArray[np.float64], shrinkage: float) -> Rates:
    """Fit a ridge regression; what it returns has mean 0 and spread 1 on the items given."""
    model = Ridge(alpha=shrinkage, solver="sparse_cg").fit(known, rates)
    spread, centre = max(float(model.predict(known).std()), _LEAST_SPREAD), rates.mean()
    return lambda fresh: np.asarray((model.predict(fresh) - centre) / spread, np.float32)
