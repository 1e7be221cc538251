"""Facts of the interactions: dates, ties, repeats, users by number of events."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketrec_training.data.dataset import TEST, VALID
from pocketrec_training.data.folds import folds
from pocketrec_training.recipe.bounds import SplitKind
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.recipe.tables import Split
from pocketrec_training.table_profile.columns import NULL_WORDS
from pocketrec_training.table_profile.tables import TableProfile
from pocketrec_training.table_profile.times import MAX_TS, MIN_TS

BANDS = (("1", 1, 1), ("2-4", 2, 4), ("5-19", 5, 19), ("20+", 20, 10**12))

ORDERED: tuple[SplitKind, ...] = ("leave_last", "last_basket", "global_time")
"""Kinds of split that need times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFacts:
    """Facts of the sampled interactions.

    Attributes:
        n: interactions with a user and an item, without those left out.
        n_users, n_items: distinct.
        users_by_events: band of events -> users: "1", "2-4", "5-19", "20+".
        first_ts, last_ts: unix seconds; None without time.
        implausible_times: interactions before 1990 or after 2100.
        unreadable_times: interactions whose time is missing or cannot be read.
        tied_last_share: share of users with two events or more whose last event has the time of
            the one before; 1 without time.
        cases: kind of split -> cases of its smaller fold, of the splits that need an order.
        one_time: whether all events have one time.
        repeat_share: share of events that repeat an earlier item of the user.
        length_90: number of events of a user that 90% of the users do not exceed.
        n_left_out: rows that the recipe leaves out, such as returns.
    """

    n: int
    n_users: int
    n_items: int
    users_by_events: dict[str, int]
    first_ts: int | None
    last_ts: int | None
    implausible_times: int
    unreadable_times: int
    tied_last_share: float
    cases: dict[str, int]
    one_time: bool
    repeat_share: float
    length_90: int
    n_left_out: int = 0


def event_facts(log: TableProfile, left_out: NDArray[np.bool_] | None = None) -> EventFacts:
    """Count the interactions of a sample.

    Args:
        log: has the sample.
        left_out: rows not to count, bool [n]; None: all count.
    """
    columns = log.sample.columns
    users, n_users, known_user = _codes(columns[log.roles["user"].column])
    items, n_items, known_item = _codes(columns[log.roles["item"].column])
    good = known_user & known_item
    if left_out is not None:
        good &= ~left_out
    ts = _times(log)[good]
    users, items = users[good], items[good]
    counts = np.bincount(users, minlength=n_users)
    counts = counts[counts > 0]
    plausible = (ts >= MIN_TS) & (ts < MAX_TS)
    readable = ~np.isnan(ts)
    tied, cases = _order(users[plausible], ts[plausible].astype(np.int64))
    pairs = len(np.unique(users.astype(np.int64) * max(n_items, 1) + items))
    times = ts[plausible]
    has_time = len(times) > 0
    return EventFacts(
        n=len(users),
        n_left_out=0 if left_out is None else int(left_out.sum()),
        n_users=len(counts),
        n_items=n_items,
        users_by_events={
            name: int(((counts >= low) & (counts <= high)).sum()) for name, low, high in BANDS
        },
        first_ts=int(times.min()) if has_time else None,
        last_ts=int(times.max()) if has_time else None,
        implausible_times=int((readable & ~plausible).sum()),
        unreadable_times=int((~readable).sum()) if "timestamp" in log.roles else 0,
        tied_last_share=tied,
        cases=cases,
        one_time=has_time and bool(times.min() == times.max()),
        repeat_share=1 - pairs / len(users) if len(users) else 0.0,
        length_90=int(np.quantile(counts, 0.9)) if len(counts) else 0,
    )


def _codes(values: list[str]) -> tuple[NDArray[np.int64], int, NDArray[np.bool_]]:
    place: dict[str, int] = {}
    codes = np.array([place.setdefault(value, len(place)) for value in values], np.int64)
    nulls = [code for value, code in place.items() if value.lower() in NULL_WORDS]
    return codes, len(place) - len(nulls), ~np.isin(codes, nulls)


def _times(log: TableProfile) -> NDArray[np.float64]:
    column = log.column("timestamp")
    if column is None or column.time is None:
        return np.full(log.sample.n_sampled, np.nan)
    return column.time.seconds(log.sample.columns[column.name])


def _order(users: NDArray[np.int64], ts: NDArray[np.int64]) -> tuple[float, dict[str, int]]:
    """Return the share of users whose last event is tied, and the cases of each split."""
    if not len(users):
        return 1.0, {}
    order = np.lexsort((ts, users))
    ts, counts = ts[order], np.bincount(users)
    offsets = np.concatenate([[0], np.cumsum(counts[counts > 0])])
    last = offsets[1:][np.diff(offsets) > 1] - 1
    tied = float((ts[last] == ts[last - 1]).mean()) if len(last) else 0.0
    return tied, {kind: _cases(kind, offsets, ts) for kind in ORDERED}


def _cases(kind: SplitKind, offsets: NDArray[np.int64], ts: NDArray[np.int64]) -> int:
    """Count the users with an event before the first held-out one, in the smaller fold."""
    recipe = Recipe(name="init", split=Split(kind=kind, min_user_events=3))
    fold = folds(recipe, offsets, ts)
    users = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    n = []
    for each in (VALID, TEST):
        held = np.unique(users[fold == each])
        n.append(int((fold[offsets[held]] != each).sum()))
    return min(n)
