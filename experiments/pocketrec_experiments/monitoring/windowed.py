"""Events of the report's window, with the release and source of each impression."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import ibis

from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis.tables import Events
from pocketrec_experiments.errors import EventsInvalidError

MOST_RELEASES = 20
"""Releases with figures of their own, those with most users; devices can report any name."""
SOURCES = ("model", "retrieval", "fallback", "page", "none")
"""Known sources of slates; others count as "other"."""
OTHER, UNKNOWN = "other", "unknown"
"""Releases beyond `MOST_RELEASES`, and unknown sources. Events that name neither, such as those of
old clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windowed:
    """Events from `from_utc` to before `until_utc`.

    Attributes:
        connection: of DuckDB.
        requests: user_id, ts, day, request_id, release, source, ms, faults.
        impressions: user_id, ts, request_id, item_id, score, sponsored, release, source.
        interactions: user_id, ts, item_id, event, request_id.
        from_utc: begin of the window, unix seconds.
        until_utc: end of the window.
        users: users with an event in the window.
        later: events after `until_utc`, from clocks that are ahead; they are left out.
    """

    connection: Any
    requests: Any
    impressions: Any
    interactions: Any
    from_utc: int
    until_utc: int
    users: int
    later: int

    def days(self) -> int:
        """Return the number of days (UTC) that the window touches."""
        return (self.until_utc - 1) // DAY_S - self.from_utc // DAY_S + 1


def windowed(events: Events, *, days: int, now_utc: int, always: Collection[str] = ()) -> Windowed:
    """Cut the events to the last days before the newest one that is not in the future.

    Args:
        events: the export.
        days: length of the window.
        now_utc: unix seconds; later events are left out.
        always: releases that keep their name however few users they have.

    Raises:
        EventsInvalidError: all events are later than `now_utc`, or there are none.
    """
    connection = events.connection
    all_tables = [events.requests, events.impressions, events.interactions]
    instants = ibis.union(*[t.select("user_id", "ts") for t in all_tables])
    past = instants.filter(instants.ts <= now_utc)
    last = past.ts.max().execute()
    if last is None or last != last:  # NaN for no row
        raise EventsInvalidError(
            "the export has no event before now. Export the events again with `pocketrec events "
            "export`, or set --now."
        )
    until_utc = int(last) + 1
    from_utc = max(0, until_utc - days * DAY_S)

    def inside(table: Any) -> Any:
        return table.filter((table.ts >= from_utc) & (table.ts < until_utc))

    requests = inside(events.requests)
    requests = requests.mutate(
        day=(requests.ts // DAY_S).cast("int64"),
        release=requests.release.fill_null(UNKNOWN),
        source=requests.source.fill_null(UNKNOWN),
    )
    by_users = requests.group_by("release").aggregate(users=requests.user_id.nunique())
    first = by_users.order_by(ibis.desc("users"), "release").limit(MOST_RELEASES)
    kept = [*first.to_pyarrow()["release"].to_pylist(), *always]
    requests = requests.mutate(
        release=requests.release.isin(kept).ifelse(requests.release, OTHER),
        source=requests.source.isin([*SOURCES, UNKNOWN]).ifelse(requests.source, OTHER),
    )
    requests = connection.create_table("monitored_requests", requests, temp=True)
    shown = inside(events.impressions).rename(own_source="source")
    by_request = requests.filter(requests.request_id.notnull()).select(
        "user_id", "request_id", "release", "source"
    )
    joined = shown.left_join(by_request, ["user_id", "request_id"])
    impressions = joined.select(
        "user_id",
        "ts",
        "request_id",
        "item_id",
        "score",
        "sponsored",
        release=joined.release.fill_null(UNKNOWN),
        source=ibis.coalesce(joined.source, joined.own_source, ibis.literal(UNKNOWN)),
    )
    return Windowed(
        connection=connection,
        requests=requests,
        impressions=connection.create_table("monitored_impressions", impressions, temp=True),
        interactions=inside(events.interactions),
        from_utc=from_utc,
        until_utc=until_utc,
        users=int(inside(instants).user_id.nunique().execute()),
        later=int(instants.filter(instants.ts > now_utc).count().execute()),
    )
