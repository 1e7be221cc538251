"""Drift: how far the events of the field are from the training data in the model card."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.reference import Histogram, Reference, category_counts
from pocketrec_experiments.monitoring.distance import Counts, jensen_shannon, psi, psi_by_chance
from pocketrec_experiments.monitoring.windowed import Windowed

STABLE, MODERATE, LARGE, MISSING = "stable", "moderate", "large", "missing"
MODERATE_PSI, LARGE_PSI = 0.1, 0.25
FEWEST = 100
"""Minimum number of values on each side."""
OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One distribution of the field against that of the training data.

    Attributes:
        what: "events", "scores", "categories", or "item " and a numeric column.
        state: "stable", "moderate", "large" or "missing".
        psi: population stability index; None if missing.
        jensen_shannon: in bits, 0..1; None if missing.
        by_chance: PSI that samples of these sizes have without drift; None if missing.
        bins: a name for each bin.
        expected: counts of the training data by bin.
        found: counts of the field by bin.
        note: why it is missing; "" otherwise.
    """

    what: str
    state: str
    psi: float | None = None
    jensen_shannon: float | None = None
    by_chance: float | None = None
    bins: tuple[str, ...] = ()
    expected: tuple[int, ...] = ()
    found: tuple[int, ...] = ()
    note: str = ""

    def shares_expected(self) -> list[float]:
        """Return the shares of the training data by bin, 0..1."""
        return _shares(self.expected)

    def shares_found(self) -> list[float]:
        """Return the shares of the field by bin, 0..1."""
        return _shares(self.found)

    def largest_change(self) -> str:
        """Return the bin whose share changed most, with both shares; "" without bins."""
        pairs = zip(self.bins, self.shares_expected(), self.shares_found(), strict=True)
        name, before, now = max(pairs, key=lambda each: abs(each[2] - each[1]), default=("", 0, 0))
        return f"{name}: {before:.1%}, now {now:.1%}" if name else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemCounts:
    """Interactions of the window by item.

    Attributes:
        rows: rows of the release's items, int64 [n].
        counts: interactions of each, int64 [n].
        unknown: interactions with items that the release does not have.
    """

    rows: NDArray[np.int64]
    counts: NDArray[np.int64]
    unknown: int


def item_counts(events: Windowed, bundle: Bundle) -> ItemCounts:
    """Count interactions by item of the release."""
    t = events.interactions
    by_item = t.group_by("item_id").aggregate(n=t.count()).order_by("item_id").to_pyarrow()
    rows = np.array([bundle.row_of(name) for name in by_item["item_id"].to_pylist()], np.int64)
    counts = np.array(by_item["n"].to_pylist(), np.int64)
    known = rows >= 0
    return ItemCounts(rows=rows[known], counts=counts[known], unknown=int(counts[~known].sum()))


def drifts(
    events: Windowed, bundle: Bundle, reference: Reference, items: ItemCounts, release: str
) -> list[Drift]:
    """Compare event mix, categories, item features and scores with the training data.

    Args:
        events: of the window.
        bundle: the release.
        reference: from its model card.
        items: interactions by item.
        release: label of the release in request events.
    """
    t = events.interactions
    mix = t.group_by("event").aggregate(n=t.count()).to_pyarrow().to_pylist()
    found = [compared_names("events", reference.events, {row["event"]: row["n"] for row in mix})]
    found.append(_categories(bundle, reference, items))
    numeric = np.asarray(bundle.numeric[items.rows], np.float64)
    for column, name in enumerate(bundle.spec.numeric):
        if (histogram := reference.numeric.get(name)) is not None:
            counts = histogram.count(numeric[:, column], items.counts)
            found.append(_compared(f"item {name}", histogram, counts))
    found.append(_scores(events, reference, release))
    return found


def compared_names(what: str, expected: Mapping[str, int], found: Mapping[str, int]) -> Drift:
    """Compare counts by name; names that the reference lacks are one bin."""
    bins = (*expected, OTHER)
    unknown = sum(n for name, n in found.items() if name not in expected)
    counts = [*(found.get(name, 0) for name in expected), unknown]
    return _drift(what, bins, np.array([*expected.values(), 0]), np.array(counts))


def _categories(bundle: Bundle, reference: Reference, items: ItemCounts) -> Drift:
    counts = category_counts(bundle.spec, np.asarray(bundle.categories[items.rows]), items.counts)
    by_name = dict(zip(bundle.spec.categories, map(int, counts), strict=True))
    named = {name: by_name.get(name, 0) for name in reference.categories}
    expected = [*reference.categories.values(), reference.other_categories]
    found = [*named.values(), int(counts.sum()) - sum(named.values())]
    return _drift("categories", (*named, OTHER), np.array(expected), np.array(found))


def _scores(events: Windowed, reference: Reference, release: str) -> Drift:
    if reference.scores is None:
        return Drift(what="scores", state=MISSING, note="the model card has no scores")
    t = events.impressions
    of_release = t.filter(
        (t.release == release) & (t.source == "model") & t.sponsored.isnull() & t.score.notnull()
    )
    scores = of_release.select("score").to_pyarrow()["score"].to_numpy()
    return _compared("scores", reference.scores, reference.scores.count(scores))


def _compared(what: str, histogram: Histogram, found: Counts) -> Drift:
    return _drift(what, tuple(histogram.names()), np.array(histogram.counts), found)


def _shares(counts: tuple[int, ...]) -> list[float]:
    total = sum(counts)
    return [count / total if total else 0.0 for count in counts]


def _drift(what: str, bins: tuple[str, ...], expected: Counts, found: Counts) -> Drift:
    some: dict[str, Any] = {
        "bins": bins,
        "expected": tuple(map(int, expected)),
        "found": tuple(map(int, found)),
    }
    fewest = min(int(expected.sum()), int(found.sum()))
    if fewest < FEWEST:
        note = f"{int(found.sum()):,} values in the field, {int(expected.sum()):,} in training"
        return Drift(what=what, state=MISSING, note=f"too few: {note}", **some)
    index, chance = psi(expected, found), psi_by_chance(expected, found)
    above = index - chance  # a small sample must not look like drift
    state = LARGE if above > LARGE_PSI else MODERATE if above > MODERATE_PSI else STABLE
    return Drift(
        what=what,
        state=state,
        psi=index,
        jensen_shannon=jensen_shannon(expected, found),
        by_chance=chance,
        **some,
    )
