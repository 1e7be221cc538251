"""Bring a backup back: unpacked beside, checked whole, then put in its place by one rename."""

import json
import os
import sqlite3
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from bundle.errors import InputError
from bundle.files import check_free, replace_dir, write_failed
from sync_server import inventory, state
from sync_server.backup import (
    DATABASE,
    FORMAT,
    LIST,
    REPOSITORY,
    BackupReport,
    Hashed,
    report_of,
)
from sync_server.database import FILE_NAME
from sync_server.errors import BackupInvalid, RepositoryInvalid
from sync_server.inventory import TIMESTAMP

MAX_LIST_BYTES = 64 << 20
_PART = 1 << 20


def restore(file: Path, repo: Path, *, force: bool = False) -> BackupReport:
    """Unpack a backup beside `repo`, check all of it, and only then put it in its place.

    Args:
        file: a backup.
        repo: the repository's folder, which gets the database too.
        force: replace it.

    Raises:
        InputError: `repo` is there already, or is a folder of something else.
        BackupInvalid: the file is no backup, cut off, or damaged; `repo` is untouched.
        PocketRecError: the disk is full.
    """
    check_free(repo, force=force)
    if repo.exists() and any(repo.iterdir()) and not (repo / TIMESTAMP).exists():
        raise InputError(f"{repo}: not a repository, so it is not replaced.")
    try:
        repo.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=repo.parent, prefix=f".{repo.name}.") as work:
            fresh = Path(work) / "repository"
            report = _unpack(file, fresh)
            replace_dir(fresh, repo)
    except OSError as err:
        raise write_failed(repo, err) from err
    return report


def _unpack(file: Path, to: Path) -> BackupReport:
    """Unpack into a folder that is not there yet; anything odd is refused."""
    seen: dict[str, dict[str, Any]] = {}
    listed: Any = None
    try:
        with tarfile.open(file, mode="r:") as archive:
            for member in archive:
                source = archive.extractfile(member) if member.isreg() else None
                if source is None or listed is not None or member.name in seen:
                    raise BackupInvalid(f"{file}: {member.name!r} does not belong there.")
                if member.name == LIST:
                    listed = _parsed(file, source.read(MAX_LIST_BYTES))
                    continue
                path = to / _place(file, member.name)
                path.parent.mkdir(parents=True, exist_ok=True)
                seen[member.name] = _extract(source, path)
    except tarfile.TarError as err:
        raise BackupInvalid(f"{file}: not a backup ({err}).") from err
    if listed is None or seen != listed["files"] or REPOSITORY + TIMESTAMP not in seen:
        raise BackupInvalid(f"{file}: damaged or cut off; what it lists is not what it holds.")
    try:
        state.load(to)  # the signatures hold, too
    except RepositoryInvalid as err:
        raise BackupInvalid(f"{file}: {err}") from err
    if DATABASE in seen:
        with closing(sqlite3.connect(to / FILE_NAME)) as database:
            (told,) = database.execute("PRAGMA integrity_check").fetchone()
        if told != "ok":
            raise BackupInvalid(f"{file}: its database is damaged ({told}).")
    return report_of(listed["created_utc"], seen)


def _parsed(file: Path, data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as err:
        raise BackupInvalid(f"{file}: its list is damaged ({err}).") from err
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise BackupInvalid(f"{file}: of another format than {FORMAT}; update PocketRec.")
    if not isinstance(value.get("files"), dict) or type(value.get("created_utc")) is not int:
        raise BackupInvalid(f"{file}: its list is damaged.")
    return value


def _place(file: Path, name: str) -> str:
    """Where a member goes, below the repository's folder."""
    if name == DATABASE:
        return FILE_NAME
    inner = name.removeprefix(REPOSITORY)
    if inner == name or not inventory.is_name(inner):
        raise BackupInvalid(f"{file}: {name!r} does not belong there.")
    return inner


def _extract(source: Any, path: Path) -> dict[str, Any]:
    reader, size = Hashed(source), 0
    with path.open("xb") as stream:
        while part := reader.read(_PART):
            size += stream.write(part)
        stream.flush()
        os.fsync(stream.fileno())
    return {"bytes": size, "sha256": reader.sha256.hexdigest()}
