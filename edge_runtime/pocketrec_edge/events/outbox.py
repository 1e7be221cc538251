"""The outbox: the batch that the server has not acknowledged yet, and the time of the next upload.

A batch keeps its random id and its events until the server answers, also in later processes. If the
answer was lost, the server recognises the repeated batch by its id.
"""

import json
import sqlite3
import uuid
from dataclasses import asdict, dataclass

from pocketrec_edge.events import retention
from pocketrec_edge.events.cipher import Cipher
from pocketrec_edge.events.event import Event, decode
from pocketrec_edge.events.schema import REJECTED, SENT, UNSENT

MAX_BATCH_BYTES = 512 << 10  # of JSON, so that no server's limit is near
MAX_WAIT_S = 86_400
FATE = "rejected"  # in the tally, which `retention.py` keeps
_MAX_REASONS, _MAX_REASON = 32, 200
_COLUMNS = "id, kind, ts, item_id, event, value, context, sealed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Events under one id, oldest first."""

    id: str
    events: list[Event]


def next_batch(connection: sqlite3.Connection, cipher: Cipher | None, most: int) -> Batch | None:
    """Return the next batch and store it, in the caller's transaction.

    If an event of the stored batch was removed (retention, withdrawal), the batch is discarded, and
    its other events get another id.
    """
    if (noted := _noted(connection, cipher)) is not None:
        return noted
    forget(connection)
    events = _oldest(connection, cipher, most)
    if not events:
        return None
    batch = Batch(id=str(uuid.uuid4()), events=events)
    ids = json.dumps([event.id for event in events])
    connection.execute("INSERT INTO batch (id, events) VALUES (?, ?)", (batch.id, ids))
    return batch


def pending(connection: sqlite3.Connection, cipher: Cipher | None, most: int) -> list[Event]:
    """Return the oldest events that were not sent."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM event WHERE uploaded = ? ORDER BY ts, id LIMIT ?",  # noqa: S608
        (UNSENT, most),
    )
    return [decode(row, cipher) for row in rows]


def acknowledge(connection: sqlite3.Connection, batch: Batch, rejected: dict[int, str]) -> None:
    """Record the server's answer, in the caller's transaction.

    Args:
        connection: the log's connection.
        batch: the batch that was sent.
        rejected: reasons by place in the batch; those events are not sent again.
    """
    connection.executemany(
        "UPDATE event SET uploaded = ? WHERE id = ?",
        [
            (REJECTED if place in rejected else SENT, event.id)
            for place, event in enumerate(batch.events)
        ],
    )
    for reason in rejected.values():
        # The server's words are no longer or more than a log can bear.
        known = retention.tallies(connection, FATE)
        text = reason[:_MAX_REASON]
        text = text if text in known or len(known) < _MAX_REASONS else "other reasons"
        retention.count(connection, FATE, text, 1)
    forget(connection)


def forget(connection: sqlite3.Connection) -> None:
    """Discard the stored batch; its events are sent under another id."""
    connection.execute("DELETE FROM batch")


def wait(connection: sqlite3.Connection, now: int, seconds: int) -> None:
    """Record that the server accepts no upload for some seconds, at most a day."""
    until = now + min(max(seconds, 0), MAX_WAIT_S)
    connection.execute("DELETE FROM upload_wait")
    connection.execute("INSERT INTO upload_wait (from_utc, until_utc) VALUES (?, ?)", (now, until))


def waits_until(connection: sqlite3.Connection, now: int) -> int | None:
    """Return the end of the wait, or None. A clock that was set back also ends the wait."""
    row = connection.execute(
        "SELECT until_utc FROM upload_wait WHERE from_utc <= ? AND ? < until_utc", (now, now)
    ).fetchone()
    return int(row[0]) if row else None


def _noted(connection: sqlite3.Connection, cipher: Cipher | None) -> Batch | None:
    row = connection.execute("SELECT id, events FROM batch").fetchone()
    if row is None:
        return None
    events = []
    for event_id in json.loads(row[1]):
        found = connection.execute(
            f"SELECT {_COLUMNS} FROM event WHERE id = ? AND uploaded = ?",  # noqa: S608
            (event_id, UNSENT),
        ).fetchone()
        if found is None or not _is_json(event := decode(found, cipher)):
            return None
        events.append(event)
    return Batch(id=row[0], events=events)


def _oldest(connection: sqlite3.Connection, cipher: Cipher | None, most: int) -> list[Event]:
    """Return the oldest events that fit into a batch, at least one."""
    chosen: list[Event] = []
    left = MAX_BATCH_BYTES
    for event in pending(connection, cipher, most):
        if not _is_json(event):
            connection.execute("UPDATE event SET uploaded = ? WHERE id = ?", (REJECTED, event.id))
            retention.count(connection, FATE, "it is no JSON", 1)
            continue
        left -= len(json.dumps(asdict(event)))
        if chosen and left < 0:
            break
        chosen.append(event)
    return chosen


def _is_json(event: Event) -> bool:
    """Whether a value is valid JSON; NaN or a lone surrogate would block the batch forever."""
    try:
        json.dumps(asdict(event), allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True
