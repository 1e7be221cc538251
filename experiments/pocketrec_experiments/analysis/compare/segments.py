"""The deciding metric in parts of the population."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pocketrec_experiments.statistics import Effect, Sums, effect
from pocketrec_experiments.statistics.metrics import Metric

MOST_PARTS = 12
LEAST_USERS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The effect among users of one kind, without a correction for the number of segments.

    Attributes:
        by: "users" (new or existing), or a column of the exposures.
        name: of the segment.
        control_users: users of control in it.
        treatment_users: users of the treatment in it.
        effect: of the deciding metric.
    """

    by: str
    name: str
    control_users: int
    treatment_users: int
    effect: Effect


def segments(
    totals: Any,
    metric: Metric,
    columns: tuple[str, ...],
    control: str,
    treatment: str,
    alpha: float,
) -> list[Segment]:
    """Return the effect in each segment that has `LEAST_USERS` in both arms.

    New users have no event in the days before their exposure.
    """
    ratio = metric.ratio(cuped=True)
    names = ratio.quantities
    made = []
    for by in ("users", *columns):
        key = totals.is_new.ifelse("new", "existing") if by == "users" else totals[by]
        t = totals.mutate(segment=key)
        t = t.filter(t.segment.notnull() & t.arm.isin([control, treatment]))
        rows = (
            t.group_by("segment", "arm")
            .aggregate(
                n=t.count(),
                **{name: t[name].sum() for name in names},
                **{f"{x}__{y}": (t[x] * t[y]).sum() for x in names for y in names},
            )
            .to_pyarrow()
            .to_pylist()
        )
        found = {(str(row["segment"]), row["arm"]): _sums(row, names) for row in rows}
        parts = sorted({name for name, _ in found}, key=lambda name: (-_size(found, name), name))
        for name in parts[:MOST_PARTS]:
            c, t_ = found.get((name, control)), found.get((name, treatment))
            if c is None or t_ is None or min(c.n, t_.n) < LEAST_USERS:
                continue
            seen = effect(c, t_, ratio, alpha=alpha)
            if math.isfinite(seen.se):
                made.append(
                    Segment(by=by, name=name, control_users=c.n, treatment_users=t_.n, effect=seen)
                )
    return made


def segments_of_sums(
    control: Mapping[str, Mapping[str, Sums]],
    treatment: Mapping[str, Mapping[str, Sums]],
    metric: Metric,
    alpha: float,
) -> list[Segment]:
    """Return the effect among new and existing users, from sums by part and metric."""
    made = []
    for name in sorted(control.keys() & treatment.keys()):
        c, t = control[name][metric.name], treatment[name][metric.name]
        seen = effect(c, t, metric.ratio(cuped=True), alpha=alpha)
        if min(c.n, t.n) >= LEAST_USERS and math.isfinite(seen.se):
            made.append(
                Segment(by="users", name=name, control_users=c.n, treatment_users=t.n, effect=seen)
            )
    return made


def _size(found: dict[tuple[str, str], Sums], name: str) -> int:
    return sum(sums.n for (segment, _), sums in found.items() if segment == name)


def _sums(row: dict[str, Any], names: tuple[str, ...]) -> Sums:
    return Sums(
        names=names,
        n=int(row["n"]),
        totals=np.array([float(row[name] or 0.0) for name in names]),
        products=np.array([[float(row[f"{x}__{y}"] or 0.0) for y in names] for x in names]),
    )
