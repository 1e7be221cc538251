"""What the ranker reads besides vectors: the one implementation that training and devices run.

Everything is a count, a gather, a difference or a share over the user's own events up to now and
the release's item columns, so a client in another language copies it in a page; logarithms,
buckets and scales are inside the ranker's graph.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.columns import Column
from pocketrec_bundle.encoding.sparse_rows import values_at
from pocketrec_bundle.features import MISSING, FeatureSpec, History, Ints
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.neighbours import Neighbours, Votes, votes_of
from pocketrec_bundle.products import inner, inner_pairs

SESSION_GAP_S = 1800
"""A pause longer than this starts a new session (30 minutes, the web analytics convention)."""

OWN_HALF_LIFE_S = 60 * 86_400
"""After so long an event counts half in `recent_had` (60 days)."""


@dataclass(frozen=True, slots=True)
class ItemColumns:
    """The release's item columns, which are read by `column[rows]`.

    categories: integer [N, C], code 0 = padding; numeric: float32 [N, M], raw, -1 = unknown, in
    the order of the spec's `numeric`; neighbours: if the spec has any.
    """

    categories: Column
    numeric: Column
    neighbours: Neighbours | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One moment at which a user is served.

    now_utc: unix seconds; user_vector: float32 [1, d] of the tower; history_vectors: float32
    [n, d] of `used_rows(spec, history)`; votes: of the history, if the caller has added them up.
    """

    history: History
    now_utc: int
    user_vector: Floats32
    history_vectors: Floats32
    votes: Votes | None = None


def ranker_features(
    spec: FeatureSpec,
    items: ItemColumns,
    request: Request,
    rows: NDArray[Any],
    item_vectors: Floats32,
) -> dict[str, NDArray[Any]]:
    """Build the ranker's inputs for the retrieved items, best first; arrays [n, ...] or [1, ...].

    Args:
        spec: names and order of the columns.
        items: columns of all items.
        request: who asks, and when.
        rows: integer [n], all that retrieval returned, in its order.
        item_vectors: float32 [n, d] of `rows`.
    """
    return {
        "user_vector": request.user_vector,
        "item_vectors": item_vectors,
        "item_categories": np.asarray(items.categories[rows], np.int32),
        "item_numeric": np.asarray(items.numeric[rows], np.float32),
        "context": context_vector(spec, items, request.history, request.now_utc),
        "pair": pair_columns(spec, items, request, rows, item_vectors),
    }


def padded(spec: FeatureSpec, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Fill the candidate axis with zero rows up to `spec.candidates`, the graph's fixed batch."""
    found = {}
    for name, value in inputs.items():
        if name in ("user_vector", "context"):
            found[name] = value
            continue
        found[name] = np.zeros((spec.candidates, *value.shape[1:]), value.dtype)
        found[name][: len(value)] = value
    return found


def context_vector(
    spec: FeatureSpec, items: ItemColumns, history: History, now_utc: int
) -> Floats32:
    """Return the user's raw numbers in the order of `spec.context`, float32 [1, K].

    hour 0..23 and weekday 0..6 (Monday 0) are UTC; session_depth counts the events since the last
    pause of more than 30 minutes, 0 if the session ended; seconds_since_last and
    seconds_since_first are -1 for no history; like_share is the share of "like" events;
    distinct_share is distinct items over events (low: the user repeats); recent_X is the mean of
    the known values of item column X over the last `spec.recent` events, -1 if none is known.
    """
    n = len(history)
    since_last = float(max(now_utc - int(history.ts[-1]), 0)) if n else MISSING
    depth = 0
    if n and since_last <= SESSION_GAP_S:
        pauses = np.flatnonzero(np.diff(history.ts) > SESSION_GAP_S)
        depth = n - (int(pauses[-1]) + 1 if len(pauses) else 0)
    like = spec.event_types.index("like") if "like" in spec.event_types else -1
    values = {
        "hour": float(now_utc // 3600 % 24),
        "weekday": float((now_utc // 86_400 + 3) % 7),
        "session_depth": float(depth),
        "n_events": float(n),
        "seconds_since_last": since_last,
        "seconds_since_first": float(max(now_utc - int(history.ts[0]), 0)) if n else MISSING,
        "like_share": float(np.mean(history.events == like)) if n else 0.0,
        "distinct_share": len(np.unique(history.rows)) / n if n else 1.0,
    }
    last = np.asarray(items.numeric[history.rows[-spec.recent :]], np.float64)  # [R, M]
    for column, name in enumerate(spec.numeric):
        known = last[:, column][last[:, column] >= 0]
        values[f"recent_{name}"] = float(known.mean()) if len(known) else MISSING
    return np.array([[values[name] for name in spec.context]], np.float32)


def pair_columns(
    spec: FeatureSpec,
    items: ItemColumns,
    request: Request,
    rows: NDArray[Any],
    item_vectors: Floats32,
) -> Floats32:
    """Return user-and-item numbers in the order of `spec.pair`, float32 [n, P].

    retrieval_score: inner product of user and item vector; retrieval_gap: the best score of the
    list minus it; retrieval_share: exp(-gap) over its sum in the list; retrieval_place: 0 for the
    first. times_had: the user's events with the item; seconds_since_had: since the last of them,
    -1 if none; recent_had: those events, each halved every 60 days. neighbour_sum,
    neighbour_recent: the votes of the last `spec.max_history` events, plain and recent, see
    `Neighbours.votes`. last_cosine, max_cosine, mean_cosine: of the item's vector with that of
    the last event and over the last `spec.recent` events, 0 without history. taste, recent_taste:
    summed over the item's categories, the share of category marks that fall on each in all events
    and in the last `spec.recent`.
    """
    history, n = request.history, len(rows)
    scores = inner(item_vectors, request.user_vector[0])
    gap = scores.max(initial=-np.inf) - scores
    odds = np.exp(-gap)
    cosines = _cosines(item_vectors, request.history_vectors[-spec.recent :])  # [n, R]
    codes = np.asarray(items.categories[rows])
    values = {
        "retrieval_score": scores,
        "retrieval_gap": gap,
        "retrieval_share": odds / max(float(odds.sum()), 1e-30),
        "retrieval_place": np.arange(n),
        "last_cosine": cosines[:, -1],
        "max_cosine": cosines.max(axis=1),
        "mean_cosine": cosines.mean(axis=1),
        "taste": category_shares(spec, items, history.rows)[codes].sum(axis=1),
        "recent_taste": category_shares(spec, items, history.rows[-spec.recent :])[codes].sum(1),
    }
    had, now = history.had(), request.now_utc
    values["times_had"], values["seconds_since_had"] = _met_before(had, now, rows)
    if "recent_had" in spec.pair:
        values["recent_had"] = _recently_had(had, now, rows)
    votes = request.votes or votes_of(items.neighbours, spec, history)
    if votes is not None:
        values["neighbour_sum"], values["neighbour_recent"] = votes.at(rows)
    return np.stack([values[name] for name in spec.pair], axis=1).astype(np.float32)


def had_before(history: History, now_utc: int) -> tuple[Ints, NDArray[np.float64]]:
    """Return the distinct rows of a history, rising, and how much of each was had lately.

    Returns:
        int32 [m] and float64 [m]: the item's events, each halved every 60 days.
    """
    rows, at = np.unique(history.rows, return_inverse=True)
    ages = np.maximum(now_utc - history.ts, 0)
    recent = np.bincount(at, 0.5 ** (ages / OWN_HALF_LIFE_S), len(rows))
    return rows, recent.astype(np.float64)


def _recently_had(history: History, now_utc: int, rows: NDArray[Any]) -> NDArray[np.float64]:
    """How much each row was had lately, see `had_before`; 0: never."""
    had, recent = had_before(history, now_utc)
    return values_at(had, recent, rows)


def category_shares(spec: FeatureSpec, items: ItemColumns, rows: Ints) -> NDArray[np.float64]:
    """Return the share of the category marks of some events that fall on each code, [V].

    V = number of categories + 1; code 0 is padding and always 0, and so is all without a mark.
    """
    size = len(spec.categories) + 1
    counts = np.bincount(np.asarray(items.categories[rows]).ravel(), minlength=size)[:size]
    counts[0] = 0
    shares: NDArray[np.float64] = counts / max(int(counts.sum()), 1)
    return shares


def _cosines(one: Floats32, two: Floats32) -> Floats32:
    """Cosines [n, m]; m is 1 and all are 0 if `two` is empty."""
    if not len(two):
        return np.zeros((len(one), 1), np.float32)
    lengths = np.linalg.norm(one, axis=1)[:, None] * np.linalg.norm(two, axis=1)[None]
    cosines: Floats32 = inner_pairs(one, two) / np.maximum(lengths, np.float32(1e-12))
    return cosines


def _met_before(
    history: History, now_utc: int, rows: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """How often the user had each row, and the seconds since the last time (-1: never)."""
    had, first, times = np.unique(history.rows[::-1], return_index=True, return_counts=True)
    # Events are in time order: the first from behind is the last.
    since = np.maximum(now_utc - history.ts[::-1][first], 0).astype(np.float64)
    return values_at(had, times, rows), values_at(had, since, rows, MISSING)
