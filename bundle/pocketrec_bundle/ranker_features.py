"""The ranker's inputs. Training and devices run this one implementation.

Each number is a count, a gather, a difference or a share over the user's events up to now and the
release's item columns. Logarithms, buckets and scales are inside the ranker's graph. So a client in
another language needs about a page of code (FORMAT.md, "Inputs of the ranker").
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.declared.fitted import FittedFeatures
from pocketrec_bundle.declared.item_features import ItemFeatures
from pocketrec_bundle.encoding.columns import Column
from pocketrec_bundle.encoding.sparse_rows import values_at
from pocketrec_bundle.features import MISSING, FeatureSpec, History, Ints
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.neighbours import Neighbours, Votes, votes_of
from pocketrec_bundle.products import inner, inner_pairs

SESSION_GAP_S = 1800
"""A longer pause ends a session (30 minutes, the convention of web analytics)."""

OWN_HALF_LIFE_S = 60 * 86_400
"""Half-life of an event in `recent_had` (60 days)."""


@dataclass(frozen=True, slots=True)
class ItemColumns:
    """The release's item columns; read them by `column[rows]`.

    Attributes:
        categories: integer [N, K], codes; 0 is padding.
        numeric: float32 [N, M], in the order of the spec's `numeric`; -1 is unknown.
        neighbours: None if the spec has no neighbours.
        declared: declared features that `numeric` does not hold; None if there are none.
    """

    categories: Column
    numeric: Column
    neighbours: Neighbours | None = None
    declared: ItemFeatures | None = None

    @property
    def typed_features(self) -> FittedFeatures:
        """The features of `declared`."""
        return FittedFeatures() if self.declared is None else self.declared.features

    def of_rows(self, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the ranker's inputs that an item has by itself.

        Args:
            rows: integer [n].

        Returns:
            item_categories: int32 [n, K]; item_numeric: float32 [n, M]; of declared features the
            inputs of `ItemFeatures.inputs`.
        """
        return {
            "item_categories": np.asarray(self.categories[rows], np.int32),
            "item_numeric": np.asarray(self.numeric[rows], np.float32),
            **({} if self.declared is None else self.declared.inputs(rows)),
        }


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a user.

    Attributes:
        history: all events.
        now_utc: unix seconds.
        user_vector: float32 [1, d], the user tower's output.
        history_vectors: float32 [n, d] of `used_rows(spec, history)`.
        votes: of the history; None: `pair_columns` adds them up.
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
    """Build the ranker's inputs for the candidates; arrays [n, ...] or [1, ...].

    Args:
        spec: names and order of the columns.
        items: columns of all items.
        request: history, time and user vector.
        rows: integer [n], all candidates, the best retrieval score first.
        item_vectors: float32 [n, d] of `rows`.
    """
    return {
        "user_vector": request.user_vector,
        "item_vectors": item_vectors,
        **items.of_rows(rows),
        "context": context_vector(spec, items, request.history, request.now_utc),
        "pair": pair_columns(spec, items, request, rows, item_vectors),
    }


def padded(spec: FeatureSpec, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Pad the candidate axis with zeros to `spec.candidates`, the graph's fixed batch size."""
    batch = {}
    for name, value in inputs.items():
        if name in ("user_vector", "context"):
            batch[name] = value
            continue
        batch[name] = np.zeros((spec.candidates, *value.shape[1:]), value.dtype)
        batch[name][: len(value)] = value
    return batch


def context_vector(
    spec: FeatureSpec, items: ItemColumns, history: History, now_utc: int
) -> Floats32:
    """Return the user's numbers in the order of `spec.context`, float32 [1, X].

    - hour, weekday: of now in UTC, 0..23 and 0 (Monday)..6.
    - session_depth: events since the last pause of more than 30 minutes; 0 if the session ended.
    - seconds_since_last, seconds_since_first: ages of the last and first event; -1: no history.
    - like_share: share of events of type "like".
    - distinct_share: distinct items / events; a low value means that the user repeats items.
    - recent_X: mean of the known values of item column X over the last `spec.recent` events; -1 if
      all are unknown.
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
    """Return the numbers of each user-item pair in the order of `spec.pair`, float32 [n, P].

    - retrieval_score: inner product of user and item vector.
    - retrieval_gap: best score of the list minus this one.
    - retrieval_share: exp(-gap), divided by its sum over the list.
    - retrieval_place: rank in the list, from 0.
    - times_had: number of interactions with the item.
    - seconds_since_had: age of the last of them; -1: never.
    - recent_had: interactions with the item, each halved every 60 days.
    - neighbour_sum, neighbour_recent: votes of the last `spec.max_history` events, see
      `Neighbours.votes`.
    - last_cosine, max_cosine, mean_cosine: cosine of the item's vector with that of the last event;
      largest and mean over the last `spec.recent` events; 0 without history.
    - taste, recent_taste: category affinity. Sum over the item's categories of the share of the
      history's category marks that each has: in all events, in the last `spec.recent`.
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
    own, now = history.interactions(), request.now_utc
    values["times_had"], values["seconds_since_had"] = _counts_and_ages(own, now, rows)
    if "recent_had" in spec.pair:
        values["recent_had"] = _recency_of(own, now, rows)
    votes = request.votes or votes_of(items.neighbours, spec, history)
    if votes is not None:
        values["neighbour_sum"], values["neighbour_recent"] = votes.at(rows)
    return np.stack([values[name] for name in spec.pair], axis=1).astype(np.float32)


def recency_counts(history: History, now_utc: int) -> tuple[Ints, NDArray[np.float64]]:
    """Return the distinct rows of a history, rising, and the recency-weighted count of each.

    Returns:
        int32 [m] and float64 [m]: the item's events, each halved every 60 days.
    """
    rows, item_of_event = np.unique(history.rows, return_inverse=True)
    ages = np.maximum(now_utc - history.ts, 0)
    counts = np.bincount(item_of_event, 0.5 ** (ages / OWN_HALF_LIFE_S), len(rows))
    return rows, counts.astype(np.float64)


def _recency_of(history: History, now_utc: int, rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return the recency-weighted count of each row, see `recency_counts`; 0: never."""
    known, counts = recency_counts(history, now_utc)
    return values_at(known, counts, rows)


def category_shares(spec: FeatureSpec, items: ItemColumns, rows: Ints) -> NDArray[np.float64]:
    """Return each category code's share of the category marks of some events, [V + 1].

    Code 0 is padding; its share is 0. Without marks all shares are 0.
    """
    size = len(spec.categories) + 1
    counts = np.bincount(np.asarray(items.categories[rows]).ravel(), minlength=size)[:size]
    counts[0] = 0
    shares: NDArray[np.float64] = counts / max(int(counts.sum()), 1)
    return shares


def _cosines(one: Floats32, two: Floats32) -> Floats32:
    """Return cosines [n, m]; if `two` is empty, zeros [n, 1]."""
    if not len(two):
        return np.zeros((len(one), 1), np.float32)
    lengths = np.linalg.norm(one, axis=1)[:, None] * np.linalg.norm(two, axis=1)[None]
    cosines: Floats32 = inner_pairs(one, two) / np.maximum(lengths, np.float32(1e-12))
    return cosines


def _counts_and_ages(
    history: History, now_utc: int, rows: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the number of events with each row, and the age of the last one (-1: never)."""
    known, first, counts = np.unique(history.rows[::-1], return_index=True, return_counts=True)
    # Events are in time order: the first from behind is the last.
    since = np.maximum(now_utc - history.ts[::-1][first], 0).astype(np.float64)
    return values_at(known, counts, rows), values_at(known, since, rows, MISSING)
