"""Group-sequential bounds: look as often as you like, and keep the error rate.

The test statistic of look k is compared with a bound c_k. The bounds spend the error rate alpha by
the function of Lan and DeMets (1983) that resembles O'Brien and Fleming's bounds: per side, with
a = alpha / sides, spend(t) = 2 - 2 Phi(z_(1 - a/2) / sqrt(t)) at the fraction t of the planned
information. The joint distribution of the looks is integrated numerically (Armitage, McPherson,
Rowe 1969): the density of the score among paths that crossed no earlier bound, look by look.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from pocketrec_bundle.errors import InputError

Array = npt.NDArray[np.float64]

_NORMAL = NormalDist()
MOST_Z = 8.0
"""Largest bound; P(|Z| > 8) = 1.2e-15 is nothing beside any alpha."""
MOST_LOOKS = 1000
LEAST_SPENT = 1e-11
"""Error rate too small to spend: rounding of the numerical integration."""
LEAST_GROWTH = 0.002
"""Information is taken to grow at least by this share from look to look; finer steps would need
more nodes. Where it does not grow at all, bounds are off by less than 0.01."""
_RULES = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536)
"""Numbers of quadrature nodes; few different ones, because a rule of 1536 takes a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds of the looks.

    Attributes:
        fractions: share of the planned information at each look.
        z: a look ends the experiment if Z (one-sided) or its absolute value (two-sided) is
            beyond it.
        spent: error rate spent up to and including each look.
    """

    fractions: tuple[float, ...]
    z: tuple[float, ...]
    spent: tuple[float, ...]

    def nominal_p(self, look: int) -> float:
        """Return the two-sided p-value that the bound of a look corresponds to."""
        return math.erfc(self.z[look] / math.sqrt(2))


def spending(t: float, alpha: float) -> float:
    """Return the error rate of one side that may be spent up to fraction t, 0..1.

    Args:
        t: fraction of the planned information; beyond 1 counts as 1.
        alpha: error rate of this side: half of a two-sided alpha.
    """
    if t <= 0:
        return 0.0
    z = _NORMAL.inv_cdf(1 - alpha / 2)
    return math.erfc(z / math.sqrt(min(t, 1.0)) / math.sqrt(2))


def sequential_bounds(
    fractions: Sequence[float],
    *,
    alpha: float = 0.05,
    sides: int = 2,
    information: Sequence[float] | None = None,
) -> Bounds:
    """Compute the bounds of the looks made so far.

    Args:
        fractions: share of the plan at each look, rising, such as days / planned days. Looks
            beyond 1 spend nothing.
        alpha: error rate of all looks together.
        sides: 2 for "better or worse", 1 for "worse" of a guardrail.
        information: what determines the correlation of looks, not falling, in any unit; by
            default `fractions`. Looks i < j correlate as sqrt(information_i / information_j).

    Raises:
        InputError: fractions do not rise, information falls, or a number is out of its range.

    >>> from pocketrec_experiments.statistics import sequential_bounds
    >>> [round(z, 3) for z in sequential_bounds([0.5, 1.0]).z]
    [2.963, 1.969]
    """
    information = fractions if information is None else information
    _check(fractions, information, alpha, sides)
    grown = itertools.accumulate(information, lambda a, b: max(b, a * (1 + LEAST_GROWTH)))
    side = alpha / sides
    bounds: list[float] = []
    spent: list[float] = []
    path = _Path(sides)
    for t, amount in zip(fractions, grown, strict=True):
        left = max(spending(t, side) - (spent[-1] if spent else 0.0), 0.0)
        z = path.bound(amount, left)
        used = path.step(amount, z)
        bounds.append(z)
        spent.append((spent[-1] if spent else 0.0) + used)
    return Bounds(
        fractions=tuple(fractions), z=tuple(bounds), spent=tuple(sides * each for each in spent)
    )


def crossing_probability(bounds: Bounds, drift: float, *, sides: int = 2) -> float:
    """Return the power: P(any look is beyond its bound) if E[Z] = drift at fraction 1.

    Args:
        bounds: as planned.
        drift: expected Z of the last look of a full plan.
        sides: as in `sequential_bounds`.
    """
    path = _Path(sides, drift)
    total = 0.0
    for t, z in zip(bounds.fractions, bounds.z, strict=True):
        path.advance(t)
        total += path.beyond(z * math.sqrt(t))
        total += path.below(-z * math.sqrt(t)) if sides == 2 else 0.0
        path.keep(t, z)
    return total


class _Path:
    """Density of the score S = Z sqrt(information) among paths without a crossing so far."""

    def __init__(self, sides: int, drift: float = 0.0) -> None:
        self._sides = sides
        self._drift = drift
        self._nodes: Array = np.zeros(1)
        self._mass: Array = np.ones(1)
        """Quadrature weight times density of each node; at the start all mass is at 0."""
        self._at = 0.0
        self._now = 0.0

    def bound(self, amount: float, target: float) -> float:
        """Return the Z that this look's paths exceed with probability `target`."""
        self.advance(amount)
        root = math.sqrt(amount)
        low, high = -MOST_Z, MOST_Z
        if target < LEAST_SPENT or self.beyond(high * root) >= target:
            return MOST_Z
        while high - low > 1e-10:
            middle = (low + high) / 2
            low, high = (middle, high) if self.beyond(middle * root) > target else (low, middle)
        return high

    def advance(self, amount: float) -> None:
        self._now = amount

    def step(self, amount: float, z: float) -> float:
        """Return the probability beyond the bound, and continue with the others."""
        used = self.beyond(z * math.sqrt(amount))
        self.keep(amount, z)
        return used

    def beyond(self, score: float) -> float:
        """P(no crossing so far and S > score now)."""
        return self._tail(score, 1.0)

    def below(self, score: float) -> float:
        """P(no crossing so far and S < score now)."""
        return self._tail(score, -1.0)

    def _tail(self, score: float, sign: float) -> float:
        added = self._now - self._at
        far = sign * (score - self._nodes - self._drift * added) / math.sqrt(2 * added)
        near = far < 27  # erfc is 0 in float64 beyond
        return float(
            sum(
                0.5 * m * math.erfc(d)
                for m, d in zip(self._mass[near].tolist(), far[near].tolist(), strict=True)
            )
        )

    def keep(self, amount: float, z: float) -> None:
        added, root = amount - self._at, math.sqrt(amount)
        middle = self._drift * amount
        top = z * root
        low = -top if self._sides == 2 else min(middle - MOST_Z * root, top - root)
        high = min(top, middle + MOST_Z * root) if self._drift else top
        low = max(low, middle - MOST_Z * root) if self._drift else low
        spread = math.sqrt(added)
        n = min(math.ceil(4 * (high - low) / spread), _RULES[-1])
        x, weight = _rule(next(each for each in _RULES if each >= n))
        nodes = (high + low) / 2 + (high - low) / 2 * x  # [n]
        weight = weight * (high - low) / 2
        gap = (nodes[:, None] - self._nodes - self._drift * added) / spread  # [n, before]
        density = np.exp(-0.5 * np.minimum(gap * gap, 1400.0)) / (spread * math.sqrt(2 * math.pi))
        self._mass = weight * (density @ self._mass)
        self._nodes, self._at = nodes, amount


@functools.cache
def _rule(n: int) -> tuple[Array, Array]:
    """Return nodes and weights of Gauss and Legendre on -1..1."""
    return np.polynomial.legendre.leggauss(n)


def _check(
    fractions: Sequence[float], information: Sequence[float], alpha: float, sides: int
) -> None:
    if not 0 < alpha < 1 or sides not in (1, 2):
        raise InputError(f"sequential bounds: alpha {alpha}, sides {sides}; expected 0..1, 1 or 2.")
    if not 0 < len(fractions) <= MOST_LOOKS or len(fractions) != len(information):
        raise InputError(
            f"sequential bounds: {len(fractions)} fractions, {len(information)} amounts of"
            f" information; expected as many of each, 1 to {MOST_LOOKS}."
        )
    for name, values in (("fractions", fractions), ("information", information)):
        steps = list(itertools.pairwise(values))
        rises = all(b > a if name == "fractions" else b >= a for a, b in steps)
        if not rises or not all(math.isfinite(v) for v in values) or values[0] <= 0:
            raise InputError(f"sequential bounds: {name} {list(values)} do not rise from above 0.")
