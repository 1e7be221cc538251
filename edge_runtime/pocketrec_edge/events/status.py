"""What the event log holds and what it held, counted."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from pocketrec_edge.events import consent, outbox, retention
from pocketrec_edge.events.consent import Consent
from pocketrec_edge.events.event import INTERACTION
from pocketrec_edge.events.schema import UNSENT


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStatus:
    """What the log holds and what it held.

    Attributes:
        events: rows of any kind.
        interactions: those of what the user did.
        showings: of campaigns, which are no events.
        pending: those that the next sync sends; none without consent.
        upload_after: unix seconds before which the server wants no upload; None: it may come.
        log_bytes: of the file and its WAL.
        oldest_ts: unix seconds of the oldest event.
        consent: the last decision.
        removed: events that retention removed, by reason: age or size.
        lost: those among the removed ones that waited for their upload, by reason.
        rejected: events that the server did not store, by the reason that it gave.
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
    """Count what is in the log of a file."""
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
