"""Measure how a like changes the next slate, on phones with a real log: delay and size.

A phone with the last 0, 5 or 50 events of a user in its SQLite log shows a slate; the user likes
one of its items, at the same second, and asks again. Nothing else happens, and the release does not
explore, so all that changes is the like's doing. A like is the release's last event type. Peer:
popular items without those had, which lose the liked one and change in nothing else.

Columns: milliseconds from `feedback()`, which returns once the like is on the disk, to the next
slate; share of the slate that was not in the one before (.1 is the place that the liked item left,
in slates of ten); mean cosine of the slate with the liked item, and share of its items that have a
category of it, each after the like less before it, without the liked item itself.
"""

import shutil
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, percentiles
from pocketrec_bundle.errors import InputError, PocketRecError
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_edge.device import Device
from pocketrec_edge.events.event import INTERACTION, Event
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.faults import joined
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.recommend.index import Index
from pocketrec_training.data.dataset import Dataset
from pocketrec_training.metrics.cases import Cases, some

K = 10
LENGTHS, PLACES = (0, 5, 50), (1, 3, 10)
USERS = 100

Row = dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Ruler:
    """Unit vectors, float32 [N, d], and category codes, integer [N, K], of a release."""

    units: NDArray[np.float32]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, bundle: Bundle) -> "Ruler":
        """Take them from a release."""
        every = np.arange(bundle.item_count, dtype=np.int32)
        vectors = Index.of(bundle).vectors(every)
        lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return cls(vectors / lengths, np.asarray(bundle.categories[every], np.int64))

    def change(self, before: list[int], after: list[int], liked: int) -> dict[str, float]:
        """Compare two slates by an item of the first."""
        kept = [row for row in before if row != liked]
        mine = self.codes[liked][self.codes[liked] > 0]
        shares = np.asarray(np.isin(self.codes, mine).any(axis=1))
        cosine, alike = (
            [float(np.mean(of)) for of in (column[kept], column[after])]
            for column in (self.units @ self.units[liked], shares)
        )
        return {
            "new": len(set(after) - set(before)) / len(after),
            "cosine_before": cosine[0],
            "cosine_change": cosine[1] - cosine[0],
            "alike_before": alike[0],
            "alike_change": alike[1] - alike[0],
            "liked_left": float(liked not in after),
        }


def measure(bundle_dir: Path, data: Dataset, cases: Cases, homes: Path, seed: int) -> list[Row]:
    """Like an item at each place, with each length of the log, on as many phones.

    Args:
        bundle_dir: the release.
        data: gives the histories.
        cases: of users; those with a history of at least the longest log are drawn from.
        homes: folder for the phones; each is removed after its slate.
        seed: of the draw.
    """
    bundle = open_bundle(bundle_dir)
    long = np.flatnonzero(cases.ends >= max(LENGTHS))
    chosen, ruler = some(cases.take(long), USERS, seed), Ruler.of(bundle)
    if not len(chosen):
        raise InputError(f"session: nobody has the {max(LENGTHS)} events of the longest log.")
    types = bundle.spec.event_types
    popular = np.asarray(bundle.array("items/popular"))
    rows: list[Row] = []
    for length in LENGTHS:
        for place in PLACES:
            model: list[dict[str, float]] = []
            peer: list[dict[str, float]] = []
            for user, end in chosen.pairs:
                events, now = _events(data, types, user, end, length)
                home = homes / "phone"
                model.append(_liked(bundle_dir, home, events, now, place, ruler, types[-1]))
                had = [bundle.row_of(event.item_id) for event in events]
                free = popular[~np.isin(popular, had)][: K + 1].tolist()
                liked = free[place - 1]
                after = [row for row in free if row != liked]
                peer.append(ruler.change(free[:K], after, liked))
            rows.append(_row("model", length, place, model))
            rows.append(_row("popularity", length, place, peer))
    return rows


def _events(
    data: Dataset, types: Sequence[str], user: int, end: int, length: int
) -> tuple[list[Event], int]:
    """The last events of a case as a log has them, and the moment of the case."""
    past = data.history(user, end)
    at = range(len(past))[len(past) - length :]
    events = [
        Event(
            id=str(uuid.UUID(int=n)),  # ties of time stamps keep their order
            kind=INTERACTION,
            item_id=data.items.ids[past.rows[n]],
            event=types[past.events[n]],
            value=None,
            ts=int(past.ts[n]),
            context={},
        )
        for n in at
    ]
    return events, int(data.ts[data.offsets[user] + end])


def _liked(
    bundle_dir: Path,
    home: Path,
    events: list[Event],
    now: int,
    place: int,
    ruler: Ruler,
    event: str,
) -> dict[str, float]:
    """Like what stands at a place, on a phone with these events; what changed, and how soon."""
    shutil.rmtree(home, ignore_errors=True)
    log = EventLog(PhoneHome(home).event_log)
    log.append_many(events)
    log.close()
    phone = Device(home, bundle=bundle_dir, limits=None, clock=lambda: now)
    first = phone.recommend(K)
    liked = first.items[place - 1]
    start = time.perf_counter()
    phone.feedback(liked.item_id, event)
    second = phone.recommend(K)
    ms = (time.perf_counter() - start) * 1000
    phone.close()
    shutil.rmtree(home)
    for answer in (first, second):
        if answer.faults or answer.source != "model":
            raise PocketRecError(f"session: {answer.source}, {joined(answer.faults)}")
    before, after = ([item.row for item in answer.items] for answer in (first, second))
    return {**ruler.change(before, after, liked.row), "ms": ms}


def _row(method: str, length: int, place: int, found: Sequence[dict[str, float]]) -> Row:
    means: Row = {
        key: float(np.mean([each[key] for each in found])) for key in found[0] if key != "ms"
    }
    times = percentiles([each["ms"] for each in found]) if "ms" in found[0] else {}
    return {
        "table": "reaction",
        "method": method,
        "history": length,
        "place": place,
        "phones": len(found),
        "ms_p50": times.get("p50"),
        "ms_p99": times.get("p99"),
        **means,
    }


def show(rows: Sequence[Row]) -> None:
    """Print what a like changed, by length of the log and place of the liked item."""
    table = Table(title=f"session: the slate after a like, {rows[0]['phones']} phones a row")
    heads = ("method", "events", "place", "ms", "p99", "new", "cosine", "change", "alike", "change")
    for name in (*heads, "liked item left"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for row in rows:
        times = ("ms_p50", "ms_p99")
        table.add_row(
            *(str(row[name]) for name in ("method", "history", "place")),
            *("-" if row[name] is None else f"{row[name]:.1f}" for name in times),
            f"{row['new']:.3f}",
            *(
                f"{row[f'{of}_{when}']:{form}}"
                for of in ("cosine", "alike")
                for when, form in (("before", ".3f"), ("change", "+.3f"))
            ),
            f"{row['liked_left']:.3f}",
        )
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120).print(table)
