"""A few users of the report: what they had, what they are shown, what they took next."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pocketrec_training.data.dataset import Dataset
from pocketrec_training.metrics.cases import Cases
from pocketrec_training.metrics.ranks import NOBODY, RankedTargets

HITS, MISSES = 3, 3
HISTORY, SLATE, NEXT = 8, 10, 10
"""Most items listed of each kind."""


def example_users(
    data: Dataset, cases: Cases, ranked: RankedTargets, event_types: Sequence[str], seed: int
) -> dict[str, Any]:
    """Draw users whose slate has something that they took next, and users whose slate has not.

    Args:
        data: gives titles and histories.
        cases: of one setting.
        ranked: the answers of what ships.
        event_types: names of the event codes.
        seed: decides which users are drawn.

    Returns:
        told: how they were drawn. users: of each `user`, `hit`, `events`, `history`, `slate`,
        `next` and how many `more` were taken next; items with their titles.
    """
    hits = np.logical_or.reduceat(ranked.ranks < SLATE, cases.offsets[:-1])
    order = np.random.default_rng([seed, 6]).permutation(len(cases))
    if len(np.unique(data.events)) == 1:
        event_types = ()  # the same word in every line would say nothing
    chosen = [*order[hits[order]][:HITS], *order[~hits[order]][:MISSES]]
    share = float(hits.mean())
    return {
        "told": f"Drawn by the seed {seed}: up to {HITS} of the {share:.1%} of users who find "
        f"something they took next among the first {SLATE}, and up to {MISSES} of the others.",
        "users": [
            _user(data, cases, ranked, event_types, int(at), bool(hits[at])) for at in chosen
        ],
    }


def _user(
    data: Dataset,
    cases: Cases,
    ranked: RankedTargets,
    event_types: Sequence[str],
    at: int,
    hit: bool,
) -> dict[str, Any]:
    user, end = int(cases.users[at]), int(cases.ends[at])
    past, targets = data.history(user, end), cases.targets_of(at)
    ranks = ranked.ranks[cases.offsets[at] : cases.offsets[at + 1]]
    best = np.argsort(ranks, kind="stable")[:NEXT]
    newest = range(end - 1, max(end - HISTORY, 0) - 1, -1)
    shown = [int(row) for row in ranked.top[at, :SLATE] if row != NOBODY]
    n_items = len(data.items)
    return {
        "user": data.user_ids[user],
        "hit": hit,
        "events": end,
        "history": [
            {
                "title": _title(data, int(past.rows[i])),
                "event": event_types[past.events[i]] if len(event_types) > 1 else "",
            }
            for i in newest
        ],
        "slate": [{"title": _title(data, row), "taken": row in targets} for row in shown],
        "next": [
            {
                "title": _title(data, int(targets[i])),
                "hit": bool(ranks[i] < SLATE),
                "place": f"place {ranks[i] + 1:,} of {n_items:,}"
                if ranks[i] < n_items
                else "not a candidate",
            }
            for i in best
        ],
        "more": len(targets) - len(best),
    }


def _title(data: Dataset, row: int) -> str:
    return data.items.titles[row] or data.items.ids[row]
