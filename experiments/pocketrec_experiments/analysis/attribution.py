"""Which impressions led to a click: by request id, else by user, item and time.

An interaction that names its request is matched to the impression of that request and item. One
without belongs to the latest impression of the same user and item in the window before it. An
impression counts as clicked once, by the first interaction, at the time of that interaction: a
later click does not change what a look at an earlier day saw. An impression from before the
exposure counts as clicked only by a click before the exposure.
"""

from collections.abc import Callable
from typing import Any

import ibis

from pocketrec_experiments.analysis.settings import Settings
from pocketrec_experiments.analysis.tables import Events


def clicked_impressions(events: Events, inside: Callable[[Any], Any], settings: Settings) -> Any:
    """Return the impressions of the experiment's users with `clicked_ts`, null without a click.

    A click is never before its impression: a phone whose clock was set back counts it then.
    """
    connection = events.connection
    t = events.interactions
    clicks = t.filter(t.event.isin(settings.clicks)) if settings.clicks else t
    shown = inside(events.impressions)
    named = clicks.filter(clicks.request_id.notnull())
    by_request = named.group_by("user_id", "request_id", "item_id").aggregate(
        clicked_ts=named.ts.min()
    )
    joined = shown.left_join(by_request, ["user_id", "request_id", "item_id"])
    in_time = joined.clicked_ts - joined.ts <= settings.window_s
    before = (joined.ts >= joined.exposed) | (joined.clicked_ts < joined.exposed)
    directly = joined.clicked_ts.notnull() & in_time & before
    columns = ["user_id", "item_id", "user", "ts", "exposed", "day", "since"]
    at = ibis.greatest(joined.clicked_ts, joined.ts)
    first = joined.select(*columns, clicked_ts=ibis.ifelse(directly, at, ibis.null("int64")))
    unnamed = clicks.filter(clicks.request_id.isnull())
    if not _has_rows(unnamed):
        return first
    connection.create_table("shown", first, temp=True, overwrite=True)
    first = connection.table("shown")
    later = _by_time(first, unnamed, settings)
    keys = ["user", "item_id", "ts"]
    both = first.left_join(later, keys)
    return both.select(
        *[first[name] for name in columns],
        clicked_ts=ibis.least(first.clicked_ts, both.by_time),
    )


def _by_time(shown: Any, clicks: Any, settings: Settings) -> Any:
    """Return user, item_id, ts of the latest impression before each click that names none.

    `by_time` is the time of the first such click.
    """
    users = shown.select("user_id", "user", "exposed").distinct()
    named = clicks.select("user_id", "item_id", click_ts=clicks.ts).inner_join(users, "user_id")
    left = named.select("user", "item_id", "exposed", "click_ts")
    right = shown.select("user", "item_id", shown_ts=shown.ts)
    matched = left.asof_join(
        right, on=left.click_ts >= right.shown_ts, predicates=["user", "item_id"]
    )
    near = matched.shown_ts.notnull() & (matched.click_ts - matched.shown_ts <= settings.window_s)
    near = near & ((matched.shown_ts >= matched.exposed) | (matched.click_ts < matched.exposed))
    kept = matched.filter(near).rename(ts="shown_ts")
    return kept.group_by("user", "item_id", "ts").aggregate(by_time=kept.click_ts.min())


def _has_rows(table: Any) -> bool:
    return len(table.limit(1).to_pyarrow()) > 0
