"""Export and erasure of the user's data on the device.

The export follows GDPR articles 15 and 20 (access, portability): it is complete, machine-readable
and includes the upload state of each event. `erase` follows article 17 (erasure): it removes all
data, also without the key and from a damaged log, and leaves no copy of the bytes in the files.

Personal data in a phone's folder:

    event log     events, showings, the running session and decisions on consent
    install id    the random id of uploads
    interests     categories that the user chose
    sessions      pages shown recently; the export omits them, as the log has the impressions
    arms          exposures to experiments, whether the user was new, arms forced for a test
    sums          random ids under which sums of experiments are sent, and the last sums
    bucket id     random bytes that draw the arms; the export omits them, as they say nothing else

Arms of several experiments can tell devices apart, so a bucket id that stayed would link the new
install id to the erased one. Releases, their metadata and release outcomes stay: they contain no
personal data. No other candidates or slates are stored.
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
from pocketrec_edge.events.app_session import AppSession
from pocketrec_edge.events.cipher import Cipher
from pocketrec_edge.events.consent import Consent
from pocketrec_edge.events.frequency_cap import Showing
from pocketrec_edge.events.log import EventLog, LogRow
from pocketrec_edge.events.schema import REJECTED, SENT, UNSENT, WITHHELD, UnreadableError
from pocketrec_edge.events.sealed_file import read_sealed
from pocketrec_edge.events.status import LogStatus
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import open_private

FORMAT, VERSION = "pocketrec-user-data", 1
_UPLOADED = {UNSENT: "no", SENT: "yes", WITHHELD: "never", REJECTED: "rejected"}
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BUSY_S = 2.0
_MEMORY_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureReport:
    """The result of an erasure.

    Uploaded events and sums stay on the server. To erase them there, use `install_id` and
    `sums_ids`, which the phone no longer has.

    Attributes:
        events: number of events erased; None if a damaged log was destroyed unread.
        install_id: the id of the uploads; None if the phone never uploaded.
        sums_ids: ids under which sums of experiments were sent.
        unread_sums: sums may have been sent under ids that were encrypted and erased unread.
    """

    events: int | None
    install_id: str | None
    sums_ids: tuple[str, ...] = ()
    unread_sums: bool = False


def export_data(home: PhoneHome, out: Path, *, now: int, cipher: Cipher | None = None) -> int:
    """Write all data about the user as JSON Lines; return the number of events.

    The first line is a header with counts, so a truncated copy can be detected. The next lines
    have the interests, the memory of experiments and of sums, if there are any. Events are
    streamed. `out` is written atomically and is readable by its owner only.

    Args:
        home: the phone's folder.
        out: the file to write.
        now: unix seconds, for the header.
        cipher: the app's cipher, if the log is encrypted.

    Raises:
        InputError: `home` is not a phone's folder.
        EventLogError: the log cannot be read, or not with this key.
        PocketRecError: the interests cannot be read, or `out` cannot be written.
    """
    chosen, arms, sums = interests.read(home), _memory(home.arms), _memory(home.sums, cipher)
    log = EventLog(_log_of(home), cipher=cipher)
    events = 0

    def lines() -> Iterator[bytes]:
        nonlocal events
        for each in log.export_rows():
            events += isinstance(each, tuple)
            yield _encoded(_line(each, home, now))
            if chosen and isinstance(each, LogStatus):
                yield _encoded({"type": "interests", "categories": chosen})
            if arms is not None and isinstance(each, LogStatus):
                yield _encoded({"type": "experiments", "memory": arms})
            if sums is not None and isinstance(each, LogStatus):
                yield _encoded({"type": "sums", "memory": sums})

    with closing(log):
        write_atomic_parts(out, lines(), mode=0o600)
    return events


def erase(home: PhoneHome, cipher: Cipher | None = None) -> ErasureReport:
    """Erase all data about the user, including the decisions on consent.

    Needs no key. Repeat it if it was interrupted. A log that an app has open continues, empty.

    Args:
        home: the phone's folder.
        cipher: the app's, to report `sums_ids` if they are encrypted.

    Raises:
        InputError: `home` is not a phone's folder.
        EventLogError: another process uses the log, or it cannot be written.
        PocketRecError: install id, bucket id, interests or sessions cannot be removed.
    """
    path = _log_of(home)
    events = _empty(path) if path.exists() else 0
    known, sums_ids = install_id.existing(home), _sums_ids(home, cipher)
    try:
        for path in (
            home.install_id,
            home.interests,
            home.sessions,
            home.arms,
            home.arm_models,
            home.sums,
            home.bucket_id,
        ):
            _destroy(path)
            _destroy(path.with_name(f".{path.name}.partial"))
    except OSError as err:
        raise write_failed(home.folder, err) from err
    fsync_dir(home.folder)
    return ErasureReport(
        events=events, install_id=known, sums_ids=sums_ids or (), unread_sums=sums_ids is None
    )


def _sums_ids(home: PhoneHome, cipher: Cipher | None) -> tuple[str, ...] | None:
    """Return the ids of sums; None if they are encrypted with another key."""
    try:
        return tuple(str(run["id"]) for run in _memory(home.sums, cipher)["runs"])
    except (KeyError, TypeError):
        return ()
    except EventLogError:
        return None


def _memory(path: Path, cipher: Cipher | None = None) -> Any:
    """Return a JSON file of the phone's memory; None without it, or if it is damaged.

    Raises:
        EventLogError: it is encrypted, and the cipher is missing or has another key.
    """
    try:
        return read_sealed(path, cipher, _MEMORY_BYTES)
    except (OSError, ValueError):
        return None


def _log_of(home: PhoneHome) -> Path:
    if not home.folder.is_dir():
        raise InputError(f"{home}: no phone there; --home is the folder of one.")
    home.tighten()
    return home.event_log


def _line(each: LogRow, home: PhoneHome, now: int) -> dict[str, Any]:
    match each:
        case LogStatus():
            facts = {"type": "header", "format": FORMAT, "version": VERSION, "exported_utc": now}
            return {**facts, "install_id": install_id.existing(home), **asdict(each)}
        case Consent():
            return {"type": "consent", **asdict(each)}
        case AppSession():
            return {"type": "session", **asdict(each)}
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
    """Overwrite a file with zeros and remove it, so that open handles and hard links see zeros.

    Remove only the link if it is a symbolic link.
    """
    with suppress(FileNotFoundError):
        if not path.is_symlink():
            with open_private(path, "r+b") as stream:
                stream.write(bytes(path.stat().st_size))
                stream.flush()
                os.fsync(stream.fileno())
        path.unlink()
