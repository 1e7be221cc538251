"""Distances between two histograms with the same bins; numpy only.

p and q are shares of the bins. Each count is raised by 1/2 first (Krichevsky-Trofimov), so an empty
bin gives a finite distance.
"""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.integer]
_ADDED = 0.5


def psi(expected: Counts, found: Counts) -> float:
    """Return the population stability index: sum of (q - p) ln(q / p).

    It is 0 for equal shares and has no upper bound. Below 0.1 is stable, above 0.25 a large change,
    by a rule of thumb of credit scoring (Siddiqi 2006, Credit Risk Scorecards).

    Args:
        expected: counts of the reference, integer [bins].
        found: counts of the field, integer [bins].

    Example:
        >>> round(psi(np.array([500, 500]), np.array([250, 750])), 2)
        0.27
    """
    p, q = _shares(expected), _shares(found)
    return float(np.sum((q - p) * np.log(q / p)))


def jensen_shannon(expected: Counts, found: Counts) -> float:
    """Return the Jensen-Shannon divergence in bits, 0..1 (Lin 1991, eq. 3.4).

    Args:
        expected: counts of the reference, integer [bins].
        found: counts of the field, integer [bins].

    Example:
        >>> jensen_shannon(np.array([5, 5]), np.array([50, 50]))
        0.0
    """
    p, q = _shares(expected), _shares(found)
    middle = (p + q) / 2
    return float(np.sum(p * np.log2(p / middle) + q * np.log2(q / middle)) / 2)


def psi_by_chance(expected: Counts, found: Counts) -> float:
    """Return the PSI that samples of these sizes have on average without any drift.

    It is (bins - 1) (1 / n + 1 / m), because n m / (n + m) times the PSI is close to chi-squared
    (Yurdakul 2018, Statistical properties of the population stability index, ch. 3).
    """
    n, m = max(1, int(expected.sum())), max(1, int(found.sum()))
    return (len(expected) - 1) * (1 / n + 1 / m)


def _shares(counts: Counts) -> NDArray[np.float64]:
    raised = counts.astype(np.float64) + _ADDED
    shares: NDArray[np.float64] = raised / raised.sum()
    return shares
