"""Old events go by themselves: no longer kept than needed (GDPR article 5(1)(e)), and no larger.

Impressions go before interactions and old before new. What waits for an upload that the user
agreed to stays until the hard limits; what these take is counted as lost. Showings of campaigns
are needed for a day and go after a month, or after the events' days where these are fewer.
"""

import sqlite3
from dataclasses import dataclass

from pocketrec_edge.events import consent
from pocketrec_edge.events.schema import REJECTED, SENT, UNSENT, WITHHELD, transaction

DAY_S = 24 * 3600
SHOWING_DAYS = 30
REMOVED, LOST = "removed", "lost"
_DONE = (SENT, WITHHELD, REJECTED)
_LEAST_BATCH = 16  # rows; about a page of them, and a page is what can become free


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long and how large the log may be; sizes are bytes of pages in use, without the WAL.

    Attributes:
        days: age of an event at which it goes.
        max_bytes: size beyond which the oldest go; an event takes about 250 bytes.
        hard_days: age at which an event goes although it waits for its upload.
        hard_max_bytes: size beyond which events go although they wait for their upload.
        every: appended events between two runs; the log may outgrow its limits by so many. A run
            takes .1 ms where nothing is to be done, and .1 s where 500 of 40,000 events go.
    """

    days: int = 365
    max_bytes: int = 16 << 20
    hard_days: int = 730
    hard_max_bytes: int = 32 << 20
    every: int = 500

    def __post_init__(self) -> None:
        """Refuse what would silently empty the log.

        Raises:
            ValueError: a limit is below 1, or a hard limit below its soft one.
        """
        if min(self.days, self.max_bytes, self.every) < 1:
            raise ValueError(f"{self}: days, max_bytes and every are at least 1.")
        if self.hard_days < self.days or self.hard_max_bytes < self.max_bytes:
            raise ValueError(f"{self}: a hard limit is not below the limit itself.")


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of the pages that hold something."""
    pages, free, page_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * page_bytes)


def tallies(connection: sqlite3.Connection, fate: str) -> dict[str, int]:
    """Return how many events met a fate since the log began, by reason."""
    rows = connection.execute("SELECT reason, events FROM tally WHERE fate = ?", (fate,))
    return dict(rows.fetchall())


def enforce(connection: sqlite3.Connection, limits: Retention, now: int) -> int:
    """Remove what is beyond the limits and give its pages back; returns the number of events.

    Costs a few look-ups where nothing is to be done. A run after a run removes nothing.

    Args:
        connection: with no transaction open.
        limits: what may stay.
        now: unix seconds; an event whose ts is before now - days goes.
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
    """Whether something may be beyond a limit; takes no lock, so that opening never waits."""
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
    """Remove the oldest until the size is within the limit or none is left."""
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
            "ORDER BY kind = 'interaction', ts, id LIMIT ?)",
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
