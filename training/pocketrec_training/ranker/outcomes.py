"""Labels of objectives: which events after a request count for which head, and how much."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats32, Floats64
from pocketrec_bundle.objectives import Objectives
from pocketrec_training.data.dataset import Dataset, Items
from pocketrec_training.recipe.objective import Objective
from pocketrec_training.recipe.schema import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Objectives of a recipe, fitted to its events.

    Attributes:
        objectives: of the release, with the scale of each head.
        declared: of the recipe; empty if it has a formula over "engage" and "like" alone.
        divisors: float64 [n_items] by objective, for shares of an item's column; NaN = unknown.
    """

    objectives: Objectives
    declared: tuple[Objective, ...]
    divisors: Mapping[str, Floats64]

    @classmethod
    def of(
        cls, objectives: Objectives, declared: tuple[Objective, ...], items: Items
    ) -> "Outcomes":
        """Join fitted objectives with the recipe's and the items' columns that these name."""
        divisors = {one.name: divisor(one.of, items) for one in declared if one.of}
        return cls(objectives=objectives, declared=declared, divisors=divisors)

    def labels(
        self, data: Dataset, types: tuple[str, ...], case: tuple[int, int], last: int
    ) -> tuple[NDArray[np.int32], Floats32]:
        """Return the items with an outcome, and what each is worth for each head.

        Only events of the fold of the case count, so no label reads a later fold.

        Args:
            data: sequences.
            types: names of the event codes.
            case: (user, position) of the next event.
            last: end of the next event's basket, in positions of all events.

        Returns:
            int32 [k], rising rows, and float32 [k, H]: a head's value divided by its scale, 0..1.
        """
        user, end = case
        at, stop = int(data.offsets[user]) + end, int(data.offsets[user + 1])
        longest = max(one.window_s for one in self.declared)
        until = at + int(np.searchsorted(data.ts[at:stop], data.ts[at] + longest, side="right"))
        places = np.arange(at, max(last, until if longest else last))
        places = places[data.fold[places] == data.fold[at]]
        rows, item_of = np.unique(data.rows[places], return_inverse=True)
        found = np.zeros((len(rows), len(self.declared)))
        for h, (one, head) in enumerate(zip(self.declared, self.objectives.heads, strict=True)):
            codes = [types.index(name) for name in one.events]
            within = places < last
            if one.window_s:
                within = data.ts[places] <= data.ts[at] + one.window_s
            chosen = np.flatnonzero(np.isin(data.events[places], codes) & within)
            self._add(found[:, h], item_of[chosen], one, head.scale, data, places[chosen])
        return rows, found.astype(np.float32)

    def _add(
        self,
        labels: Floats64,
        item_of: NDArray[np.int64],
        one: Objective,
        scale: float,
        data: Dataset,
        places: NDArray[np.int64],
    ) -> None:
        """Add the events at some places to the labels of one head, float64 [k]."""
        if one.kind == "binary":
            labels[item_of] = 1.0
            return
        assert data.values is not None
        values = data.values[places]
        if one.kind == "value":
            np.add.at(labels, item_of, amounts(values, scale) / scale)
            np.minimum(labels, 1.0, out=labels)
            return
        if one.of:
            values = values / self.divisors[one.name][data.rows[places]]
        np.maximum.at(labels, item_of, amounts(values, 1.0))


def outcomes_of(objectives: Objectives | None, recipe: Recipe, items: Items) -> Outcomes | None:
    """Return the outcomes of a recipe's fitted objectives; None without objectives and formula."""
    return None if objectives is None else Outcomes.of(objectives, recipe.objectives, items)


def amounts(values: Floats64, most: float) -> Floats64:
    """Return values in 0..most; a missing value and one below 0 count 0."""
    return np.clip(np.nan_to_num(values, nan=0.0), 0.0, most)


def divisor(column: str, items: Items) -> Floats64:
    """Return a numeric column of the items, float64 [n_items], NaN where it is not above 0."""
    found = {"price": items.price, "year": items.year}.get(column)
    values = np.asarray(items.features[column] if found is None else found, np.float64)
    return np.where(values > 0, values, np.nan)
