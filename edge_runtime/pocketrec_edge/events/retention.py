"""Retention: remove old events by age (storage limitation, GDPR article 5(1)(e)) and by size.

Impressions and requests are removed before interactions and exposures, old events before new ones.
Events that wait for an upload with consent stay until the hard limits; events removed by these are
counted as lost. Showings of campaigns are needed for a day; they are removed after a month, or
after `days` if that is less.
"""

import sqlite3
from dataclasses import dataclass

from pocketrec_bundle.units import DAY_S
from pocketrec_edge.events import consent
from pocketrec_edge.events.schema import REJECTED, SENT, UNSENT, WITHHELD, transaction

SHOWING_DAYS = 30
REMOVED, LOST = "removed", "lost"
_DONE = (SENT, WITHHELD, REJECTED)
_LEAST_BATCH = 16  # rows; about a page of them, and a page is what can become free


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Limits of the log's age and size. Sizes are bytes of used pages, without the WAL.

    Attributes:
        days: maximum age of an event.
        max_bytes: maximum size; an event takes about 250 bytes.
        hard_days: maximum age of an event that waits for its upload.
        hard_max_bytes: maximum size if events wait for their upload.
        every: appended events between two runs; the log may exceed its limits by as many. A run
            takes 0.1 ms without work, and 0.1 s to remove 500 of 40,000 events.
    """

    days: int = 365
    max_bytes: int = 16 << 20
    hard_days: int = 730
    hard_max_bytes: int = 32 << 20
    every: int = 500

    def __post_init__(self) -> None:
        """Check the limits; wrong ones would empty the log silently.

        Raises:
            ValueError: a limit is below 1, or a hard limit below its soft one.
        """
        if min(self.days, self.max_bytes, self.every) < 1:
            raise ValueError(f"{self}: days, max_bytes and every must be at least 1.")
        if self.hard_days < self.days or self.hard_max_bytes < self.max_bytes:
            raise ValueError(f"{self}: a hard limit must not be below its soft limit.")


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of used pages."""
    pages, free, page_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * page_bytes)


def tallies(connection: sqlite3.Connection, fate: str) -> dict[str, int]:
    """Return the counts of removed, lost and rejected events since the log began, by reason."""
    rows = connection.execute("SELECT reason, events FROM tally WHERE fate = ?", (fate,))
    return dict(rows.fetchall())


def enforce(connection: sqlite3.Connection, limits: Retention, now: int) -> int:
    """Remove events beyond the limits and free their pages; return the number of events.

    Without work it costs a few look-ups. A second run removes nothing.

    Args:
        connection: the log's, without an open transaction.
        limits: the limits.
        now: unix seconds; events older than now - days are removed.
    """
    if not _is_due(connection, limits, now):
        return 0
    with transaction(connection):
        waiting = consent.current(connection).state == consent.GRANTED
        free = _DONE if waiting else (UNSENT, *_DONE)
        gone = _forget_old(connection, free, now - limits.days * DAY_S, REMOVED)
        gone += _shrink(connection, free, limits.max_bytes, REMOVED)
        if waiting:
            gone += _forget_old(connection, (UNSENT,), now - limits.hard_days * DAY_S, LOST)
            gone += _shrink(connection, (UNSENT,), limits.hard_max_bytes, LOST)
        showings = connection.execute(
            "DELETE FROM showing WHERE ts < ?", (_showings_from(limits, now),)
        ).rowcount
    if gone or showings:
        # As a script: `execute` stops after the first page, since the statement has no columns.
        connection.executescript("PRAGMA incremental_vacuum")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # best effort: a reader may be busy
    return gone


def _is_due(connection: sqlite3.Connection, limits: Retention, now: int) -> bool:
    """Whether a limit may be exceeded; takes no lock, so opening the log never waits."""
    old = connection.execute(
        "SELECT 1 FROM event WHERE uploaded IN (?, ?, ?, ?) AND ts < ? LIMIT 1",
        (UNSENT, *_DONE, now - limits.days * DAY_S),
    ).fetchone()
    old_showing = connection.execute(
        "SELECT 1 FROM showing WHERE ts < ? LIMIT 1", (_showings_from(limits, now),)
    ).fetchone()
    return bool(old or old_showing) or used_bytes(connection) > limits.max_bytes


def _showings_from(limits: Retention, now: int) -> int:
    return now - min(limits.days, SHOWING_DAYS) * DAY_S


def _forget_old(
    connection: sqlite3.Connection, states: tuple[int, ...], before: int, fate: str
) -> int:
    gone = sum(
        connection.execute(
            "DELETE FROM event WHERE uploaded = ? AND ts < ?", (state, before)
        ).rowcount
        for state in states
    )
    count(connection, fate, "age", gone)
    return gone


def _shrink(connection: sqlite3.Connection, states: tuple[int, ...], limit: int, fate: str) -> int:
    """Remove the oldest events until the size is within the limit."""
    four = (states * 4)[:4]  # one statement, however many states
    (left,) = connection.execute(
        "SELECT count(*) FROM event WHERE uploaded IN (?, ?, ?, ?)", four
    ).fetchone()
    gone = 0
    while left and (used := used_bytes(connection)) > limit:
        # Half of what the mean size asks for: impressions are larger than the mean.
        wanted = max(_LEAST_BATCH, left * (used - limit) // used // 2)
        batch = connection.execute(
            "DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE uploaded IN (?, ?, ?, ?) "
            "ORDER BY kind IN ('interaction', 'exposure'), ts, id LIMIT ?)",
            (*four, wanted),
        ).rowcount
        left -= batch
        gone += batch
    count(connection, fate, "size", gone)
    return gone


def count(connection: sqlite3.Connection, fate: str, reason: str, events: int) -> None:
    """Add to a tally."""
    if events:
        connection.execute(
            "INSERT INTO tally VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET events = events + excluded.events",
            (fate, reason, events),
        )
