"""Sample-ratio mismatch: does the number of users of the arms fit the shares?

A mismatch means that an arm loses or gains users, for example because it crashes; its other
figures then compare different people (Fabijan et al. 2019, "Diagnosing Sample Ratio Mismatch in
Online Controlled Experiments"). Pearson's chi-square test.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pocketrec_bundle.errors import InputError

ALPHA = 0.001
"""Below this p-value the report gives no verdict; small, because the test is made every day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """Users by arm against the planned shares.

    Attributes:
        counts: users of each arm.
        expected: users that the shares predict.
        p: of a deviation at least as large by chance.
    """

    counts: tuple[int, ...]
    expected: tuple[float, ...]
    p: float

    @property
    def is_off(self) -> bool:
        """True if chance does not explain the numbers."""
        return self.p < ALPHA


def sample_ratio(counts: Sequence[int], shares: Sequence[float]) -> SampleRatio:
    """Test the numbers of users; shares may have any positive sum.

    Raises:
        InputError: fewer than two arms, or a share that is not positive.

    >>> from pocketrec_experiments.statistics import sample_ratio
    >>> round(sample_ratio([821588, 815482], [1, 1]).p * 1e6, 1)
    1.8
    """
    if len(counts) != len(shares) or len(counts) < 2 or min(shares) <= 0:
        raise InputError(f"sample ratio: counts {counts}, shares {shares}; give two or more arms.")
    n, whole = sum(counts), sum(shares)
    expected = tuple(n * share / whole for share in shares)
    if not n:
        return SampleRatio(counts=tuple(counts), expected=expected, p=1.0)
    x = sum((c - e) ** 2 / e for c, e in zip(counts, expected, strict=True))
    return SampleRatio(
        counts=tuple(counts), expected=expected, p=chi_square_tail(x, len(counts) - 1)
    )


def chi_square_tail(x: float, freedom: int) -> float:
    """Return P(chi-square >= x) with `freedom` degrees of freedom.

    Abramowitz and Stegun 26.4.4 and 26.4.5: a finite sum, exact.
    """
    if x <= 0:
        return 1.0
    half = x / 2
    if freedom % 2:
        total, term = math.erfc(math.sqrt(half)), math.sqrt(half / math.pi) * 2
        start = 3
    else:
        total, term = 0.0, 1.0
        start = 2
    added = 0.0
    for k in range(start, freedom + 1, 2):
        added += term
        term *= x / k
    return total + math.exp(-half) * added
