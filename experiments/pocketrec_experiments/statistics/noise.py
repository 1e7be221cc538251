"""Laplace noise on the sums of an arm (central differential privacy).

Dwork, McSherry, Nissim, Smith 2006, "Calibrating Noise to Sensitivity in Private Data Analysis":
a number that one device can change by at most s gets noise of scale s / epsilon. Here two data sets
are neighbours if one device's quantities are replaced; the number of devices is exact. A metric
with m numbers (totals and products) spends epsilon / m on each.
"""

from collections.abc import Mapping

import numpy as np

from pocketrec_experiments.statistics.sums import Sums

LIMITS = {
    "converted": 1.0,
    "revenue": 1000.0,
    "requests": 500.0,
    "impressions": 5000.0,
    "clicks": 500.0,
    "sessions": 200.0,
    "session_s": 100_000.0,
    "slate_ms": 50_000.0,
    "timed": 500.0,
    "fallbacks": 500.0,
    "failures": 500.0,
    "distinct_items": 2000.0,
}
"""A device's quantity is cut to this before it is summed, so one device cannot change more."""
SIGNED = ("revenue",)
"""Quantities that may be negative; one device can change their sum by twice the limit."""


def noisy(
    sums: Sums, epsilon: float, rng: np.random.Generator, limits: Mapping[str, float] = LIMITS
) -> Sums:
    """Return the sums with Laplace noise; intervals from them include the noise.

    The sum of squares of each quantity is raised by the variance of its total's noise, so that the
    variance of a mean has both parts. Negative variances are set to 0 before.

    Args:
        sums: of quantities within the limits.
        epsilon: of this metric, above 0.
        rng: draws the noise.
        limits: of each quantity.
    """
    k = len(sums.names)
    each = epsilon / (k + k * (k + 1) // 2)
    top = np.array([limits[name] for name in sums.names])
    low = np.array([-limits[name] if name in SIGNED else 0.0 for name in sums.names])
    scale = (top - low) / each
    totals = sums.totals + rng.laplace(0.0, scale)
    products = sums.products.copy()
    for i in range(k):
        for j in range(i, k):
            ends = [x * y for x in (low[i], top[i]) for y in (low[j], top[j])]
            least = 0.0 if i == j else min(ends)
            noise = rng.laplace(0.0, (max(ends) - least) / each)
            products[i, j] = products[j, i] = products[i, j] + noise
    n = max(sums.n, 1)
    mean_part = np.outer(totals, totals) / n
    values, vectors = np.linalg.eigh(products - mean_part)
    centred = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return Sums(
        names=sums.names,
        n=sums.n,
        totals=totals,
        products=centred + np.diag(2 * scale**2) + mean_part,
    )
