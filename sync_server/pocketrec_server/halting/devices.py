"""Devices that a guardrail compares: arm, network, and what they did since the exposure.

The cost of a look is bounded: so many devices of a network, so many devices, so many events. Which
devices are left out does not depend on their arm.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from pocketrec_bundle.encoding.strict_json import is_number
from pocketrec_bundle.settings.experiment_sums import CONVERSIONS
from pocketrec_bundle.units import DAY_S
from pocketrec_server.storage.database import snapshot
from pocketrec_server.storage.tables import EVENT, EXPOSED

MOST_OF_NETWORK = 20
"""Maximum devices of a network: it counts as one device, however many report from it."""
MOST_DEVICES = 20_000
MOST_EVENTS = 500_000
"""Maximum events that a look reads, about 5 s of one core; devices beyond are left out."""
_AT_ONCE = 200
FALLBACKS = ("fallback", "none")
MOST_MS = 60_000.0
"""A slate's latency is cut here, as in the report."""
CLICK_S = 7 * DAY_S
"""Maximum time from an impression to a click that names no request."""
BOT_EVENTS, BOT_RATIO, BOT_QUANTILE = 1000, 10, 0.99
"""A bot has more requests and interactions on a day than the first, and more than the second times
this quantile of all devices' busiest days, as in the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One device of an experiment."""

    install: int
    arm: str
    network: str
    exposed_utc: int


@dataclass(slots=True)
class Figures:
    """Sums of one device since its exposure, or of another period.

    The names are those of `pocketrec_experiments.statistics.metrics.QUANTITIES`; `days` and
    `converted_days` are not among them.
    """

    requests: float = 0
    timed: float = 0
    slate_ms: float = 0
    fallbacks: float = 0
    failures: float = 0
    impressions: float = 0
    clicks: float = 0
    converted: float = 0
    busiest: int = 0
    _days: dict[int, int] = field(default_factory=dict)
    _converted: set[int] = field(default_factory=set)

    def count(self, ts: int, *, converts: bool = False) -> None:
        """Count a request or interaction on its day."""
        day = ts // DAY_S
        self._days[day] = self._days.get(day, 0) + 1
        self.busiest = max(self.busiest, self._days[day])
        if converts:
            self.converted = 1.0
            self._converted.add(day)

    @property
    def days(self) -> int:
        """Days with a request or interaction."""
        return len(self._days)

    @property
    def converted_days(self) -> int:
        """Days with a conversion."""
        return len(self._converted)


def members(
    engine: Engine, subject: str, arms: Collection[str], from_utc: int, until_utc: int
) -> list[Member]:
    """Read the devices that were exposed from `from_utc` to before `until_utc`.

    Devices with a forced arm are left out. The first devices of every network come first.
    """
    column = EXPOSED.c
    place = func.row_number().over(partition_by=column.network, order_by=column.install)
    ranked = (
        select(column.install, column.arm, column.network, column.exposed_utc, place.label("place"))
        .where(
            column.subject == subject,
            column.forced == 0,
            column.arm.in_(list(arms)),
            column.exposed_utc >= from_utc,
            column.exposed_utc < until_utc,
        )
        .subquery()
    )
    of = ranked.c
    query = (
        select(of.install, of.arm, of.network, of.exposed_utc)
        .where(of.place <= MOST_OF_NETWORK)
        .order_by(of.place, of.install)
        .limit(MOST_DEVICES)
    )
    with engine.connect() as connection:
        return [Member(**row._mapping) for row in connection.execute(query)]


def figures(
    engine: Engine,
    found: Sequence[Member],
    until_utc: int,
    conversions: Collection[str] = CONVERSIONS,
) -> dict[int, Figures]:
    """Return the figures of the devices by install, without bots.

    Args:
        engine: the database.
        found: the devices.
        until_utc: unix seconds; later events do not count.
        conversions: names of the events that are conversions.
    """
    since = {one.install: one.exposed_utc for one in found}
    by_install = {install: Figures() for install in since}
    for install, rows in events_of(engine, since, until_utc):
        late = (row for row in rows if row.ts >= since[install])
        add_up(by_install[install], late, frozenset(conversions))
    return without_bots(by_install)


def events_of(
    engine: Engine, since: Mapping[int, int], until_utc: int
) -> Iterator[tuple[int, list[Any]]]:
    """Yield the events of installs in the order of their times, at most `MOST_EVENTS` together.

    Args:
        engine: the database.
        since: unix seconds by install; some earlier events of an install may come too.
        until_utc: unix seconds; later events are left out.
    """
    left, installs = MOST_EVENTS, list(since)
    with snapshot(engine) as connection:
        for at in range(0, len(installs), _AT_ONCE):
            some = {install: since[install] for install in installs[at : at + _AT_ONCE]}
            for install, rows in _events(connection, some, until_utc, left):
                left -= len(rows)
                yield install, rows
            if left <= 0:
                return


def _events(
    connection: Connection, since: Mapping[int, int], until_utc: int, most: int
) -> Iterator[tuple[int, list[Any]]]:
    column = EVENT.c
    query = (
        select(
            column.install,
            column.id,
            column.kind,
            column.item_id,
            column.event,
            column.ts,
            column.context,
        )
        .where(
            column.install.in_(list(since)),
            column.ts >= min(since.values()),
            column.ts < until_utc,
        )
        .order_by(column.install, column.ts)
        .limit(max(most, 1))
    )
    for install, rows in groupby(connection.execute(query), key=lambda row: row.install):
        yield install, list(rows)


def add_up(sums: Figures, rows: Iterable[Any], conversions: Collection[str]) -> None:
    """Add the events of one device, in the order of their times."""
    shown: set[tuple[str, str]] = set()
    newest: dict[str, tuple[int, tuple[str, str]]] = {}
    clicked: set[tuple[str, str]] = set()
    for row in rows:
        if row.kind == "impression":
            key = (row.id.rpartition(".")[0], row.item_id)
            shown.add(key)
            newest[row.item_id] = (row.ts, key)
        elif row.kind == "request":
            sums.count(row.ts)
            _add_request(sums, json.loads(row.context))
        elif row.kind == "interaction":
            sums.count(row.ts, converts=row.event in conversions)
            request = json.loads(row.context).get("request")
            if isinstance(request, str):
                clicked.add((request, row.item_id))
            elif row.item_id in newest and row.ts - newest[row.item_id][0] <= CLICK_S:
                clicked.add(newest[row.item_id][1])
    sums.impressions += len(shown)
    sums.clicks += len(shown & clicked)


def _add_request(sums: Figures, context: dict[str, object]) -> None:
    sums.requests += 1
    ms = context.get("ms")
    if is_number(ms, 0):
        sums.timed += 1
        sums.slate_ms += min(float(ms), MOST_MS)  # type: ignore[arg-type]
    sums.fallbacks += context.get("source") in FALLBACKS
    sums.failures += bool(context.get("faults"))


def without_bots(by_install: dict[int, Figures]) -> dict[int, Figures]:
    """Return the figures of devices whose busiest day is not far beyond that of the others."""
    if not by_install:
        return by_install
    peaks = sorted(sums.busiest for sums in by_install.values())
    usual = peaks[min(int(BOT_QUANTILE * len(peaks)), len(peaks) - 1)]
    limit = max(BOT_EVENTS, BOT_RATIO * usual)
    return {install: sums for install, sums in by_install.items() if sums.busiest <= limit}
