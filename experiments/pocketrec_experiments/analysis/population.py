"""Who is analysed: users by the arm of their first exposure (intention to treat)."""

from dataclasses import dataclass
from typing import Any

import ibis

from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis.design import Design
from pocketrec_experiments.analysis.tables import Events

SALT_DIGITS = 8
QUIET = 0.1
"""The last day has at least this share of the median day's exposed events; later days are those of
a few devices with a clock in the future."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Users of an experiment.

    Attributes:
        users: table user_id, user (int64), arm, exposed (unix seconds), and the segment columns.
        end_utc: events from here on are not in the data, or after the planned end.
        forced: users left out because an arm was forced on their device.
        other_salt: users left out because they were exposed to an earlier draw only.
        off_clock: users left out because they were exposed outside the experiment's times.
        unknown_arm: users left out because their arm is not one of the design.
        in_two_arms: users with exposures to two arms; they count in the first one.
    """

    users: Any
    end_utc: int
    forced: int
    other_salt: int
    off_clock: int
    unknown_arm: int
    in_two_arms: int


def population(events: Events, design: Design) -> Population:
    """Find the users, their arms and the end of the data."""
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
    return Population(
        users=kept,
        end_utc=_end(events, kept, design),
        **{name: int(value or 0) for name, value in counts.items()},
    )


def _counts(t: Any, design: Design, salt: str) -> Any:
    """Exposures that put a user into an arm."""
    right = t.salt.isnull() | (t.salt == salt)
    inside = t.ts.between(design.from_utc, design.data_until_utc - 1)
    return right & inside & t.arm.isin(list(design.arms))


def _end(events: Events, users: Any, design: Design) -> int:
    """Return the end of the last day that has events of most users."""
    counts: dict[int, int] = {}
    for t in (events.requests, events.interactions, events.exposures):
        inside = t.filter(t.ts.between(design.from_utc, design.data_until_utc - 1))
        inside = inside.semi_join(users, "user_id")
        days = inside.group_by(day=((inside.ts - design.from_utc) // DAY_S)).aggregate(
            n=ibis._.count()
        )
        for row in days.to_pyarrow().to_pylist():
            counts[int(row["day"])] = counts.get(int(row["day"]), 0) + int(row["n"])
    if not counts:
        return design.data_until_utc
    middle = sorted(counts.values())[len(counts) // 2]
    last = max(day for day, n in counts.items() if n >= QUIET * middle)
    return min(design.data_until_utc, design.from_utc + (last + 1) * DAY_S)
