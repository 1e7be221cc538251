"""The feature spec, and the one implementation of it that training and the device both run.

Only gathering, counting and string lookup happen here; logarithms, buckets and normalisation are
inside the models' graphs, so a client in another language has little to get wrong.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.errors import BundleInvalid

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Longs = NDArray[np.int64]

SESSION_GAP_S = 1800
"""A pause longer than this starts a new session (30 minutes, the web analytics convention)."""

CONTEXT = ("hour", "weekday", "session_depth", "n_events", "seconds_since_last", "like_share")
NUMERIC = ("popularity", "year", "price")
MISSING = -1.0
MAX_VOCABULARY = 65_534


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """What the models read, in order; the same object drives training and every client."""

    dim: int
    max_history: int
    event_types: tuple[str, ...]
    categories: tuple[str, ...]
    max_categories: int
    heads: tuple[str, ...]
    head_weights: tuple[float, ...]
    candidates: int
    numeric: tuple[str, ...] = NUMERIC
    context: tuple[str, ...] = CONTEXT
    version: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, for `feature_spec.json`."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, value: object) -> "FeatureSpec":
        """Check and build a spec from parsed JSON.

        Raises:
            BundleInvalid: a key is missing, unknown, of the wrong type or out of bounds.
        """
        if not isinstance(value, dict) or value.keys() != cls.__dataclass_fields__.keys():
            raise BundleInvalid("feature_spec.json: keys differ from version 1")
        counts = {"dim": 4096, "max_history": 4096, "max_categories": 256, "candidates": 65_536}
        for key, limit in counts.items():
            if type(value[key]) is not int or not 1 <= value[key] <= limit:
                raise BundleInvalid(f"feature_spec.json: {key} must be an integer 1..{limit}")
        for key in ("event_types", "categories", "heads", "numeric", "context"):
            names = value[key]
            if not isinstance(names, list) or len(names) > MAX_VOCABULARY:
                raise BundleInvalid(f"feature_spec.json: {key} must be a list of names")
            if not all(isinstance(n, str) for n in names):
                raise BundleInvalid(f"feature_spec.json: {key} must hold texts only")
        weights = value["head_weights"]
        if not isinstance(weights, list) or len(weights) != len(value["heads"]):
            raise BundleInvalid("feature_spec.json: head_weights must match heads")
        if not all(isinstance(w, int | float) and np.isfinite(w) for w in weights):
            raise BundleInvalid("feature_spec.json: head_weights must be finite numbers")
        unknown = set(value["context"]) - set(CONTEXT)
        if unknown or value["version"] != 1:
            raise BundleInvalid(f"feature_spec.json: unknown version or context {sorted(unknown)}")
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in value.items()
        }
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class History:
    """All known events of one user, oldest first.

    rows: int32 [n] item rows; events: int32 [n] index into `event_types`; ts: int64 [n] unix
    seconds UTC, not decreasing.
    """

    rows: Ints
    events: Ints
    ts: Longs

    @classmethod
    def empty(cls) -> "History":
        """Return the history of a new user."""
        return cls(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.rows)


def used_rows(spec: FeatureSpec, history: History) -> Ints:
    """Return the last `max_history` rows: those whose vectors `tower_inputs` wants, int32 [n]."""
    return history.rows[-spec.max_history :]


def tower_inputs(
    spec: FeatureSpec, history: History, item_vectors: Floats, now_utc: int
) -> dict[str, NDArray[Any]]:
    """Build the user tower's inputs: left-aligned, oldest first, zero after the history's end.

    Args:
        spec: gives L (`max_history`) and d.
        history: all events; only the last L are used.
        item_vectors: float32 [n, d] of `used_rows(spec, history)`.
        now_utc: unix seconds; an event in the future (clock set back) counts as just now.
    """
    length, dim = spec.max_history, spec.dim
    n = len(item_vectors)
    vectors = np.zeros((1, length, dim), np.float32)
    events = np.zeros((1, length), np.int32)
    ages = np.zeros((1, length), np.float32)
    if n:
        vectors[0, :n] = item_vectors
        events[0, :n] = history.events[-n:] + 1
        ages[0, :n] = np.maximum(now_utc - history.ts[-n:], 0)
    return {
        "history_vectors": vectors,
        "history_events": events,
        "history_ages_s": ages,
        "history_length": np.array([n], np.int32),
    }


def context_vector(spec: FeatureSpec, history: History, now_utc: int) -> Floats:
    """Return the raw context numbers in the order of `spec.context`, float32 [1, K].

    hour 0..23 and weekday 0..6 (Monday 0) are UTC; session_depth counts the events since the last
    pause of more than 30 minutes, 0 if the session ended; seconds_since_last is -1 for no history;
    like_share is the share of "like" events.
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
        "like_share": float(np.mean(history.events == like)) if n else 0.0,
    }
    return np.array([[values[name] for name in spec.context]], np.float32)


def user_categories(spec: FeatureSpec, history: History, item_categories: NDArray[Any]) -> Floats:
    """Return the share of the user's category marks that fall on each code, float32 [1, V].

    Args:
        spec: gives V = number of categories + 1; code 0 is padding and always 0.
        history: all events are counted, not only the last L.
        item_categories: integer [n_items, C], code 0 = padding.
    """
    size = len(spec.categories) + 1
    codes = np.asarray(item_categories[history.rows]).ravel()
    counts = np.bincount(codes, minlength=size)[:size].astype(np.float32)
    counts[0] = 0.0
    total = counts.sum()
    return (counts / total if total else counts)[None, :].astype(np.float32)


def ranker_inputs(
    spec: FeatureSpec,
    *,
    user_vector: Floats,
    item_vectors: Floats,
    item_categories: NDArray[Any],
    item_numeric: Floats,
    context: Floats,
    user_category_shares: Floats,
) -> dict[str, NDArray[Any]]:
    """Build the ranker's inputs for n <= `spec.candidates` candidates, zero-padded to B rows.

    Args:
        spec: gives B (`candidates`).
        user_vector: float32 [1, d].
        item_vectors: float32 [n, d].
        item_categories: integer [n, C].
        item_numeric: float32 [n, M], raw, missing = -1.
        context: float32 [1, K] of `context_vector`.
        user_category_shares: float32 [1, V] of `user_categories`.
    """
    n, batch = len(item_vectors), spec.candidates
    vectors = np.zeros((batch, spec.dim), np.float32)
    codes = np.zeros((batch, spec.max_categories), np.int32)
    numeric = np.zeros((batch, len(spec.numeric)), np.float32)
    vectors[:n], codes[:n], numeric[:n] = item_vectors, item_categories, item_numeric
    return {
        "user_vector": user_vector,
        "item_vectors": vectors,
        "item_categories": codes,
        "item_numeric": numeric,
        "context": context,
        "user_categories": user_category_shares,
    }
