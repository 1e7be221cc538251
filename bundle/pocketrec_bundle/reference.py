"""Reference distributions: what a release's training data looked like, in its model card.

`pocketrec monitor` counts the events of devices in the same bins, and reports the difference as
drift. The key `reference` of `model_card.json` holds them; releases of version 0.1 have none.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.strict_json import is_integer, is_number
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.features import FeatureSpec

KEY = "reference"
"""Key of the model card."""
FORMAT = 1
BINS = 10
MOST_NAMES = 50
"""Maximum number of categories with a count of their own; the others count as one."""
MOST_BINS, _MOST_EVENTS, _MOST_COLUMNS = 64, 256, 64
_MAX_COUNT = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts of values by bin.

    Attributes:
        edges: inner edges of the bins, rising; a value equal to an edge is in the bin above it.
        counts: one more than edges.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(
        cls, values: NDArray[np.floating[Any]], weights: NDArray[np.integer[Any]] | None = None
    ) -> "Histogram":
        """Choose at most `BINS` bins with about equal counts, and count.

        Args:
            values: float [n], finite.
            weights: how often each value occurs, integer [n]; None: once.
        """
        weight = np.ones(len(values), np.int64) if weights is None else weights.astype(np.int64)
        order = np.argsort(values, kind="stable")
        ranked, below = values[order].astype(np.float64), np.cumsum(weight[order])
        edges: list[float] = []
        if len(ranked):
            wanted = below[-1] * np.arange(1, BINS) / BINS
            at = np.searchsorted(below, wanted, side="left")
            shortened = {float(f"{value:.6g}") for value in ranked[at]}
            edges = sorted(edge for edge in shortened if edge > ranked[0])
        made = cls(edges=tuple(edges), counts=(0,) * (len(edges) + 1))
        return cls(edges=made.edges, counts=tuple(map(int, made.count(values, weight))))

    def count(
        self, values: NDArray[np.floating[Any]], weights: NDArray[np.integer[Any]] | None = None
    ) -> NDArray[np.int64]:
        """Count other values in the bins of this histogram; int64 [bins]."""
        bins = np.searchsorted(np.array(self.edges), values.astype(np.float64), side="right")
        weight = None if weights is None else weights.astype(np.float64)
        counts = np.bincount(bins, weight, minlength=len(self.edges) + 1)
        return np.rint(counts).astype(np.int64)

    def names(self) -> list[str]:
        """Return a text for each bin, such as "0.1 to 0.2"."""
        shown = [f"{edge:g}" for edge in self.edges]
        if not shown:
            return ["all"]
        inner = [f"{a} to {b}" for a, b in itertools.pairwise(shown)]
        return [f"below {shown[0]}", *inner, f"{shown[-1]} or more"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Distributions of a release's training data.

    Attributes:
        interactions: number of training interactions.
        until_utc: time of the newest of them, unix seconds.
        events: interactions by event type.
        categories: categories of the items of interactions, the most frequent ones; an item with
            several categories counts in each.
        other_categories: the same for all further categories.
        numeric: numeric columns of the items of interactions, such as popularity.
        scores: scores of the slates of training users; None if no slate could be made.
    """

    interactions: int
    until_utc: int
    events: dict[str, int]
    categories: dict[str, int]
    other_categories: int
    numeric: dict[str, Histogram] = field(default_factory=dict)
    scores: Histogram | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "format": FORMAT,
            "interactions": self.interactions,
            "until_utc": self.until_utc,
            "events": self.events,
            "categories": self.categories,
            "other_categories": self.other_categories,
            "numeric": {name: _plain(each) for name, each in self.numeric.items()},
            "scores": self.scores and _plain(self.scores),
        }

    @classmethod
    def from_json(cls, value: Any) -> "Reference":
        """Read what `to_json` returned.

        Raises:
            InputError: it has another form, or a newer format.
        """
        try:
            if value["format"] != FORMAT:
                raise _bad(f"format is {value['format']!r}, expected {FORMAT}")
            return cls(
                interactions=_count(value["interactions"]),
                until_utc=_count(value["until_utc"]),
                events=_counts(value["events"], _MOST_EVENTS),
                categories=_counts(value["categories"], MOST_NAMES),
                other_categories=_count(value["other_categories"]),
                numeric={str(k): _histogram(v) for k, v in _object(value["numeric"]).items()},
                scores=None if value["scores"] is None else _histogram(value["scores"]),
            )
        except (KeyError, TypeError, ValueError) as err:
            if isinstance(err, InputError):
                raise
            raise _bad(f"{type(err).__name__}: {err}") from err


def category_counts(
    spec: FeatureSpec, categories: NDArray[np.integer[Any]], weights: NDArray[np.integer[Any]]
) -> NDArray[np.int64]:
    """Count interactions by category of their items; int64 [len(spec.categories)].

    Args:
        spec: of the release.
        categories: category codes of items, integer [n, K], 0 = padding.
        weights: interactions of each of these items, integer [n].
    """
    repeated = np.repeat(weights.astype(np.float64), categories.shape[1])
    counts = np.bincount(
        categories.ravel().astype(np.int64), repeated, minlength=len(spec.categories) + 1
    )
    return np.rint(counts[1:]).astype(np.int64)


def reference_of(
    *,
    spec: FeatureSpec,
    events: NDArray[np.integer[Any]],
    item_counts: NDArray[np.integer[Any]],
    categories: NDArray[np.integer[Any]],
    numeric: NDArray[np.floating[Any]],
    scores: NDArray[np.floating[Any]],
    until_utc: int,
) -> Reference:
    """Compute the reference distributions of training data.

    Args:
        spec: of the release.
        events: code of each interaction, integer [n].
        item_counts: interactions by item, integer [n_items].
        categories: category codes of the items, integer [n_items, K].
        numeric: numeric columns of the items, float [n_items, M].
        scores: of slates, float [any].
        until_utc: time of the newest interaction, unix seconds.
    """
    by_event = np.bincount(events, minlength=len(spec.event_types))
    by_category = category_counts(spec, categories, item_counts)
    first = np.argsort(-by_category, kind="stable")[:MOST_NAMES]
    named = {spec.categories[int(c)]: int(by_category[c]) for c in first if by_category[c]}
    columns = {
        name: Histogram.of(numeric[:, column], item_counts)
        for column, name in enumerate(spec.numeric)
    }
    return Reference(
        interactions=len(events),
        until_utc=until_utc,
        events=dict(zip(spec.event_types, map(int, by_event), strict=True)),
        categories=named,
        other_categories=int(by_category.sum()) - sum(named.values()),
        numeric={name: each for name, each in columns.items() if each.edges},
        scores=Histogram.of(scores) if len(scores) else None,
    )


def _plain(histogram: Histogram) -> dict[str, Any]:
    return {"edges": list(histogram.edges), "counts": list(histogram.counts)}


def _histogram(value: Any) -> Histogram:
    edges, counts = value["edges"], value["counts"]
    if not isinstance(edges, list) or not isinstance(counts, list) or len(counts) > MOST_BINS:
        raise _bad(f"a histogram needs lists of at most {MOST_BINS} bins")
    if len(counts) != len(edges) + 1 or not all(is_number(e) for e in edges):
        raise _bad("a histogram needs one more count than edges, and finite edges")
    if any(a >= b for a, b in itertools.pairwise(edges)):
        raise _bad("the edges of a histogram must rise")
    return Histogram(edges=tuple(map(float, edges)), counts=tuple(map(_count, counts)))


def _counts(value: Any, most: int) -> dict[str, int]:
    if not isinstance(value, dict) or len(value) > most:
        raise _bad(f"expected an object of at most {most} counts")
    return {str(name): _count(each) for name, each in value.items()}


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > _MOST_COLUMNS:
        raise _bad(f"expected an object of at most {_MOST_COLUMNS} histograms")
    return value


def _count(value: Any) -> int:
    if not is_integer(value, 0, _MAX_COUNT):
        raise _bad(f"{value!r} is not a count")
    return int(value)


def _bad(why: str) -> InputError:
    return InputError(f"model_card.json: {KEY}: {why}")
