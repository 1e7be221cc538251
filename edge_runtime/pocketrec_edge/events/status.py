"""Counts of the event log's current and removed events."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from pocketrec_edge.events import consent, outbox, retention
from pocketrec_edge.events.consent import Consent
from pocketrec_edge.events.event import INTERACTION
from pocketrec_edge.events.schema import UNSENT


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStatus:
    """Counts of the log.

    Attributes:
        events: events of all kinds.
        interactions: of them, interactions.
        showings: showings of campaigns; they do not count as events.
        pending: events that the next sync sends; 0 without consent.
        upload_after: when the server accepts uploads again, unix seconds; None: now.
        log_bytes: size of the file and its WAL.
        oldest_ts: time of the oldest event, unix seconds.
        consent: the last decision.
        removed: events that retention removed, by reason: age or size.
        lost: of them, events that waited for their upload, by reason.
        rejected: events that the server rejected, by its reason.
    """

    events: int
    interactions: int
    showings: int
    pending: int
    upload_after: int | None
    log_bytes: int
    oldest_ts: int | None
    consent: Consent
    removed: dict[str, int]
    lost: dict[str, int]
    rejected: dict[str, int]


def read(connection: sqlite3.Connection, path: Path, now: int) -> LogStatus:
    """Return the counts of a log."""
    decision = consent.current(connection)
    events, interactions, unsent, oldest = connection.execute(
        "SELECT count(*), coalesce(sum(kind = ?), 0), coalesce(sum(uploaded = ?), 0), "
        "min(ts) FROM event",
        (INTERACTION, UNSENT),
    ).fetchone()
    return LogStatus(
        events=events,
        interactions=interactions,
        showings=connection.execute("SELECT count(*) FROM showing").fetchone()[0],
        pending=unsent if decision.state == consent.GRANTED else 0,
        upload_after=outbox.waits_until(connection, now),
        log_bytes=sum(p.stat().st_size for p in path.parent.glob(f"{path.name}*")),
        oldest_ts=oldest,
        consent=decision,
        removed=retention.tallies(connection, retention.REMOVED),
        lost=retention.tallies(connection, retention.LOST),
        rejected=retention.tallies(connection, outbox.FATE),
    )
