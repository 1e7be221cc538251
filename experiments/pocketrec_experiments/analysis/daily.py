"""Sums of each arm as they were at the end of each day: what a look on that day would have seen.

The sums are cumulative, but only days with activity have rows. With A the user's total up to a day
and A' the total before it, the day adds A - A' to a sum and A B - A' B' to a sum of products.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import ibis
import numpy as np

from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis.activity import PAST_DAY
from pocketrec_experiments.statistics import Sums
from pocketrec_experiments.statistics.metrics import PAST, Metric

_PAIR = "{}__{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DailySums:
    """Sums by arm and metric at the end of each day, the first day first."""

    n_days: int
    by_arm: dict[str, dict[str, list[Sums]]]


def daily_sums(
    connection: Any,
    metrics: Sequence[Metric],
    arms: Sequence[str],
    *,
    from_utc: int,
    end_utc: int,
    revenue_cap: float | None,
) -> DailySums:
    """Compute the sums from `kept_days`, `kept_users` and `totals`."""
    n_days = max(1, -((from_utc - end_utc) // DAY_S))
    quantities = sorted({name for m in metrics for name in _now(m)})
    pairs = sorted({pair for m in metrics for pair in _pairs(m)})
    moving = [pair for pair in pairs if not _is_fixed(pair)]
    fixed = [pair for pair in pairs if _is_fixed(pair)]
    past = sorted(
        {name for m in metrics for name in m.ratio(cuped=True).quantities} - {*quantities}
    )
    grown = _grown(connection, quantities, moving, past, revenue_cap)
    joined = _joined(connection, past, fixed, from_utc)
    size = (len(arms), n_days)
    figures = {name: np.zeros(size) for name in [*quantities, *past, *map(_name, pairs), "n"]}
    for rows in (grown, joined):
        for row in rows:
            if row["arm"] in arms and 0 <= row["day"] < n_days:
                at = arms.index(row["arm"]), int(row["day"])
                for name, value in row.items():
                    if name not in ("arm", "day"):
                        figures[name][at] += value or 0.0
    total = {name: values.cumsum(axis=1) for name, values in figures.items()}
    return DailySums(
        n_days=n_days,
        by_arm={
            arm: {m.name: [_sums(total, m, at, day) for day in range(n_days)] for m in metrics}
            for at, arm in enumerate(arms)
        },
    )


def _now(metric: Metric) -> list[str]:
    return list(metric.ratio(cuped=False).quantities)


def _pairs(metric: Metric) -> list[tuple[str, str]]:
    names = sorted(metric.ratio(cuped=True).quantities)
    return list(combinations_with_replacement(names, 2))


def _is_fixed(pair: tuple[str, str]) -> bool:
    return all(name.startswith(PAST) for name in pair)


def _name(pair: tuple[str, str]) -> str:
    return _PAIR.format(*pair)


def _grown(
    connection: Any,
    quantities: list[str],
    pairs: list[tuple[str, str]],
    past: list[str],
    revenue_cap: float | None,
) -> list[dict[str, Any]]:
    """What each day with activity adds."""
    days = connection.table("kept_days")
    sources = {name: "conversions" if name == "converted" else name for name in quantities}
    after = days.filter(days.day != PAST_DAY)
    each = after.group_by("user", "day").aggregate(
        **{name: after[of].sum() for name, of in sources.items()}
    )
    window = ibis.cumulative_window(group_by=each.user, order_by=each.day)
    each = each.mutate(**{f"c_{name}": each[name].sum().over(window) for name in quantities})
    users = connection.table("totals").select("user", "arm", *past)
    t = each.inner_join(users, "user")
    caps = {"converted": 1.0, "revenue": revenue_cap}

    def cut(value: Any, name: str) -> Any:
        cap = caps.get(name)
        return value if cap is None else ibis.least(ibis.greatest(value, -cap), cap)

    t = t.mutate(
        **{f"b_{name}": cut(t[f"c_{name}"], name) for name in quantities},
        **{f"a_{name}": cut(t[f"c_{name}"] - t[name], name) for name in quantities},
    )

    def end(name: str, when: str) -> Any:
        return t[name] if name.startswith(PAST) else t[f"{when}_{name}"]

    summed = t.group_by("arm", "day").aggregate(
        **{name: (t[f"b_{name}"] - t[f"a_{name}"]).sum() for name in quantities},
        **{
            _name((x, y)): (end(x, "b") * end(y, "b") - end(x, "a") * end(y, "a")).sum()
            for x, y in pairs
        },
    )
    return list(summed.to_pyarrow().to_pylist())


def _joined(
    connection: Any, past: list[str], pairs: list[tuple[str, str]], from_utc: int
) -> list[dict[str, Any]]:
    """What the users exposed on each day add."""
    t = connection.table("totals")
    t = t.mutate(day=(t.exposed - from_utc) // DAY_S)
    summed = t.group_by("arm", "day").aggregate(
        n=t.count(),
        **{name: t[name].sum() for name in past},
        **{_name((x, y)): (t[x] * t[y]).sum() for x, y in pairs},
    )
    return list(summed.to_pyarrow().to_pylist())


def _sums(total: dict[str, Any], metric: Metric, arm: int, day: int) -> Sums:
    names = metric.ratio(cuped=True).quantities
    return Sums(
        names=names,
        n=round(float(total["n"][arm, day])),
        totals=np.array([total[name][arm, day] for name in names]),
        products=np.array(
            [[total[_name((min(x, y), max(x, y)))][arm, day] for y in names] for x in names]
        ),
    )
