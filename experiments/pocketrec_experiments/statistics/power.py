"""Before the start: how many users and days an experiment needs.

Fixed horizon: users of control n_c with (z_(1-alpha/2) + z_power)^2 = delta^2 / (var (1/n_c +
1/n_t)). Daily looks cost a little more; the factor comes from the sequential bounds themselves.
"""

import functools
import math
from dataclasses import dataclass
from statistics import NormalDist

from pocketrec_bundle.errors import InputError
from pocketrec_experiments.statistics.sequential import crossing_probability, sequential_bounds

_NORMAL = NormalDist()
WEEK_DAYS = 7
MOST_USERS, MOST_DAYS = 10**12, 36_525
"""A plan beyond these is refused: a number in it must be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Size of an experiment.

    Attributes:
        relative: smallest relative effect to be found.
        power: chance to find it.
        alpha: two-sided error rate.
        users: users of the two arms together.
        days: least whole days until so many users are exposed; None without users a day.
        weeks_days: `days` rounded up to whole weeks, so that each weekday counts alike.
        inflation: users of daily looks / users of one look at the end.
    """

    relative: float
    power: float
    alpha: float
    users: int
    days: int | None
    weeks_days: int | None
    inflation: float


def plan(
    *,
    mean: float,
    variance: float,
    relative: float,
    users_per_day: float | None = None,
    share: float = 0.5,
    power: float = 0.8,
    alpha: float = 0.05,
    looks: int = 28,
) -> Plan:
    """Return the users and days that find an effect of `relative`.

    Args:
        mean: metric of the control.
        variance: of the metric for one user; after CUPED if the test uses it.
        relative: effect / mean; the sign does not matter.
        users_per_day: new users of both arms a day.
        share: of the treatment among the users of both arms.
        power: chance to find the effect.
        alpha: two-sided error rate.
        looks: equally spaced looks; 1: one look at the end.

    Raises:
        InputError: a number is out of its range, or no experiment can be that large.

    >>> from pocketrec_experiments.statistics import plan
    >>> plan(mean=0.05, variance=0.05 * 0.95, relative=0.1, looks=1).users
    59652
    """
    ranges = {
        "mean": mean > 0,
        "variance": variance > 0,
        "relative": relative != 0 and math.isfinite(relative),
        "share": 0 < share < 1,
        "power": alpha < power < 1,
        "alpha": 0 < alpha < 1,
        "looks": 1 <= looks <= 365,
        "users_per_day": users_per_day is None or users_per_day > 0,
    }
    for name, holds in ranges.items():
        if not holds:
            raise InputError(
                f"power: {name} is out of its range; see `pocketrec experiment power`."
            )
    factor = inflation(looks, alpha, power)
    reach = _NORMAL.inv_cdf(1 - alpha / 2) + _NORMAL.inv_cdf(power)
    shift = (relative * mean) ** 2
    n = factor * reach**2 * variance * (1 / share + 1 / (1 - share)) / shift if shift else math.inf
    if not n <= MOST_USERS:
        raise InputError(
            f"power: a change of {relative:g} on a mean of {mean:g} needs more than"
            f" {MOST_USERS:.0e} users. Look for a larger effect, or check mean and spread."
        )
    users = math.ceil(n)
    if users_per_day is not None and users > MOST_DAYS * users_per_day:
        raise InputError(
            f"power: {users:,} users at {users_per_day:g} a day take more than {MOST_DAYS:,} days."
            " Look for a larger effect, or check the users a day."
        )
    days = None if users_per_day is None else max(1, math.ceil(users / users_per_day))
    weeks = None if days is None else WEEK_DAYS * math.ceil(days / WEEK_DAYS)
    return Plan(
        relative=relative,
        power=power,
        alpha=alpha,
        users=users,
        days=days,
        weeks_days=weeks,
        inflation=factor,
    )


@functools.cache
def inflation(looks: int, alpha: float, power: float) -> float:
    """Return users needed with `looks` equally spaced looks / users needed with one.

    Jennison and Turnbull 2000, "Group Sequential Methods", sec. 2.3: the squared ratio of drifts.
    """
    if looks == 1:
        return 1.0
    bounds = sequential_bounds([(k + 1) / looks for k in range(looks)], alpha=alpha)
    once = _NORMAL.inv_cdf(1 - alpha / 2) + _NORMAL.inv_cdf(power)
    low, high = once, 2 * once
    while high - low > 1e-4:
        middle = (low + high) / 2
        less = crossing_probability(bounds, middle) < power
        low, high = (middle, high) if less else (low, middle)
    return (high / once) ** 2
