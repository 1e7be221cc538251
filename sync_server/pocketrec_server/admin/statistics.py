"""Statistics of a window of days for the admin site and its API: events, bytes, outcomes."""

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from flask import abort
from sqlalchemy import Engine, Select, func, select

from pocketrec_bundle.settings.rollout import RolloutPolicy
from pocketrec_bundle.units import DAY_S
from pocketrec_server.delivery.traffic import DELTA, Sum, by_day
from pocketrec_server.events.stats import event_stats
from pocketrec_server.halting.outcomes import Health
from pocketrec_server.storage.tables import OUTCOME_DAY, REJECTED_DAY

DAYS = 30
WINDOWS = (7, DAYS, 90)
"""Windows in days that the pages offer; all figures of a page are of the selected window."""


def window(text: str | None) -> int:
    """Return the window of days that a query asks for; respond 400 if it is not valid."""
    days = str(DAYS) if text is None else text
    if days not in map(str, WINDOWS):
        abort(400, f"days must be one of {', '.join(map(str, WINDOWS))}")
    return int(days)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Statistics of a window of days.

    Attributes:
        days: days of the window (days since 1970-01-01, UTC); the last one is today.
        events: stored events, by day of the event.
        rejected: events rejected in the window, by reason.
        served: traffic by kind, for each day.
        outcomes: (channel, manifest, kind) -> devices, for each day.
        installs: installs that have ever sent an upload.
    """

    days: list[int]
    events: list[int]
    rejected: dict[str, int]
    served: list[dict[str, Sum]]
    outcomes: dict[tuple[str, str, str], list[int]]
    installs: int

    def bytes_of(self, kind: str) -> list[int]:
        """Return the bytes of one kind, by day."""
        return [day[kind].bytes if kind in day else 0 for day in self.served]

    @property
    def saved(self) -> list[int]:
        """Bytes that deltas saved compared with whole files, by day."""
        deltas = [day.get(DELTA, Sum()) for day in self.served]
        return [max(0, delta.full_bytes - delta.bytes) for delta in deltas]

    def healths(self) -> dict[tuple[str, str], Health]:
        """Return the outcomes by channel and release; releases without outcomes are missing."""
        sums: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        for (channel, manifest, kind), values in self.outcomes.items():
            sums[channel, manifest][kind] = sum(values)
        return {key: Health(**kinds) for key, kinds in sums.items() if any(kinds.values())}


def read(engine: Engine, n_days: int = DAYS) -> Figures:
    """Read the statistics of the last days."""
    today = int(time.time()) // DAY_S
    days = list(range(today - n_days + 1, today + 1))
    served = by_day(engine, days[0])
    devices: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0] * n_days)
    with engine.connect() as connection:
        for row in connection.execute(select(OUTCOME_DAY).where(OUTCOME_DAY.c.day >= days[0])):
            if row.day <= today:
                devices[row.channel, row.manifest, row.outcome][row.day - days[0]] = row.devices
        rejected = {reason: int(n) for reason, n in connection.execute(_rejected(days[0]))}
    uploaded = event_stats(engine, int(time.time()))
    return Figures(
        days=days,
        events=[uploaded.days.get(day, 0) for day in days],
        rejected=rejected,
        served=[served.get(day, {}) for day in days],
        outcomes=dict(devices),
        installs=uploaded.installs,
    )


def devices_now(policy: RolloutPolicy, healths: dict[str, Health]) -> dict[str, int]:
    """Estimate how many reporting devices have each release of a channel now.

    Outcomes do not identify devices. So the estimate for a release is the number of devices that
    installed it and did not revert, minus the maximum of this number over all newer releases.

    Args:
        policy: policy of the channel.
        healths: health of each release since it was published, by manifest.
    """
    estimate, newer = {}, 0
    for stage in policy.releases:
        health = healths.get(stage.manifest, Health())
        stayed = max(0, health.installed - health.reverted)
        estimate[stage.manifest] = max(0, stayed - newer)
        newer = max(newer, stayed)
    return estimate


def _rejected(since_day: int) -> Select[Any]:
    events = func.sum(REJECTED_DAY.c.events)
    query = select(REJECTED_DAY.c.reason, events).where(REJECTED_DAY.c.day >= since_day)
    return query.group_by(REJECTED_DAY.c.reason).order_by(REJECTED_DAY.c.reason)
