"""How well values are predicted, with 95% bootstrap intervals in which whole lists are redrawn."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from pocketrec_bundle.floats import Floats64
from pocketrec_training.metrics.classification import DRAWS
from pocketrec_training.metrics.significance import redrawn

_BINS = 10


def value_metrics(
    predicted: Floats64,
    actual: Floats64,
    owners: NDArray[np.int64],
    n: int,
    seed: int,
    draws: int = DRAWS,
) -> dict[str, dict[str, float]]:
    """Return value, low and high of each figure.

    `rmse` is in the unit of the values. `spearman` is the rank correlation over all candidates, and
    `spearman_positive` over those with a value above 0; nan where one side is constant. `bias` is
    mean predicted - mean actual. A draw keeps the ranks of the whole sample and weighs them, so
    that nothing is sorted again.

    Args:
        predicted: float64 [m].
        actual: float64 [m], 0 or more.
        owners: int64 [m], the list of each candidate, 0..n-1.
        n: number of lists.
        seed: of the bootstrap.
        draws: bootstrap samples.
    """
    weights = np.vstack([np.ones(n), redrawn(n, seed, draws)])  # first: as it is
    away = predicted - actual
    counts = weights @ np.bincount(owners, minlength=n)
    squares, sums = (weights @ np.bincount(owners, x, n) for x in (away**2, away))
    positive = actual > 0
    return {
        "rmse": _estimate(np.sqrt(squares / np.maximum(counts, 1.0))),
        "bias": _estimate(sums / np.maximum(counts, 1.0)),
        "spearman": _estimate(_spearman(predicted, actual, owners, weights)),
        "spearman_positive": _estimate(
            _spearman(predicted[positive], actual[positive], owners[positive], weights)
        ),
    }


def value_bins(predicted: Floats64, actual: Floats64) -> list[dict[str, float]]:
    """Return mean predicted and mean actual value of ten bins of equal size, by prediction."""
    order = np.argsort(predicted, kind="stable")
    return [
        {
            "n": len(at),
            "predicted": float(predicted[at].mean()),
            "observed": float(actual[at].mean()),
        }
        for at in np.array_split(order, _BINS)
        if len(at)
    ]


def _spearman(
    one: Floats64, two: Floats64, owners: NDArray[np.int64], weights: NDArray[Any]
) -> Floats64:
    """Return the rank correlation of each draw, float64 [draws]; nan without variation."""
    n = weights.shape[1]
    if len(one) < 2:
        return np.full(len(weights), np.nan)
    x, y = (rankdata(values) - (len(one) + 1) / 2 for values in (one, two))
    total, sx, sy, sxx, syy, sxy = (
        weights @ np.bincount(owners, part, n)
        for part in (np.ones(len(x)), x, y, x * x, y * y, x * y)
    )
    total = np.maximum(total, 1.0)
    spread = (sxx - sx * sx / total) * (syy - sy * sy / total)
    found: Floats64 = np.divide(
        sxy - sx * sy / total,
        np.sqrt(np.maximum(spread, 0.0)),
        out=np.full(len(weights), np.nan),
        where=spread > 0,
    )
    return found


def _estimate(values: Floats64) -> dict[str, float]:
    value, drawn = float(values[0]), values[1:][~np.isnan(values[1:])]
    if np.isnan(value) or not len(drawn):
        return {"value": value, "low": value, "high": value}
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"value": value, "low": float(low), "high": float(high)}
