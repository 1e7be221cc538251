"""Sums of what a user did in an arm and before it, computed from the log's events.

They count as the report on raw events does (`pocketrec_experiments/analysis/activity.py`); a test
compares both. An impression counts as clicked once. Nothing after the exposure is in the past: a
session in progress is split there, and a click after the exposure on an impression from before it
does not count.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pocketrec_bundle.encoding.strict_json import is_number, matches
from pocketrec_bundle.settings.experiment_sums import (
    CLICK_WINDOW_S,
    CONVERSIONS,
    CURRENCY,
    LATENCY_EDGES_MS,
    LIMITS,
    MOST_SLATE_MS,
    PAST_DAYS,
    PAST_LIMITS,
    SCORE_EDGES,
    binned,
    clipped,
)
from pocketrec_bundle.units import DAY_S
from pocketrec_edge.events.event import IMPRESSION, INTERACTION, REQUEST, Event

_FALLBACKS = ("fallback", "none")
"""Sources of a slate that no model made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSums:
    """Sums of one user in one arm; names and limits are those of `experiment_sums.py`.

    Attributes:
        sums: since the exposure.
        past: in the `PAST_DAYS` before it.
        score_bins: impressions since the exposure by score.
        latency_bins: slates since the exposure by latency.
        currency: of the revenue; None if no conversion names one.
    """

    sums: dict[str, int]
    past: dict[str, int]
    score_bins: tuple[int, ...]
    latency_bins: tuple[int, ...]
    currency: str | None


def run_sums(
    events: Iterable[Event],
    *,
    exposed_utc: int,
    from_utc: int,
    until_utc: int,
    since_utc: int = 0,
    currency: str | None = None,
    conversions: Collection[str] = CONVERSIONS,
) -> RunSums:
    """Sum up the events of a user around an exposure.

    Args:
        events: of the log, from `PAST_DAYS` before the exposure on.
        exposed_utc: time of the first exposure, unix seconds.
        from_utc: start of the experiment; its days begin at this time of the day.
        until_utc: events from here on do not count.
        since_utc: events before do not count, because nothing of that time may be sent.
        currency: of earlier sums; None: the most frequent one of the conversions. Amounts in
            another currency count as conversions without revenue.
        conversions: event types that are conversions.
    """
    begin = max(exposed_utc - PAST_DAYS * DAY_S, since_utc)
    inside = [event for event in events if begin <= event.ts < until_utc]
    requests = [event for event in inside if event.kind == REQUEST]
    shown = [event for event in inside if event.kind == IMPRESSION]
    acts = [event for event in inside if event.kind == INTERACTION]
    clicked = _clicked(shown, acts, exposed_utc)
    bought = [event for event in acts if event.event in conversions]
    currency = currency or _main_currency(bought)
    sides = []
    for is_past in (False, True):
        here = [
            [event for event in of_kind if (event.ts < exposed_utc) == is_past]
            for of_kind in (requests, shown, acts, bought)
        ]
        sides.append(_counts(*here, clicked=clicked, currency=currency))
    now, past = sides
    for counts, (n, seconds) in zip(sides, _sessions(requests, acts, exposed_utc), strict=True):
        counts |= {"sessions": n, "session_s": seconds}
    after = [event for event in shown if event.ts >= exposed_utc]
    busy = Counter(
        (event.ts - from_utc) // DAY_S for event in (*requests, *acts) if event.ts >= exposed_utc
    )
    now["distinct_items"] = len({event.item_id for event in after})
    now["busiest_day"] = max(busy.values(), default=0)
    times = [_ms(event) for event in requests if event.ts >= exposed_utc]
    latencies = [ms for ms in times if ms is not None]
    scores = [float(score) for event in after if is_number(score := event.context.get("score", ""))]
    return RunSums(
        sums=clipped(now, LIMITS),
        past=clipped(past, PAST_LIMITS),
        score_bins=binned(scores, SCORE_EDGES, LIMITS["impressions"]),
        latency_bins=binned(latencies, LATENCY_EDGES_MS, LIMITS["timed"]),
        currency=currency,
    )


def _counts(
    requests: Sequence[Event],
    shown: Sequence[Event],
    acts: Sequence[Event],
    bought: Sequence[Event],
    *,
    clicked: set[str],
    currency: str | None,
) -> dict[str, int]:
    times = [ms for event in requests if (ms := _ms(event)) is not None]
    amounts = [
        event.value or 0.0
        for event in bought
        if is_number(event.value) and event.context.get("currency") in (None, currency)
    ]
    return {
        "requests": len(requests),
        "impressions": len(shown),
        "clicks": sum(event.id in clicked for event in shown),
        "interactions": len(acts),
        "conversions": len(bought),
        "revenue_cents": round(sum(amounts) * 100),
        "slate_us": round(sum(min(ms, MOST_SLATE_MS) for ms in times) * 1000),
        "timed": len(times),
        "fallbacks": sum(event.context.get("source") in _FALLBACKS for event in requests),
        "failures": sum(bool(event.context.get("faults")) for event in requests),
    }


def _ms(request: Event) -> float | None:
    ms: Any = request.context.get("ms")
    return float(ms) if is_number(ms) else None


def _clicked(shown: Sequence[Event], acts: Sequence[Event], exposed_utc: int) -> set[str]:
    """Return the ids of impressions with a click: by request and item, else by item and time."""
    first: dict[tuple[str, str], int] = {}
    unnamed: list[Event] = []
    for act in acts:
        request = act.context.get("request")
        if isinstance(request, str):
            key = request, act.item_id
            first[key] = min(act.ts, first.get(key, act.ts))
        else:
            unnamed.append(act)
    clicked = set()
    for event in shown:
        at = first.get((event.id.rpartition(".")[0], event.item_id))
        if at is not None and _counts_for(event.ts, at, exposed_utc):
            clicked.add(event.id)
    by_item: dict[str, list[Event]] = defaultdict(list)
    for event in shown:
        by_item[event.item_id].append(event)
    for act in unnamed:
        before = [event for event in by_item[act.item_id] if event.ts <= act.ts]
        if before:
            latest = max(event.ts for event in before)
            if _counts_for(latest, act.ts, exposed_utc):
                clicked |= {event.id for event in before if event.ts == latest}
    return clicked


def _counts_for(shown_utc: int, clicked_utc: int, exposed_utc: int) -> bool:
    is_near = clicked_utc - shown_utc <= CLICK_WINDOW_S
    return is_near and (shown_utc >= exposed_utc or clicked_utc < exposed_utc)


def _sessions(
    requests: Sequence[Event], acts: Sequence[Event], exposed_utc: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return number and seconds of the sessions since the exposure, and of those before it."""
    times: dict[str, list[int]] = defaultdict(list)
    for event in (*requests, *acts):
        if isinstance(name := event.context.get("session"), str):
            times[name].append(event.ts)
    now, past = [], []
    for at in times.values():
        before = [ts for ts in at if ts < exposed_utc]
        after = [ts for ts in at if ts >= exposed_utc]
        if before:
            past.append(max(before) - min(before))
        if after:
            now.append(max(after) - (exposed_utc if before else min(after)))
    return (len(now), sum(now)), (len(past), sum(past))


def _main_currency(bought: Iterable[Event]) -> str | None:
    named = Counter(
        currency for event in bought if matches(CURRENCY, currency := event.context.get("currency"))
    )
    return min(named, key=lambda name: (-named[name], name)) if named else None
