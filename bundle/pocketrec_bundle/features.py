"""The feature spec and the user tower's inputs; `ranker_features.py` has the ranker's inputs.

Training and the device run this one implementation. It gathers and counts only: logarithms, buckets
and normalisation are inside the models' graphs, so that clients in other languages stay simple.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.strict_json import is_integer, is_number, refuse_newer, shown
from pocketrec_bundle.errors import BundleInvalidError, BundleTooNewError
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.products import inner

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]

NUMERIC = ("popularity", "year", "price")
CONTEXT = (
    "hour",
    "weekday",
    "session_depth",
    "n_events",
    "seconds_since_last",
    "seconds_since_first",
    "like_share",
    "distinct_share",
    *(f"recent_{name}" for name in NUMERIC),
)
PAIR = (
    "retrieval_score",
    "retrieval_gap",
    "retrieval_share",
    "retrieval_place",
    "times_had",
    "seconds_since_had",
    "last_cosine",
    "max_cosine",
    "mean_cosine",
    "taste",
    "recent_taste",
)
"""Columns of every release. `NEIGHBOUR_PAIR` needs neighbours, `REPEAT_PAIR` repeated items."""
NEIGHBOUR_PAIR = ("neighbour_sum", "neighbour_recent")
REPEAT_PAIR = ("recent_had",)
MAX_NEIGHBOURS = 256
MISSING = -1.0
MAX_VOCABULARY = 65_534
BOUNDS = {
    "dim": (1, 1024),
    "max_history": (1, 4096),
    "max_categories": (1, 256),
    "candidates": (1, 8192),
    "recent": (1, 256),
    "neighbours": (0, MAX_NEIGHBOURS),
    "neighbour_candidates": (0, 8192),
    "own_candidates": (0, 8192),
    "version": (1, 1),
}
"""Minimum and maximum of each integer; they keep each input of a model below 64 MiB."""
LENGTHS = {
    "event_types": (1, 256),
    "categories": (0, MAX_VOCABULARY),
    "heads": (1, 64),
    "numeric": (len(NUMERIC), 64),
    "context": (1, len(CONTEXT)),
    "pair": (1, len((*PAIR, *NEIGHBOUR_PAIR, *REPEAT_PAIR))),
}
"""Minimum and maximum number of names in each list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """The models' inputs in order; the same object drives training and every client.

    FORMAT.md, "feature_spec.json", explains each key.

    Attributes:
        dim: length of a vector.
        max_history: events that the user tower reads.
        event_types: names; an event's code is its place here.
        categories: names; a category's code is 1 + its place here.
        max_categories: categories of an item.
        heads: names of the ranker's outputs.
        head_weights: weight of each head in the final score.
        candidates: rows that the ranker reads at once.
        numeric: names of the numeric item columns.
        context: columns of the ranker's input `context`.
        pair: columns of the ranker's input `pair`.
        recent: events that count as recent.
        neighbours: neighbours of each item; 0: the release has no neighbours.
        neighbour_decay: see `Neighbours.votes`.
        neighbour_candidates: see `extra_candidates`.
        own_candidates: see `extra_candidates`.
        version: of `feature_spec.json`.
    """

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
    pair: tuple[str, ...] = PAIR
    recent: int = 5
    neighbours: int = 0
    neighbour_decay: float = 0.0
    neighbour_candidates: int = 0
    own_candidates: int = 0
    version: int = 1

    def final_scores(self, probabilities: Floats32) -> Floats32:
        """Return the weighted sum of the ranker's heads, float32 [n].

        Args:
            probabilities: float32 [n, H].
        """
        scores: Floats32 = inner(probabilities, np.array(self.head_weights, np.float32))
        return scores

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, for `feature_spec.json`."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, value: object) -> "FeatureSpec":
        """Check and build a spec from parsed JSON.

        Raises:
            BundleTooNewError: it has a later version, or a feature that this app does not know.
            BundleInvalidError: a key is missing, unknown, of the wrong type or out of bounds.
        """
        refuse_newer("feature_spec.json", value)
        if not isinstance(value, dict) or value.keys() != cls.__dataclass_fields__.keys():
            raise BundleInvalidError(
                "feature_spec.json: keys differ from version 1", code="spec_keys"
            )
        for key, (low, high) in BOUNDS.items():
            if not is_integer(value[key], low, high):
                raise BundleInvalidError(
                    f"feature_spec.json: {key} must be an integer {low}..{high}", code="spec_value"
                )
        if not is_number(value["neighbour_decay"], 0.0, 1.0):
            raise BundleInvalidError(
                "feature_spec.json: neighbour_decay must be a number 0..1", code="spec_value"
            )
        for key, (low, high) in LENGTHS.items():
            names = value[key]
            if not isinstance(names, list) or not low <= len(names) <= high:
                raise BundleInvalidError(
                    f"feature_spec.json: {key} must be a list of {low}..{high}", code="spec_value"
                )
            if not all(isinstance(n, str) for n in names) or len(set(names)) != len(names):
                raise BundleInvalidError(
                    f"feature_spec.json: {key} must hold different texts", code="spec_value"
                )
        weights = value["head_weights"]
        if not isinstance(weights, list) or len(weights) != len(value["heads"]):
            raise BundleInvalidError(
                "feature_spec.json: head_weights must match heads", code="spec_value"
            )
        if not all(map(is_number, weights)):
            raise BundleInvalidError(
                "feature_spec.json: head_weights must be finite numbers", code="spec_value"
            )
        pairs = {*PAIR, *NEIGHBOUR_PAIR, *REPEAT_PAIR}
        unknown = set(value["context"]) - set(CONTEXT) | set(value["pair"]) - pairs
        if unknown:
            raise BundleTooNewError(
                f"feature_spec.json: unknown feature {shown(sorted(unknown))}. Update the app."
            )
        missing = {name for name in NUMERIC if name not in value["numeric"]}
        if not value["neighbours"]:
            missing |= set(value["pair"]) & set(NEIGHBOUR_PAIR)
        if missing:
            raise BundleInvalidError(
                f"feature_spec.json: missing feature {shown(sorted(missing))}, or no neighbours",
                code="spec_value",
            )
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in value.items()
        }
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class History:
    """All known events of one user, oldest first.

    Attributes:
        rows: int32 [n], item rows.
        events: int32 [n], indexes into `event_types`.
        ts: int64 [n], unix seconds UTC, not decreasing.
        interests: category codes that the user chose. The first `len(interests)` events stand for
            them: models read these events, but they are not interactions.
    """

    rows: Ints
    events: Ints
    ts: Longs
    interests: tuple[int, ...] = ()

    @classmethod
    def empty(cls) -> "History":
        """Return the history of a new user."""
        return cls(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int64))

    def interactions(self) -> "History":
        """Return the interactions alone, without the events that stand for interests."""
        n = len(self.interests)
        return History(self.rows[n:], self.events[n:], self.ts[n:]) if n else self

    def __len__(self) -> int:
        return len(self.rows)


def used_rows(spec: FeatureSpec, history: History) -> Ints:
    """Return the last `max_history` rows, int32 [n]; `tower_inputs` needs their vectors."""
    return history.rows[-spec.max_history :]


def tower_inputs(
    spec: FeatureSpec, history: History, item_vectors: Floats32, now_utc: int
) -> dict[str, NDArray[Any]]:
    """Build the user tower's inputs: left-aligned, oldest first, zero after the history's end.

    Args:
        spec: gives L (`max_history`) and d.
        history: all events; only the last L are used.
        item_vectors: float32 [n, d] of `used_rows(spec, history)`.
        now_utc: unix seconds; an event after it (the clock was set back) has age 0.
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
