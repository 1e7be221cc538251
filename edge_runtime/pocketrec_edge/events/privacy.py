"""What a person may ask of the device: a copy of their data, and to have it erased.

GDPR articles 15 and 20 (access, portability) shape the export: complete, with what was done with
each event, in a format that programs read. Article 17 (erasure) shapes `erase`: all of it, also
without the key and from a damaged log, with no copy of the bytes left in the files.

Personal in a phone's folder are the event log, the install id, the interests that the user chose
and the pages shown of late, whose items the log has as impressions too, so that the export leaves
them out. Releases and their metadata are the same for everybody and stay, and so do how releases
did on this phone and its bucket id, which tell nothing of a person. No other candidates or slates
are stored.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pocketrec_bundle.disk.files import fsync_dir, write_atomic_parts, write_failed
from pocketrec_bundle.errors import InputError
from pocketrec_edge.errors import EventLogError
from pocketrec_edge.events import install_id, interests
from pocketrec_edge.events import schema as event_schema
from pocketrec_edge.events.cipher import Cipher
from pocketrec_edge.events.consent import Consent
from pocketrec_edge.events.event import Event
from pocketrec_edge.events.frequency_cap import Showing
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.schema import REJECTED, SENT, UNSENT, WITHHELD, UnreadableError
from pocketrec_edge.events.status import LogStatus
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import open_private

FORMAT, VERSION = "pocketrec-user-data", 1
_UPLOADED = {UNSENT: "no", SENT: "yes", WITHHELD: "never", REJECTED: "rejected"}
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BUSY_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureReport:
    """What was erased; events is None where a damaged log was destroyed unread.

    The events of `install_id` that went up are still on the server; whoever wants them erased
    there needs this id, and it is nowhere else now.
    """

    events: int | None
    install_id: str | None


def export_data(home: PhoneHome, out: Path, *, now: int, cipher: Cipher | None = None) -> int:
    """Write all that the device holds about its user as JSON Lines; returns the number of events.

    The first line is a header with counts, so that a cut copy shows; the second has the interests,
    if there are any. Nothing is held in memory,
    and `out`, which only its owner may read, appears whole or not at all.

    Args:
        home: the phone's folder.
        out: the file to write.
        now: unix seconds, for the header.
        cipher: the app's, where the log is encrypted.

    Raises:
        InputError: there is no such phone.
        EventLogError: the log cannot be read, or not with this key.
        PocketRecError: the interests cannot be read, or `out` cannot be written.
    """
    chosen = interests.read(home)
    log = EventLog(_log_of(home), cipher=cipher)
    events = 0

    def lines() -> Iterator[bytes]:
        nonlocal events
        for each in log.export_rows():
            events += isinstance(each, tuple)
            yield _encoded(_line(each, home, now))
            if chosen and isinstance(each, LogStatus):
                yield _encoded({"type": "interests", "categories": chosen})

    with closing(log):
        write_atomic_parts(out, lines(), mode=0o600)
    return events


def erase(home: PhoneHome) -> ErasureReport:
    """Erase all that the device holds about its user, the decisions on consent included.

    Works without the key. Killed half-way, it is repeated; what an app has open goes on, empty.

    Raises:
        InputError: there is no such phone.
        EventLogError: another process uses the log, or it cannot be written.
        PocketRecError: install id, interests or the pages shown cannot be removed.
    """
    path = _log_of(home)
    events = _empty(path) if path.exists() else 0
    known = install_id.existing(home)
    try:
        for path in (home.install_id, home.interests, home.sessions):
            _destroy(path)
            _destroy(path.with_name(f".{path.name}.partial"))
    except OSError as err:
        raise write_failed(home.folder, err) from err
    fsync_dir(home.folder)
    return ErasureReport(events=events, install_id=known)


def _log_of(home: PhoneHome) -> Path:
    if not home.folder.is_dir():
        raise InputError(f"{home}: no phone there; --home is the folder of one.")
    home.tighten()
    return home.event_log


def _line(
    each: LogStatus | Consent | Showing | tuple[Event, int], home: PhoneHome, now: int
) -> dict[str, Any]:
    match each:
        case LogStatus():
            facts = {"type": "header", "format": FORMAT, "version": VERSION, "exported_utc": now}
            return {**facts, "install_id": install_id.existing(home), **asdict(each)}
        case Consent():
            return {"type": "consent", **asdict(each)}
        case Showing():
            return {"type": "showing", **asdict(each)}
        case event, uploaded:
            return {"type": "event", **asdict(event), "uploaded": _UPLOADED[uploaded]}


def _encoded(line: dict[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def _empty(path: Path) -> int | None:
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)) as connection:
            event_schema.configure(connection)
            event_schema.prepare(connection)
            return event_schema.delete_all(connection)
    except sqlite3.Error as err:
        code = getattr(err, "sqlite_errorcode", 0) & 0xFF
        if code not in _DAMAGED and not isinstance(err, UnreadableError):
            raise EventLogError(
                f"{path}: {err}. Not everything is erased: close the app, see that there is space"
                " on the disk, and repeat."
            ) from err
    try:
        for end in ("", "-wal", "-shm"):
            _destroy(path.with_name(path.name + end))
    except OSError as err:
        raise write_failed(path, err) from err
    return None


def _destroy(path: Path) -> None:
    """Overwrite a file with zeros, then remove it: an open handle or a hard link sees zeros.

    Of a symbolic link only the link is removed.
    """
    with suppress(FileNotFoundError):
        if not path.is_symlink():
            with open_private(path, "r+b") as stream:
                stream.write(bytes(path.stat().st_size))
                stream.flush()
                os.fsync(stream.fileno())
        path.unlink()
