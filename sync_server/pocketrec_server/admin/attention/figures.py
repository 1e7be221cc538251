"""Figures of an experiment: exposed devices, sample ratio, bounds, looks at guardrails."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import Engine, case, distinct, func, select

from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_bundle.settings.experiment_arms import Guardrail
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.statistics import sample_ratio, sequential_bounds
from pocketrec_experiments.statistics.metrics import METRICS, Metric
from pocketrec_server.halting.guard import subject_of
from pocketrec_server.halting.looks import Look, latest, name_of
from pocketrec_server.storage.tables import EVENT

ALPHA = 0.05
"""Two-sided error rate of all looks at all treatments, the default of the report."""
MOST_LOOKS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rail:
    """One guardrail of one arm.

    Attributes:
        arm: name of the arm.
        guardrail: metric, limit and error rate.
        look: the latest look at it, or None before the first one.
    """

    arm: str
    guardrail: Guardrail
    look: Look | None

    @property
    def metric(self) -> Metric:
        """The metric, for its title and the form of its values."""
        return METRICS[self.guardrail.metric]


def rails_of(engine: Engine, channel: str, one: Experiment) -> list[Rail]:
    """Return each guardrail of each treatment with the latest look at its present limit."""
    found = latest(engine, subject_of(channel, one)) if one.guardrails else []
    looks = {(look.arm, look.guardrail): look for look in found}
    return [
        Rail(arm=arm.name, guardrail=each, look=looks.get((arm.name, name_of(each))))
        for arm in one.arms[1:]
        for each in one.guardrails
    ]


def devices_by_arm(engine: Engine, one: Experiment, now: float) -> dict[str, int]:
    """Count the exposed devices of each arm; see `exposed`."""
    names, times = tuple(arm.name for arm in one.arms), (one.from_utc, one.until_utc)
    return exposed(engine, one.id, one.salt, names, times, int(now) // 60)


def mismatch(one: Experiment, devices: Mapping[str, int]) -> float | None:
    """Return the p-value of the sample ratio; None without exposed devices."""
    counts, shares = [devices[arm.name] for arm in one.arms], [arm.share for arm in one.arms]
    return sample_ratio(counts, shares).p if any(counts) and min(shares) > 0 else None


def bounds(one: Experiment, now: float) -> tuple[float, float] | None:
    """Return |z| that decides today, and at the end, with a look on each day as in the report.

    None before the begin, and for a plan of more than MOST_LOOKS days.
    """
    planned = max(1, math.ceil((one.until_utc - one.from_utc) / DAY_S))
    if now <= one.from_utc or planned > MOST_LOOKS:
        return None
    z = _daily(planned, len(one.arms) - 1)
    return z[min(planned, math.ceil((now - one.from_utc) / DAY_S)) - 1], z[-1]


@lru_cache(maxsize=64)
def _daily(planned: int, treatments: int) -> tuple[float, ...]:
    fractions = [day / planned for day in range(1, planned + 1)]
    return sequential_bounds(fractions, alpha=ALPHA / treatments).z


@lru_cache(maxsize=64)
def exposed(
    engine: Engine,
    name: str,
    salt: str,
    arms: tuple[str, ...],
    times: tuple[int, int],
    _minute: int,
) -> dict[str, int]:
    """Count the devices with consent that were exposed to each arm; cached for a minute.

    Forced devices and exposures of an earlier salt do not count. LIKE finds the keys, because
    PostgreSQL rejects JSON with a NUL character, which an upload may have.

    Args:
        engine: the database.
        name: id of the experiment.
        salt: of the experiment.
        arms: names of its arms.
        times: its begin and end, unix seconds; the end is exclusive.
    """
    column = EVENT.c
    of_arm = [
        func.count(distinct(case((column.context.contains(f'"arm":"{arm}"'), column.install))))
        for arm in arms
    ]
    query = select(*of_arm).where(
        column.kind == "exposure",
        column.event == name,
        column.ts >= times[0],
        column.ts < times[1],
        column.context.contains(f'"salt":"{salt[:8]}"'),
        ~column.context.contains('"forced":true'),
    )
    with engine.connect() as connection:
        counts = connection.execute(query).one()
    return dict(zip(arms, counts, strict=True))
