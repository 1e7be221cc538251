"""Which release users have, by day, and how many changed to another one."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import ibis

from pocketrec_experiments.monitoring.windowed import Windowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """Releases of the users by day.

    Attributes:
        days: days with slates (days since 1970-01-01, UTC), rising.
        users: users of each release by day, of those with a slate on the day: release -> counts.
        updates: users whose release changed to this one since their previous day with a slate.
        last: users by the release of their last slate in the window.
    """

    days: list[int]
    users: dict[str, list[int]]
    updates: dict[str, list[int]]
    last: dict[str, int]


def adoption(events: Windowed) -> Adoption:
    """Count users by the release of their last slate of each day."""
    t = events.requests
    daily = t.group_by("user_id", "day").aggregate(release=t.release.argmax(t.ts))
    before = ibis.window(group_by="user_id", order_by="day")
    changed = daily.mutate(previous=daily.release.lag().over(before))
    is_update = changed.previous.notnull() & (changed.previous != changed.release)
    counts = changed.group_by("day", "release").aggregate(
        users=changed.count(), updates=is_update.sum()
    )
    rows: list[dict[str, Any]] = counts.to_pyarrow().to_pylist()
    days = sorted({row["day"] for row in rows})
    place = {day: n for n, day in enumerate(days)}
    users: dict[str, list[int]] = defaultdict(lambda: [0] * len(days))
    updates: dict[str, list[int]] = defaultdict(lambda: [0] * len(days))
    for row in rows:
        users[row["release"]][place[row["day"]]] = row["users"]
        updates[row["release"]][place[row["day"]]] = int(row["updates"] or 0)
    last = t.group_by("user_id").aggregate(release=t.release.argmax(t.ts))
    totals = last.group_by("release").aggregate(n=last.count()).to_pyarrow().to_pylist()
    return Adoption(
        days=days,
        users=dict(sorted(users.items())),
        updates=dict(sorted(updates.items())),
        last={row["release"]: row["n"] for row in totals},
    )
