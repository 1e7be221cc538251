"""Back up a server in one signed file: repository and database, but no keys.

    repository/metadata/... targets/... history/...   see `inventory.py`
    database.sqlite                                    a consistent copy (SQLite's backup API)

The format is an uncompressed tar (POSIX pax), because releases hardly compress. The signature
follows it, see `seal.py`.
"""

import hashlib
import io
import logging
import os
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from pocketrec_bundle.disk.files import check_free, fsync_dir, write_failed
from pocketrec_server.copies import inventory
from pocketrec_server.copies.inventory import TIMESTAMP
from pocketrec_server.copies.seal import SealingWriter
from pocketrec_server.errors import KeysInvalidError
from pocketrec_server.repository.keys import Ask, Signers
from pocketrec_server.storage.backup_time import note_backup
from pocketrec_server.storage.tables import (
    ADMIN_SESSION,
    EVENT_QUOTA,
    EXPOSED,
    OUTCOME_KEY,
    OUTCOME_NETWORK,
    OUTCOME_QUOTA,
    SUMS_NETWORK,
)

_LOG = logging.getLogger("pocketrec_server")
DATABASE, REPOSITORY = "database.sqlite", "repository/"
NEVER_SAVED = tuple(
    table.name
    for table in (
        ADMIN_SESSION,
        EVENT_QUOTA,
        EXPOSED,
        OUTCOME_KEY,
        OUTCOME_NETWORK,
        OUTCOME_QUOTA,
        SUMS_NETWORK,
    )
)
"""Tables with rows that expire after hours, weeks or an experiment. A backup is kept longer:
with the keys and the hashes in it, the networks that sent something could still be found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """Content of a backup.

    Attributes:
        created_utc: time of the backup, unix seconds.
        files: number of files.
        bytes: size of these files.
        database: whether the database is included; a PostgreSQL database is not.
    """

    created_utc: int
    files: int
    bytes: int
    database: bool


def back_up(
    repo: Path,
    engine: Engine,
    out: Path,
    key: Path,
    *,
    ask: Ask = lambda _: None,
    force: bool = False,
) -> BackupReport:
    """Write a signed backup while the server runs. `out` is written atomically.

    Args:
        repo: folder of the repository.
        engine: the database; PostgreSQL is not included, use `pg_dump`.
        out: file to write.
        key: private key of `seal.make_backup_key`, opened before anything is written.
        ask: asks a person for the passphrase of the key.
        force: replace an existing `out`.

    Raises:
        InputError: `out` exists already.
        KeysInvalidError: the key cannot be opened.
        RepositoryInvalidError: nothing is published, or a file is damaged.
        PocketRecError: the disk is full.
    """
    check_free(out, force=force)
    if not key.exists():
        raise KeysInvalidError(
            f"{key}: no such file. Make the key with `pocketrec keys backup-key`."
        )
    signer = Signers([key.parent], ask).open(key)
    source = Path(engine.url.database or "") if engine.dialect.name == "sqlite" else None
    has_database = source is not None and source.is_file()
    partial = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _private(partial) as stream, tempfile.TemporaryDirectory(dir=out.parent) as work:
            writer = SealingWriter(stream, signer, key)
            listing = inventory.take(repo, history=True)
            database = Path(work) / DATABASE
            if source is not None and has_database:
                _copy_database(source, database)
            listed = _write(writer, listing, database if has_database else None)
            report = report_of(int(time.time()), listed)
            writer.seal(report.created_utc, listed)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(out)
        fsync_dir(out.parent)
    except OSError as err:
        raise write_failed(out, err) from err
    finally:
        partial.unlink(missing_ok=True)
    if source is None or has_database:
        _note(engine, report.created_utc)
    return report


def _note(engine: Engine, now_utc: int) -> None:
    """Store the time of the backup for `/metrics`; the backup is complete without it too."""
    try:
        note_backup(engine, now_utc)
    except SQLAlchemyError as err:
        _LOG.warning("the time of the backup was not stored in the database: %s", err)


def _private(path: Path) -> BinaryIO:
    """Create a file that only its owner can read, because it holds people's events."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _copy_database(source: Path, to: Path) -> None:
    with closing(sqlite3.connect(source)) as there, closing(sqlite3.connect(to)) as here:
        there.backup(here)
        here.execute("PRAGMA journal_mode = DELETE")  # a single file without a log
        clear(here, NEVER_SAVED)


def clear(database: sqlite3.Connection, tables: Iterable[str]) -> int:
    """Delete all rows of the existing tables, and overwrite their bytes; return their number."""
    database.execute("PRAGMA secure_delete = ON")
    rows = sum(write_if_there(database, f"DELETE FROM {name}") for name in tables)  # noqa: S608
    database.commit()
    return rows


def write_if_there(database: sqlite3.Connection, statement: str, values: Sequence[str] = ()) -> int:
    """Run a statement on a table that may be missing; return the number of changed rows.

    Backups of earlier versions lack some tables. SQLite's error decides whether the table exists,
    because an untrusted list of tables can be wrong.
    """
    try:
        return database.execute(statement, values).rowcount
    except sqlite3.OperationalError as err:
        if str(err).startswith("no such table"):
            return 0
        raise


def _write(
    writer: SealingWriter, listing: inventory.Inventory, database: Path | None
) -> dict[str, dict[str, Any]]:
    listed: dict[str, dict[str, Any]] = {}
    with tarfile.open(
        fileobj=cast(BinaryIO, writer), mode="w", format=tarfile.PAX_FORMAT
    ) as archive:

        def add(name: str, source: BinaryIO, size: int) -> None:
            member, reader = tarfile.TarInfo(name), HashingReader(source)
            member.size, member.mode = size, 0o644
            archive.addfile(member, reader)
            listed[name] = {"bytes": size, "sha256": reader.sha256.hexdigest()}

        for name, path in listing.files.items():
            try:
                inventory.check(name, path)
                with path.open("rb") as source:
                    add(REPOSITORY + name, source, listing.sizes[name])
            except FileNotFoundError:
                if not inventory.may_vanish(name):
                    raise
        add(REPOSITORY + TIMESTAMP, io.BytesIO(listing.timestamp), len(listing.timestamp))
        if database:
            with database.open("rb") as source:
                add(DATABASE, source, database.stat().st_size)
    return listed


def report_of(created_utc: int, listed: dict[str, dict[str, Any]]) -> BackupReport:
    """Return the report of a backup's list."""
    return BackupReport(
        created_utc=created_utc,
        files=len(listed),
        bytes=sum(entry["bytes"] for entry in listed.values()),
        database=DATABASE in listed,
    )


class HashingReader:
    """A reader that hashes the bytes it reads.

    Attributes:
        sha256: hash of the bytes so far.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source, self.sha256 = source, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read and hash up to `size` bytes."""
        data = self._source.read(size)
        self.sha256.update(data)
        return data
