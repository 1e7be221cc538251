"""Make golden searches: excluded items, ties, filters, pages and scenes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from pocketrec_bundle.features import History
from pocketrec_bundle.golden.edges import AFTER, FIRST, SEARCH, SIMILAR, ZERO, EdgeSearch
from pocketrec_bundle.neighbours import votes_of
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.releases.golden_edges import answered_search
from pocketrec_edge.releases.golden_history import golden_history

TRIED = 32
"""Items that are tried for a search in which a rule makes a difference."""
PLAIN: dict[str, Any] = {
    "ranges": [],
    "any_of": [],
    "none_of": [],
    "region": None,
    "max_age_rating": None,
    "unrated": False,
}
"""Filters that nothing fails."""


def searches(device: Recommender, unmade: list[str]) -> Iterator[EdgeSearch]:
    """Yield every search that a release can show, without answers."""
    made = _Searches(device, unmade)
    yield made.case("no events, no taste: all scores tie", ZERO)
    yield from made.hidden()
    yield from made.filtered()
    yield from made.scenes()
    yield from made.votes()


class _Searches:
    def __init__(self, device: Recommender, unmade: list[str]) -> None:
        self._device, self._unmade = device, unmade
        self._bundle, self._spec = device.bundle, device.spec
        self._now = self._bundle.manifest.created_utc
        free = np.flatnonzero(self._bundle.available)
        self._rows = free if len(free) else np.zeros(1, np.int64)

    def case(self, name: str, user_row: int, rows: tuple[int, ...] = (), **more: Any) -> EdgeSearch:
        """Return a case; rows: of the history, the last a minute ago."""
        n = len(rows)
        return EdgeSearch(
            name=name,
            now_utc=self._now,
            item_ids=tuple(map(self._bundle.item_id, rows)),
            events=(0,) * n,
            ts=tuple(self._now - 60 * (n - at) for at in range(n)),
            user_row=user_row,
            **more,
        )

    def _first(self, case: EdgeSearch) -> tuple[int, ...]:
        return answered_search(self._device, case).candidates

    def _spread(self) -> list[int]:
        """Some rows that may be recommended, far apart."""
        step = max(1, len(self._rows) // TRIED)
        found: list[int] = self._rows[::step][:TRIED].tolist()
        return found

    def _changing(
        self, told: str, of: list[int], make: Callable[[int], tuple[EdgeSearch, EdgeSearch] | None]
    ) -> Iterator[EdgeSearch]:
        """Yield the first search whose candidates are others than without what is tested.

        make: of a row, the search and the one without.
        """
        for row in of:
            pair = make(row)
            if pair is not None and self._first(pair[0]) != self._first(pair[1]):
                yield pair[0]
                return
        self._unmade.append(f"a search that shows {told}: no item makes a difference")

    def hidden(self) -> Iterator[EdgeSearch]:
        """Make searches with withdrawn items, items of the history, and items of earlier pages."""
        gone = np.flatnonzero(self._bundle.available == 0)[:TRIED].tolist()
        device = self._device

        def near(row: int) -> bool:
            """Whether an item would be among the first if it were not withdrawn."""
            user = device.index.vectors(np.array([row], np.int32))[0]
            nobody = np.zeros(self._bundle.item_count, np.bool_)
            rows, _, _ = device.candidates(Query(History.empty(), self._now), user, nobody)
            return row in rows[:FIRST]

        found = next((row for row in gone if near(row)), None)
        if found is None:
            self._unmade.append("a search that shows withdrawn items: none comes near any other")
        else:
            yield self.case("the nearest item is withdrawn", found)

        row = self._spread()[0]
        best = self._first(self.case("", row))
        had = tuple(sorted(best[:3]))
        yield self.case("what the user had", row, had)
        yield self.case("what the user had, left out", row, had, leave_out_had=True)
        yield self.case("what the user had, shown again", row, had, leave_out_had=False)
        if len(best) > 3:
            yield self.case("what earlier pages showed", row, shown=tuple(sorted(best[:3])))

    def filtered(self) -> Iterator[EdgeSearch]:
        """Make searches with each kind of filter, and with one that few items pass."""
        rows = self._spread()
        audience = self._bundle.audience
        makers: dict[str, Callable[[int], dict[str, Any] | None]] = {
            "none of a category": lambda row: self._categories(row, "none_of"),
            "one of a category": lambda row: self._categories(row, "any_of"),
            "a range of numbers": self._range,
        }
        if audience.region_names:
            names = audience.region_names
            makers["a region"] = lambda row: {"region": names[row % len(names)]}
            makers["a region that the release does not have"] = lambda _: {"region": "nowhere"}
        if audience.age_ratings is not None:
            makers["an age"] = lambda _: {"max_age_rating": 6}
            makers["an age, unrated items too"] = lambda _: {"max_age_rating": 6, "unrated": True}
        for told, make in makers.items():

            def both(row: int) -> tuple[EdgeSearch, EdgeSearch] | None:
                filters = make(row)  # noqa: B023  # called within this turn of the loop
                plain = self.case(f"filter: {told}", row)  # noqa: B023
                if filters is None:
                    return None
                return replace(plain, filters={**PLAIN, **filters}), plain

            yield from self._changing(f"the filter {told}", rows, both)

    def _categories(self, row: int, key: str) -> dict[str, Any] | None:
        """A filter by a category: of the item itself, or the rarest."""
        own = [code for code in np.asarray(self._bundle.categories[[row]])[0].tolist() if code]
        if not own:
            return None
        code = own[0] if key == "none_of" else self._rarest
        return {key: [self._spec.categories[code - 1]]}

    @cached_property
    def _rarest(self) -> int:
        """Code of the category that the fewest items have; there must be one."""
        codes = np.asarray(self._bundle.categories[np.arange(self._bundle.item_count)])
        found, counts = np.unique(codes[codes > 0], return_counts=True)
        return int(found[np.argmin(counts)])

    def _range(self, row: int) -> dict[str, Any] | None:
        """A range whose bounds are numbers of items: both belong to it."""
        rows = self._first(self.case("", row))
        for place, column in enumerate(self._spec.numeric):
            known = np.asarray(self._bundle.numeric[np.array(rows)])[:, place]
            known = np.unique(known[known >= 0])
            if len(known) > 2:
                low, high = float(known[len(known) // 3]), float(known[-1 - len(known) // 4])
                return {"ranges": [{"column": column, "low": low, "high": high}]}
        return None

    def scenes(self) -> Iterator[EdgeSearch]:
        """Make searches of each scene: similar items, next items, the app's own search."""
        row = self._spread()[-1]
        at_hand = (self._bundle.item_id(row),)
        other = self._spread()[0]
        yield self.case("beside an item", other, scene=SIMILAR, scene_ids=at_hand)
        if self._spec.neighbours:
            yield self.case("after an item", other, scene=AFTER, scene_ids=at_hand)
        else:
            self._unmade.append("candidates after an item: the release has no neighbours")
        gone = np.flatnonzero(self._bundle.available == 0)[:1].tolist()
        results = [self._bundle.item_id(one) for one in (*self._spread()[:4], *gone)]
        results[1:1] = ["no such item", results[0]]
        yield self.case(
            "the app's own search", row, (other,), scene=SEARCH, scene_ids=tuple(results)
        )

    def votes(self) -> Iterator[EdgeSearch]:
        """Make searches with neighbours: any score enters, but only with a vote above 0."""
        neighbours = self._device.items.neighbours
        if neighbours is None or not self._spec.neighbour_candidates:
            self._unmade.append("candidates by neighbours: the release has none")
            return
        for row in range(min(self._bundle.item_count, 64 * TRIED)):
            case = self.case("neighbours with a vote above 0 come in, others not", row, (row,))
            votes = votes_of(neighbours, self._spec, golden_history(self._bundle, case))
            if votes is None:
                return
            above = int((votes.plain > 0).sum())
            if 0 < above < self._spec.neighbour_candidates and (votes.plain <= 0).any():
                found = self._first(case)
                below = votes.rows[votes.plain <= 0]
                if not np.isin(below, found).any():
                    yield case
                    return
        self._unmade.append("a search without enough votes above 0: each item has enough")
