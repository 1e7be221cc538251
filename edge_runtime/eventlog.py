"""The device's own record of what its user did and was shown: one SQLite file in WAL mode.

An event is acknowledged when `append` returns; it is then on the disk (synchronous = FULL).
"""

import json
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bundle.features import History
from bundle.reader import Bundle
from edge_runtime.errors import EventLogError

INTERACTION, IMPRESSION = "interaction", "impression"
_BUSY_MS = 2000
_LEAST_FREE_BYTES = 64 << 10  # WAL opens with a shared-memory file of 32 KiB
_UNWRITABLE = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, item_id TEXT NOT NULL, event TEXT NOT NULL,
    value REAL, ts INTEGER NOT NULL, context TEXT NOT NULL, uploaded INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS event_ts ON event (kind, ts);
CREATE INDEX IF NOT EXISTS event_pending ON event (uploaded, ts);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of the log; ts is unix seconds, id a random UUID made on the device."""

    id: str
    kind: str
    item_id: str
    event: str
    value: float | None
    ts: int
    context: dict[str, Any]


class EventLog:
    """Append, read back as a history, hand out what is not uploaded yet."""

    def __init__(self, path: Path) -> None:
        """Open or create the log; where it cannot be written, `fault` says so and it can be read.

        Raises:
            EventLogError: it is locked or damaged, or the disk is full and there is no log yet.
        """
        self._path = path
        self.fault: str | None = None
        try:
            with self._wrapped():
                self._open()
        except EventLogError as err:
            code = getattr(err.__cause__, "sqlite_errorcode", 0) & 0xFF  # without the extended part
            if code not in _UNWRITABLE or not path.is_file():
                raise
            self.fault = str(err)
            # Immutable: no shared-memory file, which a full disk has no room for. What a killed
            # process left in the WAL is not seen until there is space again.
            address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
            with self._wrapped():
                self._connection = sqlite3.connect(address, uri=True, check_same_thread=False)
                self._connection.execute("SELECT count(*) FROM event")

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(
            self._path, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file; the log can be opened again."""
        self._connection.close()

    def append(
        self,
        item_id: str,
        event: str,
        *,
        ts: int,
        value: float | None = None,
        kind: str = INTERACTION,
        context: dict[str, Any] | None = None,
        event_id: str | None = None,
    ) -> str:
        """Store one event and return its id; an id that is there already is not stored again.

        Raises:
            EventLogError: it could not be stored.
        """
        self.append_many(
            [
                made := Event(
                    id=event_id or str(uuid.uuid4()),
                    kind=kind,
                    item_id=item_id,
                    event=event,
                    value=value,
                    ts=ts,
                    context=context or {},
                )
            ]
        )
        return made.id

    def append_many(self, events: list[Event]) -> None:
        """Store events in one transaction, all or none.

        Raises:
            EventLogError: they could not be stored.
        """
        rows = [
            (e.id, e.kind, e.item_id, e.event, e.value, e.ts, json.dumps(e.context)) for e in events
        ]
        if self.fault:
            raise EventLogError(self.fault)
        with self._wrapped():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(
                    "INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?, ?, ?, 0)", rows
                )
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def history(self, bundle: Bundle) -> tuple[History, int]:
        """Return the interactions as rows of a release, and how many it does not know.

        Raises:
            EventLogError: the log cannot be read.
        """
        with self._wrapped():
            found = self._connection.execute(
                "SELECT item_id, event, ts FROM event WHERE kind = ? ORDER BY ts, id",
                (INTERACTION,),
            ).fetchall()
        codes = {name: code for code, name in enumerate(bundle.spec.event_types)}
        known = [
            (row, codes[event], ts)
            for item_id, event, ts in found
            if event in codes and (row := bundle.row_of(item_id)) >= 0
        ]
        rows, events, ts = zip(*known, strict=True) if known else ((), (), ())
        history = History(
            np.array(rows, np.int32), np.array(events, np.int32), np.array(ts, np.int64)
        )
        return history, len(found) - len(known)

    def counts(self) -> dict[str, int]:
        """Return the number of events, interactions, and events not uploaded.

        Raises:
            EventLogError: the log cannot be read.
        """
        with self._wrapped():
            total, interactions, pending = self._connection.execute(
                "SELECT count(*), coalesce(sum(kind = ?), 0), coalesce(sum(uploaded = 0), 0) "
                "FROM event",
                (INTERACTION,),
            ).fetchone()
        return {"events": total, "interactions": interactions, "pending": pending}

    def pending(self, limit: int) -> list[Event]:
        """Return the oldest events that no server has acknowledged.

        Raises:
            EventLogError: the log cannot be read.
        """
        with self._wrapped():
            rows = self._connection.execute(
                "SELECT id, kind, item_id, event, value, ts, context FROM event "
                "WHERE uploaded = 0 ORDER BY ts, id LIMIT ?",
                (limit,),
            ).fetchall()
        names = ("id", "kind", "item_id", "event", "value", "ts")
        return [
            Event(**dict(zip(names, row[:6], strict=True)), context=json.loads(row[6]))
            for row in rows
        ]

    def mark_uploaded(self, ids: list[str]) -> None:
        """Note that a server has acknowledged these events.

        Raises:
            EventLogError: it could not be noted; they will be sent again, which does no harm.
        """
        with self._wrapped():
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                "UPDATE event SET uploaded = 1 WHERE id = ?", [(i,) for i in ids]
            )
            self._connection.execute("COMMIT")

    @contextmanager
    def _wrapped(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as err:
            found = "no space left on the disk" if self._is_full() else str(err)
            raise EventLogError(
                f"{self._path}: {found}. The event log must be writable, with space on the disk."
            ) from err

    def _is_full(self) -> bool:
        """Whether space is what is missing: SQLite often says "disk I/O error" only."""
        with suppress(OSError):
            return shutil.disk_usage(self._path.parent).free < _LEAST_FREE_BYTES
        return False
