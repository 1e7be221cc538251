"""Before the start: what the metric is now, how much users differ, and how many come a day."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import numpy as np

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis.activity import user_days
from pocketrec_experiments.analysis.currency import main_currency
from pocketrec_experiments.analysis.design import Design
from pocketrec_experiments.analysis.population import Population
from pocketrec_experiments.analysis.settings import Settings
from pocketrec_experiments.analysis.tables import Events, open_events
from pocketrec_experiments.analysis.totals import user_totals
from pocketrec_experiments.statistics import Sums
from pocketrec_experiments.statistics.effects import variance
from pocketrec_experiments.statistics.metrics import PAST, metric_of

ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The metric in the newest days of an export.

    Attributes:
        metric: name.
        days: length of the window.
        users: users with a request in it.
        users_per_day: users / days; an experiment of other length meets other numbers.
        mean: of the metric.
        variance: for one user, after CUPED.
        cuped: whether the users' past was used.
    """

    metric: str
    days: int
    users: int
    users_per_day: float
    mean: float
    variance: float
    cuped: bool


def baseline(events: Path, settings: Settings | None = None, *, days: int = 28) -> Baseline:
    """Measure the metric among users with a request in the newest `days` of an export.

    Each user counts from the first request in these days, as if it were an exposure.

    Args:
        events: folder of `pocketrec events export`.
        settings: metric, events, past days.
        days: length of the window; that of the planned experiment.

    Raises:
        InputError: nobody made a request, or the metric does not vary.
        EventsInvalidError: a column is missing.
    """
    settings = settings or Settings()
    settings.check()
    metric = metric_of(settings.metric)
    with open_events(
        events, threads=settings.threads, memory_mb=settings.memory_mb, any_of=("requests",)
    ) as opened:
        found, design = _everyone(opened, days)
        currency, _ = main_currency(opened, settings)
        user_days(opened, found, design, settings, currency)
        user_totals(opened.connection, found, settings)
        totals = opened.connection.table("totals")
        past = PAST + (metric.denominator or metric.numerator)
        row = totals.aggregate(
            n=totals.count(),
            past=totals[past].sum(),
            varies=totals[PAST + metric.numerator].var(),
            now=totals[metric.numerator].var(),
        )
        facts = row.to_pyarrow().to_pylist()[0]
        if int(facts["n"]) < settings.least_users or not (facts["now"] or 0) > 0:
            raise InputError(
                f"{events}: {facts['n']} users in the newest {days} days, and {settings.metric}"
                f" varies by {facts['now'] or 0:g}; a plan needs {settings.least_users} users and"
                " some variation. Export more days, or give --mean and --sd."
            )
        cuped = (facts["past"] or 0) > 0 and (facts["varies"] or 0) > 0
        ratio = metric.ratio(cuped=cuped)
        sums = _sums(totals, ratio.quantities)
    return Baseline(
        metric=metric.name,
        days=days,
        users=int(facts["n"]),
        users_per_day=int(facts["n"]) / days,
        mean=sums.mean(ratio.numerator) / sums.mean(ratio.denominator),
        variance=variance(sums, ratio),
        cuped=cuped,
    )


def _sums(totals: Any, names: tuple[str, ...]) -> Sums:
    row = (
        totals.aggregate(
            n=totals.count(),
            **{name: totals[name].sum() for name in names},
            **{f"{x}__{y}": (totals[x] * totals[y]).sum() for x in names for y in names},
        )
        .to_pyarrow()
        .to_pylist()[0]
    )
    return Sums(
        names=names,
        n=int(row["n"]),
        totals=np.array([float(row[name] or 0.0) for name in names]),
        products=np.array([[float(row[f"{x}__{y}"] or 0.0) for y in names] for x in names]),
    )


def _everyone(events: Events, days: int) -> tuple[Population, Design]:
    """Return all users with a request in the newest days as one arm."""
    t = events.requests
    last = t.aggregate(last=t.ts.quantile(0.999)).to_pyarrow().to_pylist()[0]["last"]
    end = int(last or 0) // DAY_S * DAY_S + DAY_S
    begins = end - days * DAY_S
    inside = t.filter((t.ts >= begins) & (t.ts < end))
    first = inside.group_by("user_id").aggregate(exposed=inside.ts.min())
    users = first.select(
        "user_id",
        "exposed",
        arm=ibis.literal(ALL),
        user=ibis.row_number().over(ibis.window(order_by=first.user_id)),
    )
    events.connection.create_table("users", users, temp=True, overwrite=True)
    design = Design(id=ALL, salt="", arms={ALL: 1.0}, from_utc=begins, until_utc=end)
    found = Population(
        users=events.connection.table("users"),
        end_utc=end,
        is_over=True,
        forced=0,
        other_salt=0,
        off_clock=0,
        unknown_arm=0,
        in_two_arms=0,
    )
    return found, design
