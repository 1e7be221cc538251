"""How much each place is looked at, from the items that exploration put at random places.

An explored item is as likely at one open place as at another, so its clicks differ by place through
examination alone (Joachims, Swaminathan, Schnabel 2017, Unbiased Learning-to-Rank with Biased
Feedback, WSDM, section 5: randomised places). One number describes the curve: place ** -eta.
"""

import math
from dataclasses import dataclass

import numpy as np

from pocketrec_experiments.off_policy.logged import Flags, Floats64, Longs

MOST_ETA = 5.0
STEPS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """The fitted curve.

    Attributes:
        eta: exponent, 0..5; 0: all places are looked at alike.
        se: its standard error; infinite if the places do not differ.
        clicks: number of explored impressions with a reward.
        impressions: number of explored impressions.
    """

    eta: float
    se: float
    clicks: int
    impressions: int

    def curve(self, places: int) -> Floats64:
        """Return the examination of the places 1..`places`, float64 [places]."""
        return examination_curve(self.eta, places)


def examination_curve(eta: float, places: int) -> Floats64:
    """Return place ** -eta of the places 1..`places`, float64 [places]."""
    return np.arange(1, places + 1, dtype=np.float64) ** -eta


def fit_examination(place: Longs, clicked: Flags) -> Examination:
    """Fit eta by maximum likelihood of a click's place, given how often each place was explored.

    P(place = k | click) = n_k * k^-eta / sum over j of n_j * j^-eta; the log-likelihood is concave
    in eta, so bisection of its derivative finds the maximum.

    Args:
        place: int64 [n], from 1, of explored impressions.
        clicked: bool [n].
    """
    n_shown = np.bincount(place, minlength=2)[1:].astype(np.float64)
    logs = np.log(np.arange(1, len(n_shown) + 1))
    clicks = int(clicked.sum())
    observed = float(np.log(place[clicked]).mean()) if clicks else 0.0

    def moments(eta: float) -> tuple[float, float]:
        odds = n_shown * np.exp(-eta * logs)
        odds /= odds.sum()
        mean = float(odds @ logs)
        return mean, float(odds @ (logs - mean) ** 2)

    if not clicks:
        return Examination(eta=0.0, se=math.inf, clicks=0, impressions=len(place))
    low, high = 0.0, MOST_ETA
    for _ in range(STEPS):
        middle = (low + high) / 2
        # the mean of log(place) falls with eta
        low, high = (middle, high) if moments(middle)[0] > observed else (low, middle)
    eta = (low + high) / 2
    spread = moments(eta)[1]
    se = 1 / math.sqrt(clicks * spread) if spread > 0 else math.inf
    return Examination(eta=eta, se=se, clicks=clicks, impressions=len(place))
