"""Predict the interaction rate of new items from their content.

Two ridge regressions from content features, because a catalogue update holds both kinds of items:

- `arrival_rates` learns from items that arrived during the log. It fits novelties.
- `recent_rates` learns from the recent events of all items. It fits items like the present ones.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import Ridge

from pocketrec_bundle.floats import Floats32
from pocketrec_training.data.dataset import Dataset

Rates = Callable[[csr_matrix], Floats32]
"""Maps the features of m items, float32 [m, F], to standardised log rates, float32 [m]."""

_ALREADY_THERE = 0.02
"""An item first seen in this first share of the events counts as older than the log."""

_AGE_PRIOR = 0.5
"""Added to an arrival's age, as a share of the log's duration. It damps the rate of young items."""

_SHRINKAGE_ARRIVALS, _SHRINKAGE_ALL = 30.0, 3.0
"""Ridge penalties. The rows of each kind of content feature have length 1."""

_HALF_LIFE_S = 30 * 86_400
_PRIOR_EVENTS = 0.3
"""Added to each item's recent events, so that the logarithm of 0 events is finite."""

_LEAST_SPREAD = 0.01
"""Minimum divisor of predicted log rates. If content predicts less, all rates are near 0."""


def arrival_rates(data: Dataset, known: csr_matrix) -> Rates:
    """Fit a predictor of the rate of new items, in standard deviations of past arrivals.

    The rate is log(users of the item / its age). Items older than the log are excluded: they are
    survivors, not arrivals.

    Args:
        data: past interactions.
        known: float32 [n_items, F], features of all items.

    Returns:
        The predictor. It returns zeros if fewer than two items arrived during the log.
    """
    n = len(data.items)
    first = data.first_seen()
    begin, end = int(data.ts.min()), int(data.ts.max())
    arrived = (first > np.quantile(data.ts, _ALREADY_THERE)) & (first <= end)
    if arrived.sum() < 2:
        return lambda fresh: np.zeros(fresh.shape[0], np.float32)
    users = data.event_users
    n_users = np.bincount(np.unique(users * n + data.rows) % n, minlength=n)[arrived]
    age = (end - first[arrived]) / (end - begin)
    rates = np.log((n_users + 0.5) / (age + _AGE_PRIOR))
    return _fitted(known[arrived], rates, _SHRINKAGE_ARRIVALS)


def recent_rates(data: Dataset, known: csr_matrix) -> Rates:
    """Fit a predictor of an item's present interaction rate.

    The target is log(recent events). An event's weight halves every 30 days before the last event.

    Args:
        data: past interactions.
        known: float32 [n_items, F], features of all items.
    """
    weights = np.exp2((data.ts - data.ts.max()) / _HALF_LIFE_S)
    events = np.bincount(data.rows, weights, len(data.items))
    return _fitted(known, np.log(events + _PRIOR_EVENTS), _SHRINKAGE_ALL)


def _fitted(known: csr_matrix, rates: NDArray[np.float64], shrinkage: float) -> Rates:
    """Fit a ridge regression; its standardised predictions have spread 1 on the items given."""
    model = Ridge(alpha=shrinkage, solver="sparse_cg").fit(known, rates)
    spread, centre = max(float(model.predict(known).std()), _LEAST_SPREAD), rates.mean()
    return lambda fresh: np.asarray((model.predict(fresh) - centre) / spread, np.float32)
