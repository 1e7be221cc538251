"""Who is analysed: users by the arm of their first exposure (intention to treat)."""

from dataclasses import dataclass
from typing import Any

import ibis

from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis.bots import bots_of
from pocketrec_experiments.analysis.design import Design
from pocketrec_experiments.analysis.settings import Settings
from pocketrec_experiments.analysis.tables import Events

SALT_DIGITS = 8
QUIET = 0.1
"""The last day has at least this share of the median day's users; later days are those of a few
devices with a clock in the future."""
EARLY_S = 2 * 3600
"""A day is complete if its users are active until at most this much before the usual time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Users of an experiment.

    Attributes:
        users: table user_id, user (int64), arm, exposed (unix seconds), and the segment columns.
        end_utc: events from here on are not in the data, or after the planned end.
        is_over: the data reaches the planned end, and its last day is complete.
        forced: users left out because an arm was forced on their device.
        other_salt: users left out because they were exposed to an earlier draw only.
        off_clock: users left out because they were exposed outside the experiment's times.
        unknown_arm: users left out because their arm is not one of the design.
        in_two_arms: users with exposures to two arms; they count in the first one.
    """

    users: Any
    end_utc: int
    is_over: bool
    forced: int
    other_salt: int
    off_clock: int
    unknown_arm: int
    in_two_arms: int


def population(events: Events, design: Design, settings: Settings) -> Population:
    """Find the users, their arms and the end of the data; settings: who is a bot."""
    connection = events.connection
    t = events.exposures
    t = t.filter(t.experiment == design.id)
    salt = design.salt[:SALT_DIGITS]
    right = t.salt.isnull() | (t.salt == salt)
    per_user = t.group_by("user_id").aggregate(
        forced=t.forced.fill_null(False).any(),
        salted=right.any(),
        inside=(right & t.ts.between(design.from_utc, design.data_until_utc - 1)).any(),
        known=(right & t.arm.isin(list(design.arms))).any(),
        n_arms=t.arm.nunique(where=right & t.arm.isin(list(design.arms))),
        arm=t.arm.argmin(t.ts, where=_counts(t, design, salt)),
        exposed=t.ts.min(where=_counts(t, design, salt)),
        **{name: t[name].argmin(t.ts, where=_counts(t, design, salt)) for name in events.segments},
    )
    connection.create_table("exposed", per_user, temp=True)
    p = connection.table("exposed")
    left = p.filter(~p.forced & p.arm.notnull())
    users = left.select(
        "user_id",
        "arm",
        "exposed",
        *events.segments,
        user=ibis.row_number().over(ibis.window(order_by=left.user_id)),
    )
    connection.create_table("users", users, temp=True)
    gone = ~p.forced & p.arm.isnull()
    counts = (
        p.aggregate(
            forced=p.forced.sum(),
            other_salt=(gone & ~p.salted).sum(),
            off_clock=(gone & p.salted & ~p.inside).sum(),
            unknown_arm=(gone & p.salted & p.inside).sum(),
            in_two_arms=(~p.forced & p.arm.notnull() & (p.n_arms > 1)).sum(),
        )
        .to_pyarrow()
        .to_pylist()[0]
    )
    kept = connection.table("users")
    end_utc, is_over = _end(events, kept, design, settings)
    return Population(
        users=kept,
        end_utc=end_utc,
        is_over=is_over,
        **{name: int(value or 0) for name, value in counts.items()},
    )


def _counts(t: Any, design: Design, salt: str) -> Any:
    """Exposures that put a user into an arm."""
    right = t.salt.isnull() | (t.salt == salt)
    inside = t.ts.between(design.from_utc, design.data_until_utc - 1)
    return right & inside & t.arm.isin(list(design.arms))


def _end(events: Events, users: Any, design: Design, settings: Settings) -> tuple[int, bool]:
    """Return the end of the last day that has most users, and whether the plan is over.

    Bots do not count, and a device counts once a day, however many events it sends: neither can
    move the end. The last day is complete if users are active after it, or until as late as on
    other days.
    """
    until = design.data_until_utc
    connection = events.connection
    active = _active(events, users, design.from_utc, until)
    connection.create_table("active", active, temp=True, overwrite=True)
    active = connection.table("active")
    bots, _ = bots_of(active, "user_id", settings)
    connection.create_table("active_bots", bots, temp=True, overwrite=True)
    bots = connection.table("active_bots")
    days = _days(active.anti_join(bots, "user_id"))
    if not days:
        return until, False
    middle = sorted(n for n, _ in days.values())[len(days) // 2]
    full = {day: late for day, (n, late) in days.items() if n >= QUIET * middle}
    last = max(full)
    end_utc = min(until, design.from_utc + (last + 1) * DAY_S)
    if end_utc < design.until_utc:
        return end_utc, False
    after = _days(_active(events, users.anti_join(bots, "user_id"), until, until + DAY_S))
    others = sorted(late for day, late in full.items() if day != last)
    usual = (
        min(others[len(others) // 2], until - 1 - design.from_utc - last * DAY_S) if others else 0
    )
    n_after = after.get(0, (0, 0.0))[0]
    return end_utc, n_after >= QUIET * middle or full[last] >= usual - EARLY_S


def _active(events: Events, users: Any, from_utc: int, until_utc: int) -> Any:
    """Return a row a user and day: n events, and the second of the day of the last one."""
    seen = ibis.union(
        *(
            t.select("user_id", "ts")
            for t in (events.requests, events.interactions, events.exposures)
        )
    )
    inside = seen.filter(seen.ts.between(from_utc, until_utc - 1)).semi_join(users, "user_id")
    inside = inside.mutate(
        day=(inside.ts - from_utc) // DAY_S, second=(inside.ts - from_utc) % DAY_S
    )
    return inside.group_by("user_id", "day").aggregate(n=inside.count(), late=inside.second.max())


def _days(active: Any) -> dict[int, tuple[int, float]]:
    """Return the users of each day, and the second of the day when 95% of them are done."""
    found = active.group_by("day").aggregate(n=active.count(), late=active.late.quantile(0.95))
    rows = found.to_pyarrow().to_pylist()
    return {int(row["day"]): (int(row["n"]), float(row["late"])) for row in rows}
