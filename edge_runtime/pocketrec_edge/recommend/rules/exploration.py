"""Showing other items now and then, with the exact probability of what was shown.

The probabilities make off-policy evaluation possible: an impression's reward divided by them is an
unbiased estimate of what another policy would have earned (inverse propensity scoring).
"""

import random
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Random(Protocol):
    """What a draw needs of `numpy.random.Generator`."""

    def random(self, size: int, /) -> NDArray[np.float64]:
        """Return numbers in [0, 1)."""

    def permutation(self, n: int, /) -> NDArray[np.int64]:
        """Return 0..n - 1 in a random order."""


class SystemRandom:
    """The system's own randomness; a phone then need not load `numpy.random`."""

    def __init__(self) -> None:
        self._source = random.SystemRandom()

    def random(self, size: int, /) -> NDArray[np.float64]:
        """Return numbers in [0, 1)."""
        return np.array([self._source.random() for _ in range(size)])

    def permutation(self, n: int, /) -> NDArray[np.int64]:
        """Return 0..n - 1 in a random order."""
        return np.array(self._source.sample(range(n), n), np.int64)


@dataclass(frozen=True, slots=True)
class Draw:
    """What stands at each place of a slate.

    other: int64 [k], which of the pool, -1: the slate's own item; propensity: float64 [k], the
    probability that the place holds the item which it now holds.
    """

    other: NDArray[np.int64]
    propensity: NDArray[np.float64]


def explore(k: int, pool: int, epsilon: float, first: int, rng: Random) -> Draw:
    """Draw once.

    Each open place shows another item with probability epsilon, independently; the others come out
    of the pool without replacement. So a place holds its own item with probability 1 - epsilon and
    each of the pool with epsilon / pool. Where the pool is smaller than the places, only the last
    ones are open, so that it never runs out and these numbers stay exact.

    Args:
        k: places of the slate.
        pool: items to draw from, none of them in the slate.
        epsilon: 0..1.
        first: the first place, from 1, that may be open.
        rng: the source of randomness.
    """
    other = np.full(k, -1, np.int64)
    propensity = np.ones(k)
    n_open = min(max(k - first + 1, 0), pool)
    if n_open:
        start = k - n_open
        explores = rng.random(n_open) < epsilon
        other[start:] = np.where(explores, rng.permutation(pool)[:n_open], -1)
        propensity[start:] = np.where(explores, epsilon / pool, 1 - epsilon)
    return Draw(other, propensity)


def place_odds(k: int, pool: int, epsilon: float, first: int) -> NDArray[np.float64]:
    """Return the probability of each item at each place under `explore`, float64 [k, 1 + pool].

    Column 0 is the slate's own item of the place; column 1 + i is item i of the pool. Rows sum to
    1.

    Args:
        k: places of the slate.
        pool: items to draw from.
        epsilon: 0..1.
        first: the first place, from 1, that may be open.
    """
    odds = np.zeros((k, 1 + pool))
    n_open = min(max(k - first + 1, 0), pool)
    odds[:, 0] = 1.0
    if n_open:
        odds[k - n_open :, 0] = 1 - epsilon
        odds[k - n_open :, 1:] = epsilon / pool
    return odds
