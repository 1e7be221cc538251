"""The daily looks at a metric, with bounds that allow to look every day."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis.design import Design, Guard
from pocketrec_experiments.statistics import (
    Effect,
    Margin,
    Ratio,
    Sums,
    effect,
    margin,
    sequential_bounds,
)
from pocketrec_experiments.statistics.metrics import METRICS, Metric

LEAST_USERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One day's look at one treatment.

    Attributes:
        day: days since the start, from 1.
        control_users: users of control up to this day.
        treatment_users: users of the treatment.
        effect: with intervals that hold for all looks together (repeated confidence intervals,
            Jennison and Turnbull 1989).
        bound: a larger absolute value of z ends the experiment.
        is_crossed: whether it is.
    """

    day: int
    control_users: int
    treatment_users: int
    effect: Effect
    bound: float
    is_crossed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLook:
    """One day's look at one guardrail of one treatment."""

    metric: str
    day: int
    margin: Margin
    bound: float
    is_crossed: bool


def looks(
    control: Sequence[Sums],
    treatment: Sequence[Sums],
    metric: Metric,
    design: Design,
    *,
    alpha: float,
    cuped: bool = True,
) -> list[Look]:
    """Return the look of each day on which both arms give an interval.

    Args:
        control: sums at the end of each day.
        treatment: likewise.
        metric: what is compared.
        design: its times say which share of the plan a day is.
        alpha: two-sided error rate of all looks.
        cuped: adjust by the users' past.
    """
    ratio = metric.ratio(cuped=cuped)
    found = {}
    for day, (c, t) in enumerate(zip(control, treatment, strict=True), 1):
        if min(c.n, t.n) >= LEAST_USERS:
            first = effect(c, t, ratio)
            if first.se > 0 and first.control != 0:
                found[day] = (c, t, first)
    days = [day for day in found if day <= _planned_days(design)]
    # The squared relative precision: looks at a growing mean then correlate as sqrt(I1 / I2).
    amounts = [(found[day][2].control / found[day][2].se) ** 2 for day in days]
    bounds = _bounds(days, amounts, design, alpha, sides=2)
    made = []
    for day, bound in zip(days, bounds, strict=True):
        c, t, _ = found[day]
        seen = effect(c, t, ratio, critical=bound)
        made.append(
            Look(
                day=day,
                control_users=c.n,
                treatment_users=t.n,
                effect=seen,
                bound=bound,
                is_crossed=abs(seen.z) > bound,
            )
        )
    return made


def guard_looks(
    control: Sequence[Sums],
    treatment: Sequence[Sums],
    guard: Guard,
    design: Design,
    *,
    cuped: bool = True,
) -> list[GuardLook]:
    """Return the daily looks at a guardrail: is the treatment worse by more than the limit?"""
    metric = METRICS[guard.metric]
    ratio = metric.ratio(cuped=cuped)
    compare = _comparison(ratio, guard, higher=bool(metric.is_higher_better))
    found = {}
    for day, (c, t) in enumerate(zip(control, treatment, strict=True), 1):
        if day <= _planned_days(design) and min(c.n, t.n) >= LEAST_USERS:
            seen = compare(c, t)
            if math.isfinite(seen.z):
                found[day] = (seen, (max(abs(seen.limit), seen.se) / seen.se) ** 2)
    bounds = _bounds(list(found), [n for _, n in found.values()], design, guard.alpha, sides=1)
    return [
        GuardLook(metric=metric.name, day=day, margin=seen, bound=bound, is_crossed=seen.z > bound)
        for (day, (seen, _)), bound in zip(found.items(), bounds, strict=True)
    ]


def _comparison(ratio: Ratio, guard: Guard, *, higher: bool) -> Callable[[Sums, Sums], Margin]:
    def compare(control: Sums, treatment: Sums) -> Margin:
        return margin(control, treatment, ratio, worse_by=guard.worse_by, is_higher_better=higher)

    return compare


def first_crossing(made: Sequence[Look]) -> Look | None:
    """Return the first look that ends the experiment; None if it goes on."""
    return next((look for look in made if look.is_crossed), None)


def _planned_days(design: Design) -> int:
    return max(1, math.ceil((design.until_utc - design.from_utc) / DAY_S))


def _bounds(
    days: Sequence[int], amounts: Sequence[float], design: Design, alpha: float, *, sides: int
) -> list[float]:
    if not days:
        return []
    planned = _planned_days(design)
    rising = list(itertools.accumulate(amounts, max))
    found = sequential_bounds(
        [day / planned for day in days], alpha=alpha, sides=sides, information=rising
    )
    return list(found.z)
