"""Rules that build a slate item by item, each step taking what adds most to what is there.

All return positions, best first, at most k; ties go to the position that came first. Each step
updates what it needs by one row, so a selection costs about k * n * d and never n * n * d.
"""

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats32, Floats64
from pocketrec_bundle.products import inner

Positions = NDArray[np.int64]
MAX_GROUPS = 128
"""Most categories of a history that a slate is calibrated to, so that a step stays short."""
LEAST_VOLUME = 1e-10
"""What a determinant may at least grow by: items in the span of those chosen count as this."""
SMOOTHING = 0.01
"""Alpha of Steck 2018: so much of the taste is mixed into the slate's shares, so that none is 0."""


def mmr(values: Floats64, units: Floats32, share: float, k: int) -> Positions:
    """Select by maximal marginal relevance (Carbonell and Goldstein 1998).

    Each step takes the item with the largest share * relevance - (1 - share) * its largest cosine
    with an item chosen before.

    Args:
        values: float64 [n], relevance.
        units: float32 [n, d], of length 1.
        share: lambda; 1 is the order of relevance, 0 looks at likeness alone.
        k: most items.
    """
    similar = np.zeros(len(values))  # nothing is chosen: nobody is like it
    gain = share * values
    chosen: list[int] = []
    for step in range(min(k, len(values))):
        best = int(np.argmax(gain))
        chosen.append(best)
        cosines = inner(units, units[best]).astype(np.float64)
        similar = np.maximum(similar, cosines) if step else cosines
        gain = share * values - (1 - share) * similar
        gain[chosen] = -np.inf
    return np.array(chosen, np.int64)


def dpp(values: Floats64, units: Floats32, share: float, k: int) -> Positions:
    """Select by a determinantal point process: greedy MAP, incremental Cholesky (Chen et al. 2018).

    Each step takes the item with the largest share * relevance + (1 - share) * log(growth of the
    determinant of S), S = (1 + cosine) / 2; that is their kernel with log-linear quality.

    Args:
        values: float64 [n], relevance.
        units: float32 [n, d], of length 1.
        share: theta; 1 is the order of relevance, 0 looks at diversity alone.
        k: most items.
    """
    wide = units.astype(np.float64)
    n, k = len(values), min(k, len(values))
    growth = (1 + (wide * wide).sum(axis=1)) / 2  # d_i squared of the paper
    rows = np.zeros((k, n))  # c of the paper, a row a chosen item
    left = np.ones(n, np.bool_)
    chosen: list[int] = []
    for step in range(k):
        gain = share * values + (1 - share) * np.log(np.maximum(growth, LEAST_VOLUME))
        best = int(np.argmax(np.where(left, gain, -np.inf)))
        chosen.append(best)
        left[best] = False
        similar = (1 + inner(wide, wide[best])) / 2
        done = rows[:step]
        rows[step] = (similar - inner(done.T, done[:, best])) / np.sqrt(
            max(growth[best], LEAST_VOLUME)
        )
        growth = growth - rows[step] ** 2
    return np.array(chosen, np.int64)


def calibrated(
    values: Floats64, marks: Floats64, taste: Floats64, weight: float, k: int
) -> Positions:
    """Select a calibrated slate (Steck 2018): relevance against how far shares are from taste.

    Each step takes the item with which (1 - weight) * sum of relevance - weight * KL(taste, shares
    of the slate) is largest.

    Args:
        values: float64 [n], relevance.
        marks: float64 [n, G], the shares of each item's groups; a row sums to 1, or 0 without any.
        taste: float64 [G], the shares in the history; all 0: the order of relevance.
        weight: lambda, 0..1.
        k: most items.
    """
    known = taste > 0  # the others add nothing to the divergence
    marks, taste = marks[:, known], taste[known]
    total = np.zeros(len(taste))
    left = np.ones(len(values), np.bool_)
    chosen: list[int] = []
    for step in range(min(k, len(values))):
        shares = (1 - SMOOTHING) * (total + marks) / (step + 1) + SMOOTHING * taste  # [n, G]
        divergence = (taste * np.log(taste / shares)).sum(axis=1)
        gain = (1 - weight) * values - weight * divergence
        best = int(np.argmax(np.where(left, gain, -np.inf)))
        chosen.append(best)
        left[best] = False
        total = total + marks[best]
    return np.array(chosen, np.int64)


def commonest(codes: NDArray[np.int64]) -> tuple[Positions, Positions]:
    """Return the codes above 0 that stand most often in an array, rising, and how often each does.

    At most `MAX_GROUPS`; ties: the lower code.
    """
    found, counts = np.unique(codes[codes > 0], return_counts=True)
    most = np.sort(np.lexsort((found, -counts))[:MAX_GROUPS])
    return found[most], counts[most]


def category_marks(codes: NDArray[np.int64], wanted: NDArray[np.int64]) -> Floats64:
    """Return the share of an item's categories that each wanted one is, float64 [n, len(wanted)].

    codes: integer [n, K], 0 = padding; wanted: codes above 0, rising, each once.
    """
    found = np.zeros((len(codes), len(wanted) + 1))  # the last column is for all others
    at = np.searchsorted(wanted, codes)
    known = np.append(wanted, 0)[at] == codes
    places = np.where(known & (codes > 0), at, len(wanted))
    np.add.at(found, (np.arange(len(codes))[:, None], places), 1.0)
    marks: Floats64 = found[:, :-1] / np.maximum((codes > 0).sum(axis=1, keepdims=True), 1)
    return marks
