"""Is B better than A, or lucky? A paired bootstrap and a permutation test over the same cases."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats64

BOOTSTRAP_DRAWS = 2_000
PERMUTATION_DRAWS = 10_000
_CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """B against A in one metric.

    a, b: means over cases; low, high: 95% paired bootstrap interval of b - a; p: two-sided, of the
    permutation test; wins, losses: cases in which B is better, worse.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    wins: int
    losses: int


def compare_means(
    a: Mapping[str, Floats64], b: Mapping[str, Floats64], seed: int
) -> dict[str, Difference]:
    """Compare two methods metric by metric; all arrays are [n] over the same cases in one order."""
    names = list(a)
    differences = np.stack([b[name] - a[name] for name in names], axis=1)  # [n, metrics]
    low, high = paired_bootstrap(differences, seed)
    p = permutation_test(differences, seed)
    return {
        name: Difference(
            a=float(a[name].mean()),
            b=float(b[name].mean()),
            difference=float(differences[:, i].mean()),
            low=float(low[i]),
            high=float(high[i]),
            p=float(p[i]),
            wins=int((differences[:, i] > 0).sum()),
            losses=int((differences[:, i] < 0).sum()),
        )
        for i, name in enumerate(names)
    }


def paired_bootstrap(
    differences: Floats64, seed: int, draws: int = BOOTSTRAP_DRAWS
) -> tuple[Floats64, Floats64]:
    """Return the 95% percentile interval of each column's mean (Efron 1979), cases redrawn.

    differences: float64 [n, metrics]; one draw serves all metrics.
    """
    rng, n = np.random.default_rng([seed, 1]), len(differences)
    means = np.stack(
        [np.bincount(rng.integers(0, n, n), minlength=n) @ differences / n for _ in range(draws)]
    )
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return low, high


def redrawn(n: int, seed: int, draws: int = BOOTSTRAP_DRAWS) -> NDArray[np.int64]:
    """Return how often each of n cases stands in each bootstrap sample, int64 [draws, n].

    For figures that are no mean of cases: a ratio of means, or an AUC pooled over them.
    """
    rng = np.random.default_rng([seed, 3])
    return rng.multinomial(n, np.full(n, 1.0 / n), draws)


def permutation_test(differences: Floats64, seed: int, draws: int = PERMUTATION_DRAWS) -> Floats64:
    """Return the two-sided p of each column's mean (Fisher's randomisation; Smucker et al. 2007).

    If A and B were alike, each case's sign would be a coin's toss. The observed signs count as one
    draw, so p is never 0.
    """
    rng, n = np.random.default_rng([seed, 2]), len(differences)
    observed = np.abs(differences.sum(0))
    # Sums of the same numbers in another order differ in their last digits; they are ties.
    observed -= 1e-9 * np.abs(differences).sum(0)
    beyond = np.ones(differences.shape[1])
    for at in range(0, draws, _CHUNK):
        signs = rng.integers(0, 2, (min(_CHUNK, draws - at), n), dtype=np.int8) * 2.0 - 1.0
        beyond += (np.abs(signs @ differences) >= observed).sum(0)
    return np.asarray(beyond / (draws + 1))
