"""Make golden cases that are rare in real histories, from a release's own items.

All choices follow rules, without random numbers, so equal releases have equal cases. Cases that a
release cannot show, e.g. with a withdrawn item, are listed in `GoldenEdges.unmade`.
"""

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.golden.edges import EdgeHistory, GoldenEdges
from pocketrec_bundle.ranker_features import OWN_HALF_LIFE_S, SESSION_GAP_S
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.units import DAY_S
from pocketrec_edge.faults import Fault, FaultCode
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.releases.golden_edges import answered_history, answered_search
from pocketrec_export.golden.searches import searches

CANDIDATES = 5
LOOKED_AT = 20_000
"""Items whose id and numbers are looked at for what a case needs."""
NO_MODELS = Fault(FaultCode.RELEASE_STOPPED, "golden edges need no models")
Event = tuple[str, int, int]
"""Item id, event code, unix seconds."""


def edges(draft: Bundle) -> GoldenEdges:
    """Make and answer all cases of a release, without its models."""
    device = Recommender(draft, stopped=NO_MODELS)
    unmade: list[str] = []
    histories = [answered_history(device, case) for case in _Histories(draft, unmade).all()]
    found = [answered_search(device, case) for case in searches(device, unmade)]
    return GoldenEdges(histories=tuple(histories), searches=tuple(found), unmade=tuple(unmade))


class _Histories:
    """Composes histories; `now` is the release's own time, so that no clock enters."""

    def __init__(self, bundle: Bundle, unmade: list[str]) -> None:
        self._bundle, self._unmade = bundle, unmade
        self._spec, self._now = bundle.spec, bundle.manifest.created_utc
        available = np.flatnonzero(bundle.available[:LOOKED_AT])
        self._rows: NDArray[np.int64] = available if len(available) else np.zeros(1, np.int64)
        self._like = max(0, len(self._spec.event_types) - 1)
        if "like" in self._spec.event_types:
            self._like = self._spec.event_types.index("like")

    def all(self) -> Iterator[EdgeHistory]:
        """Yield every case that this release can show, without answers."""
        yield from self._clocks()
        yield from self._pauses()
        yield from self._lengths()
        yield from self._repeats()
        for compose in (self._unknown, self._withdrawn, self._numbers, self._letters, self._bare):
            yield from compose()

    def _id(self, at: int) -> str:
        """Id of one of a few items that lie far apart; the same for equal `at`."""
        step = max(1, len(self._rows) // 16)
        return self._bundle.item_id(int(self._rows[at * step % len(self._rows)]))

    def _events(self, *ages: int, first: int = 0) -> list[Event]:
        """Events of different items at these ages in seconds, the oldest first; codes alternate."""
        return [
            (self._id(first + at), self._like if at % 2 else 0, self._now - age)
            for at, age in enumerate(ages)
        ]

    def _case(self, name: str, events: Sequence[Event], now: int | None = None) -> EdgeHistory:
        """Return a case; candidates are its last and first items, and others."""
        ids, codes, ts = zip(*events, strict=True) if events else ((), (), ())
        known = [row for one in ids if (row := self._bundle.row_of(one)) >= 0]
        neighbours = [near for row in known[-1:] + known[:1] for near in self._neighbours(row)]
        others = [self._bundle.row_of(self._id(at)) for at in range(9, 9 + CANDIDATES)]
        wanted = [*known[-1:], *known[:1], *neighbours, *others]
        rows = tuple(dict.fromkeys(wanted))[:CANDIDATES]
        return EdgeHistory(
            name=name,
            now_utc=self._now if now is None else now,
            item_ids=ids,
            events=codes,
            ts=ts,
            user_row=rows[-1],
            rows=rows,
        )

    def _neighbours(self, row: int) -> list[int]:
        """The first neighbour of an item, if the release has neighbours."""
        if not self._spec.neighbours:
            return []
        found: list[int] = self._bundle.array("items/neighbours")[row][:1].tolist()
        return found

    def _clocks(self) -> Iterator[EdgeHistory]:
        yield self._case("no events", [])
        yield self._case("no events, the last second before 1970", [], now=-1)
        yield self._case("no events, a Sunday at 23:59:59", [], now=self._sunday() - 1)
        yield self._case("no events, a Monday at 0:00", [], now=self._sunday())
        yield self._case("one event", self._events(DAY_S))
        yield self._case("all events in the future", self._events(-60, -3600, -DAY_S))
        yield self._case("two events past, two in the future", self._events(90, 60, -5, -7200))
        yield self._case("events before 1970", [(self._id(0), 0, -5), (self._id(1), 0, -1)])

    def _sunday(self) -> int:
        """The end of the week that the release was made in: Monday, 0:00 UTC."""
        week = 7 * DAY_S
        return (self._now + 3 * DAY_S) // week * week + week - 3 * DAY_S

    def _pauses(self) -> Iterator[EdgeHistory]:
        gap = SESSION_GAP_S
        yield self._case(
            f"a pause of {gap} s ends no session, {gap} s ago",
            self._events(3 * gap + 1, 2 * gap, gap),
        )
        yield self._case(
            f"a pause of {gap + 1} s ends a session", self._events(2 * gap + 2, gap + 1, 0)
        )
        yield self._case(f"{gap + 1} s ago: the session ended", self._events(gap + 9, gap + 1))
        yield self._case("all events in one second", self._events(7, 7, 7))

    def _lengths(self) -> Iterator[EdgeHistory]:
        length = self._spec.max_history
        for n in (length, length + 1):
            named = f"{n} events, of which {length} are used"
            yield self._case(named, self._events(*(60 * (n - at) for at in range(n))))

    def _repeats(self) -> Iterator[EdgeHistory]:
        one, two = self._id(0), self._id(1)
        now, half = self._now, OWN_HALF_LIFE_S
        again = [(one, 0, now - half), (two, 0, now - 900), (one, self._like, now - 60)]
        yield self._case("an item twice, long ago and just now", again)
        twice = [(one, 0, now - 60)] * 2 + [(two, self._like, now - 60)] * 3
        yield self._case("the same events more than once", twice)

    def _unknown(self) -> Iterator[EdgeHistory]:
        known = self._events(9 * DAY_S, 2 * DAY_S, 40)
        strange = [one for one in self._strange(known[0][0]) if self._bundle.row_of(one) < 0]
        mixed = [(one, self._like, self._now - 10 * DAY_S) for one in strange]
        mixed += [known[0], (strange[0], self._like, known[0][2]), *known[1:]]
        mixed += [(one, self._like, self._now - 5) for one in strange]
        yield self._case("ids that the release does not have, among others", mixed)
        yield self._case(
            "only ids that the release does not have", [(one, 0, self._now - 5) for one in strange]
        )

    def _strange(self, known: str) -> Iterator[str]:
        """Ids like a known one: to trim, to fold case or to search by prefix would find it."""
        yield "no such item"
        yield from ("", f" {known}", f"{known} ", f"{known}\x00", known[:-1], known + known[-1:])
        yield from (known.upper(), known.lower(), "\u2603", "\U0001f3ac")

    def _withdrawn(self) -> Iterator[EdgeHistory]:
        gone = np.flatnonzero(~self._bundle.available[:LOOKED_AT])[:2].tolist()
        if not gone:
            self._unmade.append("histories of withdrawn items: none is withdrawn")
            return
        events = self._events(5000, 4000, 30)
        events[1:2] = [(self._bundle.item_id(row), self._like, self._now - 3000) for row in gone]
        yield self._case("withdrawn items stay in a history", events)

    def _numbers(self) -> Iterator[EdgeHistory]:
        looked = np.asarray(self._bundle.numeric[np.arange(self._looked)])
        for name, column in zip(self._spec.numeric, looked.T, strict=True):
            if (column < 0).any():
                rows = np.flatnonzero(column < 0)[: self._spec.recent - 1]
                lone = [(self._bundle.item_id(row), 0, self._now - 50) for row in rows.tolist()]
                yield self._case(f"items whose {name} is unknown", lone)
                break
        else:
            self._unmade.append("histories of items with unknown numbers: all are known")
            return
        ids = [
            self._bundle.item_id(row) for some in (looked < 0, looked == 0) for row in _ones(some)
        ]
        mixed = [(one, 0, self._now - 50) for one in dict.fromkeys(ids)][: self._spec.recent - 1]
        yield self._case(
            "items whose numbers are known, unknown and 0", [*self._events(90), *mixed]
        )

    @property
    def _looked(self) -> int:
        return min(self._bundle.item_count, LOOKED_AT)

    def _letters(self) -> Iterator[EdgeHistory]:
        ids = (self._bundle.item_id(row) for row in range(self._looked))
        found = [one for one in ids if not one.isascii()][:3]
        if not found:
            self._unmade.append("histories of ids beyond ASCII: the catalogue has no such id")
            return
        forms = (unicodedata.normalize(form, one) for one in found for form in ("NFC", "NFD"))
        other = [one for one in forms if self._bundle.row_of(one) < 0][:2]
        mixed = [(one, 0, self._now - 70) for one in (*found, *other)]
        yield self._case("ids beyond ASCII, in other forms too", mixed)

    def _bare(self) -> Iterator[EdgeHistory]:
        codes = np.asarray(self._bundle.categories[np.arange(self._looked)])
        bare, many = np.flatnonzero(~codes.any(axis=1)), np.flatnonzero(codes.all(axis=1))
        if not len(bare):
            self._unmade.append("histories of items without a category: each has one")
            return
        ids = [self._bundle.item_id(int(row)) for row in (*bare[:1], *many[:1])]
        yield self._case("items without a category", [(one, 0, self._now - 9) for one in ids])


def _ones(some: NDArray[np.bool_]) -> list[int]:
    """The first row of each column of [n, M] in which it is true."""
    return [int(np.flatnonzero(column)[0]) for column in some.T if column.any()]
