"""Effect by days since a user's own exposure: does it fade, does it grow?"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.statistics import Effect, Ratio, Sums, effect
from pocketrec_experiments.statistics.metrics import Metric

LEAST_USERS = 50
CLEAR_Z = 2.58
"""A trend beyond this is reported; 1% of the reports without one would say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinceExposure:
    """Effect on what users do on one day after their exposure; not adjusted by the past."""

    since: int
    users: int
    effect: Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Novelty:
    """Effects by day, and whether they change.

    Attributes:
        days: from day 0, the first 24 hours.
        trend_z: slope of the effect over the days in standard errors; None with too few days.
    """

    days: list[SinceExposure]
    trend_z: float | None

    @property
    def changes(self) -> bool:
        """Whether the trend is clearer than chance."""
        return self.trend_z is not None and abs(self.trend_z) > CLEAR_Z


def novelty(connection: Any, metric: Metric, control: str, treatment: str, end_utc: int) -> Novelty:
    """Compare the arms on each day since exposure, among users who had that whole day."""
    names = metric.ratio(cuped=False).quantities
    days, users = connection.table("kept_days"), connection.table("kept_users")
    after = days.filter(days.since >= 0)
    sources = {name: "conversions" if name == "converted" else name for name in names}
    each = after.group_by("user", "since").aggregate(
        **{name: after[of].sum() for name, of in sources.items()}
    )
    if "converted" in names:
        each = each.mutate(converted=(each.converted > 0).cast("float64"))
    whole = users.mutate(whole=(end_utc - users.exposed) // DAY_S).select("user", "arm", "whole")
    t = each.inner_join(whole, "user")
    t = t.filter(t.since < t.whole)
    pairs = [(x, y) for x in names for y in names]
    rows = t.group_by("arm", "since").aggregate(
        **{name: t[name].sum() for name in names},
        **{f"{x}__{y}": (t[x] * t[y]).sum() for x, y in pairs},
    )
    sums = {(row["arm"], int(row["since"])): row for row in rows.to_pyarrow().to_pylist()}
    staying = whole.group_by("arm", "whole").aggregate(n=whole.count())
    counts = [(r["arm"], int(r["whole"]), int(r["n"])) for r in staying.to_pyarrow().to_pylist()]
    last = max((whole for _, whole, _ in counts), default=0)
    ratio = metric.ratio(cuped=False)
    made = []
    for since in range(last):
        arms = []
        for arm in (control, treatment):
            n = sum(k for a, whole, k in counts if a == arm and whole > since)
            arms.append(_sums(n, names, sums.get((arm, since))))
        if min(arms[0].n, arms[1].n) >= LEAST_USERS:
            seen = effect(
                arms[0], arms[1], Ratio(numerator=ratio.numerator, denominator=ratio.denominator)
            )
            if seen.se > 0 and math.isfinite(seen.difference):
                made.append(SinceExposure(since=since, users=arms[0].n + arms[1].n, effect=seen))
    return Novelty(days=made, trend_z=_trend(made))


def _sums(n: int, names: tuple[str, ...], row: dict[str, Any] | None) -> Sums:
    row = row or {}
    return Sums(
        names=names,
        n=n,
        totals=np.array([row.get(name) or 0.0 for name in names]),
        products=np.array([[row.get(f"{x}__{y}") or 0.0 for y in names] for x in names]),
    )


def _trend(made: list[SinceExposure]) -> float | None:
    """Weighted least squares of the difference on the day."""
    if len(made) < 4:
        return None
    x = np.array([each.since for each in made], dtype=np.float64)
    y = np.array([each.effect.difference for each in made])
    w = np.array([each.effect.se for each in made]) ** -2.0
    centred = x - np.average(x, weights=w)
    return float((w * centred * y).sum() / math.sqrt((w * centred**2).sum()))
