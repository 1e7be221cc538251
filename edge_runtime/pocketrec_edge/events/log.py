"""The event log: what the user did and was shown, in one SQLite file in WAL mode.

An event is on the disk when `append` returns (synchronous = FULL). It stays until `retention.py`
removes it, which is counted. It leaves the device only with consent.
"""

import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pocketrec_bundle.features import History
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.errors import EventLogError
from pocketrec_edge.events import (
    app_session,
    consent,
    feedback,
    frequency_cap,
    outbox,
    retention,
)
from pocketrec_edge.events import release_outcomes as outcomes
from pocketrec_edge.events import status as log_status
from pocketrec_edge.events.app_session import AppSession
from pocketrec_edge.events.cipher import Cipher, check_key, encrypt_all, unseal
from pocketrec_edge.events.consent import Consent
from pocketrec_edge.events.event import (
    EXPOSURE,
    IMPRESSION,
    INTERACTION,
    REQUEST,
    Event,
    decode,
    encode,
)
from pocketrec_edge.events.feedback import Impressions
from pocketrec_edge.events.frequency_cap import Showing
from pocketrec_edge.events.outbox import Batch
from pocketrec_edge.events.retention import Retention
from pocketrec_edge.events.schema import (
    UNSENT,
    WITHHELD,
    UnreadableError,
    configure,
    migrated_copy,
    prepare,
    transaction,
)
from pocketrec_edge.events.status import LogStatus
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import make_file, make_folder

_BUSY_MS = 2000
_LEAST_FREE_BYTES = 64 << 10  # WAL opens with a shared-memory file of 32 KiB
_OF_SESSION = (REQUEST, INTERACTION)
_UNWRITABLE = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
)
LogRow = LogStatus | Consent | AppSession | Showing | tuple[Event, int]


class EventLog:
    """Stores events, and returns them as a history and as uploads.

    Attributes:
        fault: why the log is read-only, or None.
        retention_fault: why old events could not be removed, or None.
    """

    def __init__(
        self,
        path: Path,
        *,
        limits: Retention | None = None,
        cipher: Cipher | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open or create the log; if it cannot be written, it is read-only and has a `fault`.

        Args:
            path: the file; an older schema is migrated.
            limits: retention limits, applied now and every `limits.every` appends. None removes
                nothing: the app decides, not every tool that opens its log.
            cipher: encrypts the events; a plain log is encrypted now.
            clock: returns unix seconds, for retention and consent.

        Raises:
            EventLogError: the log is locked or damaged, has another key or a newer schema, or the
                disk is full and the log does not exist yet. Nothing was changed.
        """
        self._path, self._limits, self._cipher, self._clock = path, limits, cipher, clock
        self._unchecked = 0  # events appended since retention ran
        self.fault: str | None = None
        self.retention_fault: str | None = None
        self._history_writes = 0
        self._known: tuple[tuple[Bundle, int, int], tuple[History, int]] | None = None
        try:
            with self._wrapped():
                self._open()
        except EventLogError as err:
            code = getattr(err.__cause__, "sqlite_errorcode", 0) & 0xFF  # without the extended part
            if code not in _UNWRITABLE or not path.is_file():
                raise
            self.fault = str(err)
            with self._wrapped():
                self._open_to_read()
        else:
            self._retain()

    def _open(self) -> None:
        make_folder(self._path.parent)
        make_file(self._path)  # SQLite would make it for all to read; its WAL has the same mode
        self._connection = sqlite3.connect(
            self._path, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False
        )
        try:
            configure(self._connection)
            prepare(self._connection)
            check_key(self._connection, self._cipher)
            if self._cipher:
                encrypt_all(self._connection, self._cipher)
        except sqlite3.Error:
            self._connection.close()
            raise

    def _open_to_read(self) -> None:
        # Immutable: no shared-memory file, which a full disk has no room for. What a killed
        # process left in the WAL is not seen until there is space again.
        address = f"{self._path.resolve().as_uri()}?mode=ro&immutable=1"
        found = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
        self._connection = migrated_copy(found)
        check_key(self._connection, self._cipher)

    def close(self) -> None:
        """Close the file."""
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
        now: int | None = None,
        pause_s: int = app_session.PAUSE_S,
    ) -> str:
        """Store one event and return its id; an existing id is not stored again.

        `now` and `pause_s` are those of `append_many`.

        Raises:
            EventLogError: the event could not be stored.
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
            ],
            now=now,
            pause_s=pause_s,
        )
        return made.id

    def append_many(
        self,
        events: list[Event],
        *,
        now: int | None = None,
        pause_s: int = app_session.PAUSE_S,
    ) -> None:
        """Store events in one transaction.

        Args:
            events: in the order in which they happened.
            now: unix seconds by the device's clock: requests and interactions get the session of
                the app that runs then. None: they are part of no session.
            pause_s: seconds without a request or interaction that end a session.

        Raises:
            EventLogError: no event could be stored.
        """
        with self._writing():
            said_no = consent.current(self._connection).state in consent.KEEPS_EVENTS
            uploaded = WITHHELD if said_no else UNSENT
            if now is not None and any(event.kind in _OF_SESSION for event in events):
                session = app_session.touch(self._connection, now, pause_s)
                events = [_in_session(event, session) for event in events]
            self._connection.executemany(
                "INSERT INTO event (id, kind, ts, item_id, event, value, context, sealed, uploaded)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                [(*encode(event, self._cipher), uploaded) for event in events],
            )
        self._history_writes += any(event.kind == INTERACTION for event in events)
        self._unchecked += len(events)
        if self._limits and self._unchecked >= self._limits.every:
            self._retain()

    def has(self, event_id: str) -> bool:
        """Whether an event is in the log.

        Raises:
            EventLogError: the log cannot be read.
        """
        with self._wrapped():
            query = "SELECT 1 FROM event WHERE id = ?"
            return self._connection.execute(query, (event_id,)).fetchone() is not None

    def place_of(self, request: str, item_id: str) -> int | None:
        """Return the place of an item in a logged slate, from 1; None if it is not there.

        Raises:
            EventLogError: the log cannot be read.
        """
        with self._wrapped():
            found = self._connection.execute(
                "SELECT id, item_id, sealed FROM event WHERE id > ? AND id < ? AND kind = ?",
                (f"{request}.", f"{request}/", IMPRESSION),  # "/" follows "." in ASCII
            ).fetchall()
            for event_id, shown, sealed in found:
                if item_id == (shown if sealed is None else unseal(self._cipher, sealed)[0]):
                    return int(event_id.rpartition(".")[2])
        return None

    def history(self, bundle: Bundle) -> tuple[History, int]:
        """Return the interactions as rows of a release, and the number of unknown items.

        The result is cached until the log changes, because reading 10,000 events takes 30 ms.

        Raises:
            EventLogError: the log cannot be read.
        """
        with self._wrapped():
            # data_version counts other connections' writes, _history_writes this one's.
            others = self._connection.execute("PRAGMA data_version").fetchone()[0]
            state = (bundle, others, self._history_writes)
            if self._known is not None and self._known[0] == state:
                return self._known[1]
            found = [
                (item_id, event, ts) if sealed is None else (*unseal(self._cipher, sealed)[:2], ts)
                for item_id, event, ts, sealed in self._connection.execute(
                    "SELECT item_id, event, ts, sealed FROM event WHERE kind = ? ORDER BY ts, seq",
                    (INTERACTION,),
                )
            ]
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
        self._known = state, (history, len(found) - len(known))
        return self._known[1]

    def first_event(self) -> int | None:
        """Return the time of the earliest event, unix seconds; None without any.

        Raises:
            EventLogError: the log cannot be read.
        """
        with self._wrapped():
            found = self._connection.execute("SELECT min(ts) FROM event").fetchone()[0]
            return None if found is None else int(found)

    def last_interaction(self) -> int:
        """Return the time of the latest interaction, unix seconds; 0 without any.

        Raises:
            EventLogError: the log cannot be read.
        """
        with self._wrapped():
            latest = "SELECT coalesce(max(ts), 0) FROM event WHERE kind = ?"
            return int(self._connection.execute(latest, (INTERACTION,)).fetchone()[0])

    def impressions(self, bundle: Bundle) -> Impressions:
        """Return the latest impressions of a release's items, with their outcomes.

        Raises:
            EventLogError: the log cannot be read.
        """
        with self._wrapped():
            found = feedback.latest(self._connection, self._cipher)
        row_of = {item_id: bundle.row_of(item_id) for item_id, _ in found}
        known = [(row_of[item_id], followed) for item_id, followed in found if row_of[item_id] >= 0]
        return Impressions(
            rows=np.array([row for row, _ in known], np.int32),
            followed=np.array([followed for _, followed in known], np.bool_),
        )

    def add_showings(self, campaigns: Sequence[str], ts: int) -> None:
        """Record a showing of each campaign; call it before they are shown.

        Raises:
            EventLogError: it cannot be recorded. Do not show them.
        """
        with self._writing():
            frequency_cap.add(self._connection, self._cipher, campaigns, ts)

    def showings(self, now: int) -> dict[str, int]:
        """Return the showings of each campaign on the UTC day of `now`, unix seconds.

        Raises:
            EventLogError: the log cannot be read.
        """
        with self._wrapped():
            return frequency_cap.on_day(self._connection, self._cipher, now)

    def status(self) -> LogStatus:
        """Return counts, size and consent.

        Raises:
            EventLogError: the log cannot be read.
        """
        with self._wrapped():
            return log_status.read(self._connection, self._path, int(self._clock()))

    def consent(self) -> Consent:
        """Return the user's last decision on uploads.

        Raises:
            EventLogError: the log cannot be read.
        """
        with self._wrapped():
            return consent.current(self._connection)

    def decisions(self) -> list[Consent]:
        """Return all decisions on uploads, oldest first.

        Raises:
            EventLogError: the log cannot be read.
        """
        with self._wrapped():
            return consent.decisions(self._connection)

    def set_consent(
        self, granted: bool, terms: str | None = None, *, only_sums: bool = False
    ) -> Consent:
        """Record the user's decision. Events not sent before a withdrawal are never sent.

        Args:
            granted: True consents, False withdraws.
            terms: version of the consent text that the user saw.
            only_sums: consent to sums of experiments only; no event of now or before is ever sent.

        Raises:
            EventLogError: it cannot be recorded. Do not sync after a withdrawal that failed.
        """
        state = consent.WITHDRAWN
        if granted:
            state = consent.SUMS if only_sums else consent.GRANTED
        with self._writing():
            if consent.current(self._connection).state != consent.GRANTED:
                outcomes.drop_pending(PhoneHome(self._path.parent))
            decision = Consent(state=state, at=int(self._clock()), terms=terms)
            consent.decide(self._connection, decision)
            return consent.current(self._connection)

    def pending(self, limit: int) -> list[Event]:
        """Return the oldest events with consent that no server has acknowledged.

        Raises:
            EventLogError: the log cannot be read.
        """
        # With a fault, a withdrawal may lie in the WAL unseen.
        if self.fault or self.consent().state != consent.GRANTED:
            return []
        with self._wrapped():
            return outbox.pending(self._connection, self._cipher, limit)

    def next_batch(self, limit: int) -> Batch | None:
        """Return the next batch, at most `limit` events; the same batch until it is acknowledged.

        None without consent, without events, and if the log is read-only.

        Raises:
            EventLogError: the log cannot be read or written.
        """
        # With a fault, a withdrawal may lie in the WAL unseen.
        if self.fault:
            return None
        with self._writing():
            if consent.current(self._connection).state != consent.GRANTED:
                return None
            return outbox.next_batch(self._connection, self._cipher, limit)

    def acknowledge(self, batch: Batch, rejected: dict[int, str] | None = None) -> None:
        """Record that the server answered a batch.

        Args:
            batch: the batch that was sent.
            rejected: reasons of rejected events, by place in the batch.

        Raises:
            EventLogError: it cannot be recorded. The events are sent again; the server ignores
                duplicates.
        """
        with self._writing():
            outbox.acknowledge(self._connection, batch, rejected or {})

    def forget_batch(self) -> None:
        """Discard the current batch's id; its events are sent under another id.

        Raises:
            EventLogError: it cannot be recorded.
        """
        with self._writing():
            outbox.forget(self._connection)

    def wait(self, seconds: int) -> None:
        """Record that the server accepts no upload for some seconds.

        Raises:
            EventLogError: it cannot be recorded.
        """
        with self._writing():
            outbox.wait(self._connection, int(self._clock()), seconds)

    def waits_until(self) -> int | None:
        """Return when the server accepts uploads again, unix seconds; None: now.

        Raises:
            EventLogError: the log cannot be read.
        """
        with self._wrapped():
            return outbox.waits_until(self._connection, int(self._clock()))

    def events_since(self, ts: int) -> list[Event]:
        """Return the events of all kinds from a time on, oldest first; ts: unix seconds.

        Raises:
            EventLogError: the log cannot be read.
        """
        with self._wrapped():
            rows = self._connection.execute(
                "SELECT id, kind, ts, item_id, event, value, context, sealed "
                "FROM event WHERE ts >= ? ORDER BY ts, seq",
                (ts,),
            )
            return [decode(row, self._cipher) for row in rows]

    def exposures(self) -> list[tuple[Event, int]]:
        """Return the logged exposures with their upload state, oldest first.

        Raises:
            EventLogError: the log cannot be read.
        """
        with self._wrapped():
            rows = self._connection.execute(
                "SELECT id, kind, ts, item_id, event, value, context, sealed, uploaded "
                "FROM event WHERE kind = ? ORDER BY ts, id",
                (EXPOSURE,),
            ).fetchall()
            return [(decode(row[:-1], self._cipher), int(row[-1])) for row in rows]

    def export_rows(self) -> Iterator[LogRow]:
        """Yield status, decisions on consent, session, showings, and events with upload state.

        A snapshot of one moment, oldest first. Do not use this log until the iteration ends.

        Raises:
            EventLogError: the log cannot be read.
        """
        with self._wrapped():
            self._connection.execute("BEGIN")
            try:
                yield self.status()
                yield from consent.decisions(self._connection)
                if (session := app_session.current(self._connection)) is not None:
                    yield session
                yield from frequency_cap.export_rows(self._connection, self._cipher)
                for row in self._connection.execute(
                    "SELECT id, kind, ts, item_id, event, value, context, sealed, uploaded "
                    "FROM event ORDER BY ts, id"
                ):
                    yield decode(row[:-1], self._cipher), row[-1]
            finally:
                self._connection.execute("ROLLBACK")

    def _retain(self) -> None:
        """Apply the limits; on failure the appended events are still stored."""
        self._unchecked, self.retention_fault = 0, None
        self._history_writes += 1
        if self._limits is None:
            return
        try:
            with self._wrapped():
                retention.enforce(self._connection, self._limits, int(self._clock()))
        except EventLogError as err:
            self.retention_fault = f"old events could not be removed: {err}"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self.fault:
            raise EventLogError(self.fault)
        with self._wrapped(), transaction(self._connection):
            yield

    @contextmanager
    def _wrapped(self) -> Iterator[None]:
        try:
            yield
        except UnreadableError as err:
            raise EventLogError(f"{self._path}: {err}.") from err
        except (sqlite3.Error, OSError) as err:
            found = "no space left on the disk" if self._is_full() else str(err)
            raise EventLogError(
                f"{self._path}: {found}. The event log must be writable, with space on the disk."
            ) from err

    def _is_full(self) -> bool:
        """Whether the disk is full; SQLite often reports only "disk I/O error"."""
        with suppress(OSError):
            return shutil.disk_usage(self._path.parent).free < _LEAST_FREE_BYTES
        return False


def _in_session(event: Event, session: str) -> Event:
    """Return an event with its session; impressions have that of their request."""
    if event.kind not in _OF_SESSION:
        return event
    return replace(event, context=event.context | {"session": session})
