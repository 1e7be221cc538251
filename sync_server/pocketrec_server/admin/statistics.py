"""Figures of a window of days for the admin site and its API: events, bytes, outcomes."""

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Select, func, select

from pocketrec_bundle.settings.rollout import RolloutPolicy
from pocketrec_bundle.units import DAY_S
from pocketrec_server.delivery.traffic import DELTA, Sum, by_day
from pocketrec_server.events.stats import event_stats
from pocketrec_server.halting.outcomes import Health
from pocketrec_server.storage.tables import OUTCOME_DAY, REJECTED_DAY

DAYS = 30
WINDOWS = (7, DAYS, 90)
"""Days that the pages offer; every figure of a page is of the one that was chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of the days `days`, the last of which is today (days since 1970-01-01, UTC).

    Attributes:
        days: the window.
        events: stored, by the events' own day.
        rejected: events by reason, by the day of the upload.
        served: by kind.
        outcomes: channel, manifest and kind -> devices, day by day.
        installs: that sent anything, ever.
    """

    days: list[int]
    events: list[int]
    rejected: dict[str, int]
    served: list[dict[str, Sum]]
    outcomes: dict[tuple[str, str, str], list[int]]
    installs: int

    def bytes_of(self, kind: str) -> list[int]:
        """Bytes of one kind, day by day."""
        return [day[kind].bytes if kind in day else 0 for day in self.served]

    @property
    def saved(self) -> list[int]:
        """Bytes that deltas saved against whole files, day by day."""
        found = [day.get(DELTA, Sum()) for day in self.served]
        return [max(0, each.full_bytes - each.bytes) for each in found]

    def healths(self) -> dict[tuple[str, str], Health]:
        """Outcomes by channel and release, added up; releases without one are missing."""
        sums: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        for (channel, manifest, kind), values in self.outcomes.items():
            sums[channel, manifest][kind] = sum(values)
        return {key: Health(**kinds) for key, kinds in sums.items() if any(kinds.values())}


def read(engine: Engine, n_days: int = DAYS) -> Figures:
    """Read the figures of the last days."""
    today = int(time.time()) // DAY_S
    days = list(range(today - n_days + 1, today + 1))
    served = by_day(engine, days[0])
    told: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0] * n_days)
    with engine.connect() as connection:
        for row in connection.execute(select(OUTCOME_DAY).where(OUTCOME_DAY.c.day >= days[0])):
            if row.day <= today:
                told[row.channel, row.manifest, row.outcome][row.day - days[0]] = row.devices
        rejected = {reason: int(n) for reason, n in connection.execute(_rejected(days[0]))}
    uploaded = event_stats(engine, int(time.time()))
    return Figures(
        days=days,
        events=[uploaded.days.get(day, 0) for day in days],
        rejected=rejected,
        served=[served.get(day, {}) for day in days],
        outcomes=dict(told),
        installs=uploaded.installs,
    )


def devices_now(policy: RolloutPolicy, healths: dict[str, Health]) -> dict[str, int]:
    """Estimate how many of the devices that report have each release of a channel now.

    No outcome names a device, so a device that moved on is taken from the previous releases:
    those that have a release are those that installed it and did not revert, less the most that
    installed a newer one.

    Args:
        policy: of the channel.
        healths: of all outcomes ever, by manifest.
    """
    found, newer = {}, 0
    for stage in policy.releases:
        health = healths.get(stage.manifest, Health())
        stayed = max(0, health.installed - health.reverted)
        found[stage.manifest] = max(0, stayed - newer)
        newer = max(newer, stayed)
    return found


def _rejected(since_day: int) -> Select[Any]:
    events = func.sum(REJECTED_DAY.c.events)
    wanted = select(REJECTED_DAY.c.reason, events).where(REJECTED_DAY.c.day >= since_day)
    return wanted.group_by(REJECTED_DAY.c.reason).order_by(REJECTED_DAY.c.reason)
