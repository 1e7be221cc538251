"""What each user did on each day, in the arm and before it.

One row a user and day with activity, keyed by the days since the experiment's start and since the
user's own exposure; days before the exposure are one row with day -1. Nothing after the exposure is
in day -1: a session in progress is split there, and a click after the exposure on an impression
from before it does not count.
"""

from typing import Any

import ibis

from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis.attribution import clicked_impressions
from pocketrec_experiments.analysis.currency import named_currencies
from pocketrec_experiments.analysis.design import Design
from pocketrec_experiments.analysis.population import Population
from pocketrec_experiments.analysis.settings import Settings
from pocketrec_experiments.analysis.tables import Events
from pocketrec_experiments.statistics.metrics import QUANTITIES

FALLBACKS = ("fallback", "none")
"""Sources of a slate that no model made."""
MOST_MS = 60_000.0
"""A slate's latency is cut here: a phone that slept in between is not a slow phone."""
PAST_DAY = -1
_COLUMNS = (*(name for name in QUANTITIES if name != "converted"), "conversions", "n_events")


def user_days(
    events: Events, found: Population, design: Design, settings: Settings, currency: str | None
) -> Any:
    """Create the table `user_days`: user, day, since, and the sum of each quantity.

    Args:
        events: the export.
        found: users and the end of the data.
        design: the experiment.
        settings: which events are clicks and conversions.
        currency: of the revenue; amounts in another one count as conversions without revenue.

    Returns:
        The table; `n_events` are requests and interactions.
    """
    connection = events.connection
    inside = _Inside(found, design, settings)
    parts = [
        _requests(inside(events.requests)),
        *_impressions(inside, events, settings),
        _interactions(inside(events.interactions), settings, currency),
        _sessions(inside, events),
    ]
    union = ibis.union(*[_full(part) for part in parts])
    keys = ["user", "day", "since"]
    summed = union.group_by(keys).aggregate(**{name: union[name].sum() for name in _COLUMNS})
    connection.create_table("user_days", summed, temp=True, overwrite=True)
    return connection.table("user_days")


class _Inside:
    """Events of the experiment's users, from the past window to the end, with their day."""

    def __init__(self, found: Population, design: Design, settings: Settings) -> None:
        self._users = found.users.select("user_id", "user", "exposed")
        self._from, self.until_utc = design.from_utc, found.end_utc
        self._past_s = settings.past_days * DAY_S

    def __call__(self, table: Any) -> Any:
        joined = table.inner_join(self._users, "user_id")
        low = joined.exposed - self._past_s
        kept = joined.filter((joined.ts >= low) & (joined.ts < self.until_utc))
        return self.dated(kept)

    def dated(self, table: Any) -> Any:
        """Add day and since; both are -1 before the exposure."""
        past = table.ts < table.exposed
        return table.mutate(
            day=ibis.ifelse(past, PAST_DAY, (table.ts - self._from) // DAY_S),
            since=ibis.ifelse(past, PAST_DAY, (table.ts - table.exposed) // DAY_S),
        )


def _full(part: Any) -> Any:
    """Give a part all columns, in order."""
    there = set(part.columns)
    zero = ibis.literal(0.0)
    return part.select(
        user=part.user.cast("int64"),
        day=part.day.cast("int32"),
        since=part.since.cast("int32"),
        **{name: part[name].cast("float64") if name in there else zero for name in _COLUMNS},
    )


def _requests(t: Any) -> Any:
    return t.group_by("user", "day", "since").aggregate(
        requests=t.count(),
        n_events=t.count(),
        slate_ms=ibis.least(t.ms, MOST_MS).sum().fill_null(0.0),
        timed=t.ms.count(),
        fallbacks=t.source.isin(FALLBACKS).fill_null(False).sum(),
        failures=(t.faults.length().fill_null(0) > 0).sum(),
    )


def _impressions(inside: _Inside, events: Events, settings: Settings) -> tuple[Any, Any]:
    """Return the impressions by day, and the clicks on them by the day of the click."""
    shown = clicked_impressions(events, inside, settings)
    clicks = shown.filter(shown.clicked_ts.notnull())
    clicks = clicks.select("user", "exposed", ts=clicks.clicked_ts)
    clicks = inside.dated(clicks.filter(clicks.ts < inside.until_utc))
    keys = ["user", "day", "since"]
    return (
        shown.group_by(*keys).aggregate(impressions=shown.count()),
        clicks.group_by(*keys).aggregate(clicks=clicks.count()),
    )


def _interactions(t: Any, settings: Settings, currency: str | None) -> Any:
    t = named_currencies(t, settings)
    bought = t.event.isin(settings.conversions)
    ours = bought if currency is None else bought & (t.currency.isnull() | (t.currency == currency))
    return t.group_by("user", "day", "since").aggregate(
        n_events=t.count(),
        conversions=bought.sum(),
        revenue=t.value.sum(where=ours & t.value.notnull()).fill_null(0.0),
    )


def _sessions(inside: _Inside, events: Events) -> Any:
    """Sessions at the day of their first event; one in progress is split at the exposure.

    Its second part begins at the exposure. Otherwise an effect on its length would be in the past.
    """
    both = ibis.union(
        *[
            t.select("user_id", "ts", "session_id").filter(t.session_id.notnull())
            for t in (events.requests, events.interactions)
        ]
    )
    t = inside(both)
    parts = t.group_by("user", "session_id", "exposed", is_past=t.day == PAST_DAY).aggregate(
        day=t.day.min(), since=t.since.min(), first=t.ts.min(), last=t.ts.max()
    )
    began = parts["first"].min().over(ibis.window(group_by=[parts.user, parts.session_id]))
    is_second = ~parts.is_past & (began < parts.exposed)
    start = ibis.ifelse(is_second, parts.exposed, parts["first"])
    each = parts.mutate(length=parts["last"] - start)
    return each.group_by("user", "day", "since").aggregate(
        sessions=each.count(), session_s=each.length.sum()
    )
