"""Mark impressions that led to an interaction."""

from typing import Any

from pocketrec_experiments.monitoring.windowed import Windowed

WINDOW_S = 7 * 86_400
"""Longest time from an impression to an interaction that it explains."""


def clicked_impressions(
    events: Windowed, *, clicks: tuple[str, ...] = (), window_s: int = WINDOW_S
) -> Any:
    """Return the impressions with a column `clicked`, 0 or 1.

    An interaction that names its request belongs to the impression of that request and item. One
    without a request belongs to the latest impression of the same user and item before it.

    Args:
        events: of the report's window.
        clicks: events that count as a click; empty: all interactions.
        window_s: longest time from the impression to the interaction.
    """
    t = events.interactions
    chosen = t.filter(t.event.isin(clicks)) if clicks else t
    named = chosen.filter(chosen.request_id.notnull())
    by_request = named.group_by("user_id", "request_id", "item_id").aggregate(
        click_ts=named.ts.min()
    )
    shown = events.impressions
    joined = shown.left_join(by_request, ["user_id", "request_id", "item_id"])
    is_near = joined.click_ts.notnull() & (joined.click_ts - joined.ts <= window_s)
    first = joined.select(*[joined[name] for name in shown.columns], by_request=is_near)
    unnamed = chosen.filter(chosen.request_id.isnull())
    later = _latest_before(shown, unnamed, window_s)
    both = first.left_join(later, ["user_id", "item_id", "ts"])
    clicked = both.by_request | both.by_time.fill_null(False)
    marked = both.select(*[first[name] for name in shown.columns], clicked=clicked.cast("int64"))
    return events.connection.create_table("monitored_clicks", marked, temp=True)


def _latest_before(shown: Any, clicks: Any, window_s: int) -> Any:
    """Return user_id, item_id, ts of the latest impression before each click, and by_time."""
    left = clicks.select("user_id", "item_id", click_ts=clicks.ts)
    right = shown.select("user_id", "item_id", shown_ts=shown.ts)
    matched = left.asof_join(
        right, on=left.click_ts >= right.shown_ts, predicates=["user_id", "item_id"]
    )
    near = matched.shown_ts.notnull() & (matched.click_ts - matched.shown_ts <= window_s)
    kept = matched.filter(near).select("user_id", "item_id", ts=matched.shown_ts).distinct()
    return kept.mutate(by_time=True)
