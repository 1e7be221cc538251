"""Sessions of the app: one id for what a user does without a longer pause.

The log stores the running session only. Requests and interactions name it in their context, so
length, slates and depth of a session are computed from them. Pages have sessions of their own, see
`paging.py`.
"""

import secrets
import sqlite3
from dataclasses import dataclass

PAUSE_S = 1800
"""Seconds without a request or interaction after which a session has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSession:
    """The running session.

    Attributes:
        id: random, 64 bits, 11 characters; unique with the install id.
        used_utc: time of the last request or interaction by the device's clock, unix seconds.
    """

    id: str
    used_utc: int


def current(connection: sqlite3.Connection) -> AppSession | None:
    """Return the session that was noted last, whether or not it has ended."""
    row = connection.execute("SELECT id, used_utc FROM app_session").fetchone()
    return None if row is None else AppSession(id=row[0], used_utc=row[1])


def touch(connection: sqlite3.Connection, now: int, pause_s: int) -> str:
    """Return the id of the running session and note its use, in the caller's transaction.

    A new session begins after a pause. So it does if the clock was set back by more than a pause,
    because the time since the last use is unknown then.

    Args:
        connection: the log's connection.
        now: unix seconds by the device's clock.
        pause_s: seconds that end a session.
    """
    last = current(connection)
    if last is not None and abs(now - last.used_utc) <= pause_s:
        connection.execute("UPDATE app_session SET used_utc = ?", (now,))
        return last.id
    begun = secrets.token_urlsafe(8)
    connection.execute("DELETE FROM app_session")
    connection.execute("INSERT INTO app_session (id, used_utc) VALUES (?, ?)", (begun, now))
    return begun
