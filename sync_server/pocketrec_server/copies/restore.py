"""Restore a backup: verify it, unpack it next to the repository, and move it there atomically."""

import json
import os
import re
import secrets
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pocketrec_bundle.disk.files import check_free, replace_dir, write_failed
from pocketrec_bundle.errors import InputError
from pocketrec_server.copies import inventory, seal
from pocketrec_server.copies.backup import (
    DATABASE,
    NEVER_SAVED,
    REPOSITORY,
    BackupReport,
    HashingReader,
    clear,
    report_of,
    write_if_there,
)
from pocketrec_server.copies.inventory import TIMESTAMP
from pocketrec_server.errors import BackupInvalidError, RepositoryInvalidError
from pocketrec_server.repository import state
from pocketrec_server.repository.history import FOLDER
from pocketrec_server.repository.place import DATABASE_NAME
from pocketrec_server.storage.tables import ADMIN_TOKEN, SETTING

UNSIGNED_FORMAT, UNSIGNED_LIST = 1, "backup.json"
"""Backups of earlier versions: their list is the last file of the archive, without a signature."""
_OWN_STATEMENT = re.compile(r"CREATE (?:TABLE|INDEX|UNIQUE INDEX) ")
_PART = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """Result of a restore.

    Attributes:
        backup: content of the backup; the signature covers `created_utc`.
        signed: False if the operator trusted a backup without a signature.
        tokens_left_out: operators' tokens in the backup that were not restored.
        secrets: whether tokens and the salt of exported ids were restored.
    """

    backup: BackupReport
    signed: bool
    tokens_left_out: int
    secrets: bool


def restore(
    file: Path,
    repo: Path,
    key: Path | None,
    *,
    force: bool = False,
    with_secrets: bool = False,
) -> RestoreReport:
    """Verify a backup, unpack it next to `repo`, check its content, and then replace `repo`.

    Args:
        file: the backup.
        repo: folder for the repository and the database.
        key: public key of the operator's backups. None accepts a backup of an earlier version
            without a signature, whose content is not proved.
        force: replace an existing `repo`.
        with_secrets: also restore operators' tokens and the salt of exported ids.

    Raises:
        InputError: `repo` exists already or holds other files; or `with_secrets` is set for an
            unsigned backup.
        KeysInvalidError: the key is not a public key of backups.
        BackupInvalidError: the file is not a backup, is not signed with the key, or is incomplete
            or damaged; `repo` is unchanged.
        PocketRecError: the disk is full.
    """
    check_free(repo, force=force, option="--repo")
    if repo.exists() and any(repo.iterdir()) and not (repo / TIMESTAMP).exists():
        raise InputError(f"{repo}: not a repository, so it is not replaced.")
    if key is None and with_secrets:
        raise InputError("tokens are never restored from an unsigned backup: it may be forged.")
    public = None if key is None else seal.read_public(key)
    try:
        stream = file.open("rb")
    except OSError as err:
        raise InputError(f"{file}: cannot be read ({err.strerror}).") from err
    try:
        repo.parent.mkdir(parents=True, exist_ok=True)
        with stream, tempfile.TemporaryDirectory(dir=repo.parent, prefix=f".{repo.name}.") as work:
            fresh = Path(work) / "repository"
            if public is not None:
                listed = seal.verified_list(file, stream, public)
                seen = _unpack(file, stream, fresh, listed["files"])
            else:
                listed = _unsigned_list(file, stream)
                seen = _unpack(file, stream, fresh, listed["files"], UNSIGNED_LIST)
            left_out = _check(file, fresh, seen, with_secrets=with_secrets)
            replace_dir(fresh, repo)
    except OSError as err:
        raise write_failed(repo, err) from err
    return RestoreReport(
        backup=report_of(listed["created_utc"], seen),
        signed=public is not None,
        tokens_left_out=left_out,
        secrets=with_secrets,
    )


def _members(file: Path, stream: BinaryIO) -> Iterator[tuple[tarfile.TarInfo, Any]]:
    """Yield regular files and their readers; refuse other members."""
    stream.seek(0)
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                source = archive.extractfile(member) if member.isreg() else None
                if source is None:
                    raise BackupInvalidError(
                        f"{file}: {member.name!r} does not belong in a backup."
                    )
                yield member, source
    except tarfile.TarError as err:
        raise BackupInvalidError(f"{file}: not a backup ({err}).") from err


def _unpack(
    file: Path, stream: BinaryIO, to: Path, listed: dict[str, Any], besides: str = ""
) -> dict[str, dict[str, Any]]:
    """Unpack the listed files into a new folder; refuse other files."""
    seen: dict[str, dict[str, Any]] = {}
    for member, source in _members(file, stream):
        if member.name == besides:
            continue
        entry = listed.get(member.name)
        if entry is None or member.name in seen or entry.get("bytes") != member.size:
            raise BackupInvalidError(f"{file}: {member.name!r} does not match the backup's list.")
        path = to / _place(file, member.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        seen[member.name] = _extract(source, path)
    if seen != listed or REPOSITORY + TIMESTAMP not in seen:
        raise BackupInvalidError(
            f"{file}: damaged or incomplete; its content does not match its list."
        )
    return seen


def _check(file: Path, fresh: Path, seen: dict[str, dict[str, Any]], *, with_secrets: bool) -> int:
    """Check metadata and database; return the number of tokens removed from the database."""
    try:
        state.load(fresh)  # checks the signatures of the metadata
    except RepositoryInvalidError as err:
        raise BackupInvalidError(f"{file}: {err}") from err
    if DATABASE not in seen:
        return 0
    try:
        with closing(sqlite3.connect(fresh / DATABASE_NAME)) as database:
            return _check_database(file, database, with_secrets=with_secrets)
    except sqlite3.Error as err:
        raise BackupInvalidError(f"{file}: its database is damaged ({err}).") from err


def _check_database(file: Path, database: sqlite3.Connection, *, with_secrets: bool) -> int:
    # Before any write: a trigger could act, e.g. add a token at each event. Check the SQL
    # statement, because SQLite runs it when it opens the file; the other columns can be wrong.
    for name, statement in database.execute("SELECT name, sql FROM sqlite_master"):
        if statement is not None and not _OWN_STATEMENT.match(statement):
            kind = " ".join(statement.split()[:2])
            raise BackupInvalidError(
                f"{file}: its database has {name!r} ({kind} ...); only tables and indices are "
                "allowed."
            )
    (result,) = database.execute("PRAGMA integrity_check").fetchone()
    if result != "ok":
        raise BackupInvalidError(f"{file}: its database is damaged ({result}).")
    clear(database, NEVER_SAVED)
    if with_secrets:
        return 0
    left_out = clear(database, [ADMIN_TOKEN.name])
    change = f"UPDATE {SETTING.name} SET value = ? WHERE name = 'salt'"  # noqa: S608
    write_if_there(database, change, [secrets.token_hex(32)])
    database.commit()
    return left_out


def _unsigned_list(file: Path, stream: BinaryIO) -> dict[str, Any]:
    """Return the list of a backup of an earlier version, which has no signature."""
    if seal.is_sealed(stream):
        raise InputError(f"{file}: is signed. Restore it with --key.")
    value, last = None, None
    for member, source in _members(file, stream):
        last = member.name
        if last == UNSIGNED_LIST:
            try:
                value = json.loads(source.read(seal.MAX_LIST_BYTES))
            except ValueError as err:
                raise BackupInvalidError(f"{file}: its list is damaged ({err}).") from err
    if not isinstance(value, dict) or last != UNSIGNED_LIST:
        raise BackupInvalidError(f"{file}: not a backup, or incomplete: no list at its end.")
    if value.get("format") != UNSIGNED_FORMAT:
        raise BackupInvalidError(f"{file}: its format is not {UNSIGNED_FORMAT}.")
    files = value.get("files")
    if (
        not isinstance(files, dict)
        or not all(isinstance(entry, dict) for entry in files.values())
        or type(value.get("created_utc")) is not int
    ):
        raise BackupInvalidError(f"{file}: its list is damaged.")
    return value


def _place(file: Path, name: str) -> str:
    """Return the path of a member below the repository's folder."""
    if name == DATABASE:
        return DATABASE_NAME
    inner = name.removeprefix(REPOSITORY)
    if inner == name or not inventory.is_name(inner):
        raise BackupInvalidError(f"{file}: {name!r} does not belong in a backup.")
    return inner


def _extract(source: Any, path: Path) -> dict[str, Any]:
    reader, size = HashingReader(source), 0
    # Web servers need to read published files; the audit trail names people, so it is private.
    mode = {DATABASE_NAME: 0o600}.get(path.name, 0o640 if path.parent.name == FOLDER else 0o644)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
        while part := reader.read(_PART):
            size += stream.write(part)
        stream.flush()
        os.fsync(stream.fileno())
    return {"bytes": size, "sha256": reader.sha256.hexdigest()}
