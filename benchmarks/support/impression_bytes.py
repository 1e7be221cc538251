"""Bytes of an impression in the log and in an upload, before and since requests have rows.

Before version 0.2, each impression repeated what its slate shares, under a random UUID. Both forms
go through the log and the upload body of the present version, so only the events differ.
"""

import gzip
import json
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from pocketrec_edge.answers import Answer, SlateItem
from pocketrec_edge.events.event import IMPRESSION, Event
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.retention import used_bytes
from pocketrec_edge.events.slate_events import new_request, slate_events

RELEASE = "5f" * 32
BATCH = 500
SLATES = 100
PAGING = "0b0f0f7c-8c0f-4c0e-8c0a-0a0b0c0d0e0f"
CASES = {
    "slates of 10": (10, False, False),
    "slates of 20": (20, False, False),
    "slates of 10, in pages": (10, True, False),
    "slates of 20, in pages": (20, True, False),
    "slates of 10, of an experiment": (10, False, True),
}
"""Items of a slate, whether it is of a list in pages, whether it names an arm. The old form has no
arms, so the last case compares more information with less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpressionBytes:
    """Bytes of one impression, with its share of the request's row.

    Attributes:
        log: of the log file, pages in use.
        body: of the upload's JSON.
        gzip: of the upload's body as it is sent.
    """

    log: float
    body: float
    gzip: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Bytes of the same impressions in both forms.

    Attributes:
        name: of the case.
        before: one row for each impression, which repeats its slate.
        now: a row for the request, and one for each impression.
    """

    name: str
    before: ImpressionBytes
    now: ImpressionBytes


def compare_forms(folder: Path, seed: int) -> list[Comparison]:
    """Log and encode the slates of each case in both forms.

    Args:
        folder: for the logs.
        seed: of the slates.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for n, (name, (k, is_paged, has_arm)) in enumerate(CASES.items()):
        answers = drawn_slates(k, is_paged=is_paged, has_arm=has_arm, seed=seed)
        before = measure(answers, events_before, folder / f"before-{n}.sqlite")
        now = measure(answers, events_now, folder / f"now-{n}.sqlite")
        found.append(Comparison(name=name, before=before, now=now))
    return found


def drawn_slates(k: int, *, is_paged: bool, has_arm: bool = False, seed: int = 0) -> list[Answer]:
    """Draw slates of k items, as a phone with a ranker gets them; half of them explore."""
    rng = np.random.default_rng([seed, k])
    found = []
    for n in range(SLATES):
        items = tuple(
            SlateItem(
                row=int(row),
                item_id=f"item-{row}",
                title="",
                score=float(np.float32(rng.random())),
                retrieval_score=0.0,
                reason="",
                propensity=0.9 if n % 2 and place >= 3 else 1.0,
            )
            for place, row in enumerate(rng.choice(10_000, k, replace=False))
        )
        answer = Answer(
            items=items,
            source="model",
            faults=(),
            release="shop",
            stage_ms={"total": float(rng.random() * 30)},
            request=new_request(),
            arms={"blend": "treatment"} if has_arm else {},
        )
        found.append(replace(answer, session=PAGING, page=1 + n % 5) if is_paged else answer)
    return found


def events_before(answer: Answer, now_utc: int) -> list[Event]:
    """Return the impressions of a slate as version 0.1 logged them."""
    paged = {} if answer.page is None else {"session": answer.session, "page": answer.page}
    return [
        Event(
            id=str(uuid.uuid4()),
            kind=IMPRESSION,
            item_id=item.item_id,
            event="shown",
            value=None,
            ts=now_utc,
            context={
                "place": place,
                "score": item.score,
                "source": answer.source,
                "propensity": item.propensity,
                **({"sponsored": item.sponsored.campaign} if item.sponsored else {}),
                **paged,
            },
        )
        for place, item in enumerate(answer.items, 1)
    ]


def events_now(answer: Answer, now_utc: int) -> list[Event]:
    """Return the events of a slate as they are logged now."""
    return slate_events(answer, now_utc, scene="home", release=RELEASE)


def measure(
    answers: Sequence[Answer], form: Callable[[Answer, int], list[Event]], path: Path
) -> ImpressionBytes:
    """Log slates a minute apart, and encode them as uploads do.

    Args:
        answers: slates, each with its own `request`.
        form: `events_before` or `events_now`.
        path: of the log to write.
    """
    impressions = sum(len(answer.items) for answer in answers)
    events: list[Event] = []
    with closing(EventLog(path)) as log:
        for minute, answer in enumerate(answers):
            made = form(answer, 1_780_000_000 + 60 * minute)
            log.append_many(made, now=made[0].ts)
        log.set_consent(True)
        while batch := log.next_batch(BATCH):
            events += batch.events
            log.acknowledge(batch)
    with closing(sqlite3.connect(path)) as connection:
        used = used_bytes(connection)
    bodies = [
        json.dumps([asdict(event) for event in events[at : at + BATCH]], separators=(",", ":"))
        for at in range(0, len(events), BATCH)
    ]
    packed = sum(len(gzip.compress(body.encode(), 6, mtime=0)) for body in bodies)
    return ImpressionBytes(
        log=used / impressions,
        body=sum(map(len, bodies)) / impressions,
        gzip=packed / impressions,
    )
