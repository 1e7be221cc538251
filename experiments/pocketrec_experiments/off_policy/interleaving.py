"""Which of two interleaved rankings users prefer, from the team of each item that earned a reward.

A user's preference is the sign of its rewards for team 1 less those for team 0. The sign test
counts users; the share of wins and the mean preference have intervals clustered by user.

Source: Radlinski, Kurup, Joachims (2008), How Does Clickthrough Data Reflect Retrieval Quality?,
CIKM; the share of wins with half of the ties is the statistic of Chapelle, Joachims, Radlinski, Yue
(2012), Large-scale Validation and Analysis of Interleaved Search Evaluation, TOIS, section 3.2.
"""

import math
from dataclasses import dataclass

import numpy as np

from pocketrec_bundle.errors import InputError
from pocketrec_experiments.off_policy.estimators import Estimate, mean_of_requests
from pocketrec_experiments.off_policy.logged import Floats64, Longs, sum_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """The result of an interleaved experiment.

    Attributes:
        users: number of users with an interleaved slate.
        rewarded: users with a reward; the others have no preference.
        rewards: sums of the rewards, of team 0 and team 1.
        wins: users who preferred team 0 and team 1.
        ties: users with equal rewards for both, above 0.
        share: share of the rewarded users who preferred team 1, a tie counts one half; 0.5: none
            is better.
        preference: mean over rewarded users of (team 1 - team 0) / (team 1 + team 0), -1..1.
        p: two-sided p-value of the sign test on users without ties; 1 without any.
    """

    users: int
    rewarded: int
    rewards: tuple[float, float]
    wins: tuple[int, int]
    ties: int
    share: Estimate
    preference: Estimate
    p: float


def preference(users: Longs, team: Longs, reward: Floats64) -> Preference:
    """Compare two teams.

    Args:
        users: int64 [n], the user of each impression.
        team: int64 [n], 0 or 1.
        reward: float64 [n], 0 or more.

    Raises:
        InputError: a team is not 0 or 1, or a reward is negative or not finite.

    Example:
        >>> found = preference(np.array([1, 1, 2]), np.array([0, 1, 1]), np.array([0.0, 1.0, 2.0]))
        >>> found.wins, found.share.value, found.preference.value, found.p
        ((0, 2), 1.0, 1.0, 0.5)
    """
    if len(team) and not np.isin(team, (0, 1)).all():
        raise InputError("team: expected 0 or 1.")
    if len(reward) and not (np.isfinite(reward).all() and reward.min() >= 0):
        raise InputError("reward: expected finite numbers of 0 or more.")
    names, user = np.unique(users, return_inverse=True)
    n = len(names)
    earned = [sum_by(user, np.where(team == one, reward, 0.0), n) for one in (0, 1)]
    known = earned[0] + earned[1] > 0
    first, second = earned[0][known], earned[1][known]
    each = np.arange(len(first))  # a row a user: the mean's clusters are the users
    signs = np.sign(second - first)
    wins = int((signs < 0).sum()), int((signs > 0).sum())
    return Preference(
        users=n,
        rewarded=len(first),
        rewards=(float(first.sum()), float(second.sum())),
        wins=wins,
        ties=int((signs == 0).sum()),
        share=mean_of_requests(each, (1 + signs) / 2),
        preference=mean_of_requests(each, (second - first) / (second + first)),
        p=sign_test(*wins),
    )


def sign_test(first: int, second: int) -> float:
    """Return the two-sided p-value of so many wins of two sides, if both are as likely.

    Exact: 2 * P(binomial(n, 1/2) <= the smaller number), at most 1.
    """
    n, fewer = first + second, min(first, second)
    logs = np.array(
        [
            math.lgamma(n + 1) - math.lgamma(at + 1) - math.lgamma(n - at + 1)
            for at in range(fewer + 1)
        ]
    )
    return min(1.0, 2 * float(np.exp(logs - n * math.log(2)).sum()))
