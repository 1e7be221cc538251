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
from dataclasses import asdict, dataclass
from pathlib import Path

from pocketrec_edge.answers import Answer
from pocketrec_edge.events.event import IMPRESSION, Event
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.retention import used_bytes
from pocketrec_edge.events.slate_events import slate_events

RELEASE = "5f" * 32
BATCH = 500


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
