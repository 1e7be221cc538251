"""Figures of the last days for the admin site and its API: events, bytes, outcomes."""

import time
from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import Engine, select

from sync_server.event_stats import event_stats
from sync_server.served import DELTA, Sum, by_day
from sync_server.tables import OUTCOME_DAY
from sync_server.tokens import DAY_S

DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of the days `days`, the last of which is today (days since 1970-01-01, UTC).

    events: stored, by the events' own day; served: by kind; outcomes: channel, manifest and kind
    -> devices, day by day; installs: that sent anything, ever.
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
    uploaded = event_stats(engine, int(time.time()))
    return Figures(
        days=days,
        events=[uploaded.days.get(day, 0) for day in days],
        rejected=uploaded.rejected,
        served=[served.get(day, {}) for day in days],
        outcomes=dict(told),
        installs=uploaded.installs,
    )
