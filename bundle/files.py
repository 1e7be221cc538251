"""Atomic files: a reader sees the old content or the new, never a part (POSIX rename)."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from bundle.errors import PocketRecError

_CHUNK_BYTES = 1 << 20


def canonical_json(value: Any) -> bytes:
    """Encode as UTF-8 JSON with sorted keys and no spaces, so equal values give equal bytes.

    Raises:
        ValueError: a number is NaN or infinite; JSON has neither.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file as 64 lower-case hex digits, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def fsync_dir(path: Path) -> None:
    """Make the renames done inside a folder survive a power cut (a no-op where unsupported)."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a whole file: temporary sibling, fsync, rename over `path`, fsync of the folder.

    Raises:
        PocketRecError: the disk is full or the folder cannot be written; `path` is untouched.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(handle, 0o644)  # mkstemp makes 0600; a web server must read what is published
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
        temporary = None
        fsync_dir(path.parent)
    except OSError as err:
        raise write_failed(path, err) from err
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()


def replace_dir(temporary: Path, final: Path) -> None:
    """Put a finished folder in the place of `final`; an old one is moved aside, then removed.

    Between the two renames a crash leaves the old content under `.NAME.old`; `recover_dir` puts it
    back, and without that the next call for the same `final` removes it.
    """
    aside = _aside(final)
    shutil.rmtree(aside, ignore_errors=True)
    if final.exists():
        final.replace(aside)
    temporary.replace(final)
    fsync_dir(final.parent)
    shutil.rmtree(aside, ignore_errors=True)


def recover_dir(final: Path) -> None:
    """Undo a `replace_dir` that was killed between its renames; call before reading `final`."""
    if not final.exists() and _aside(final).is_dir():
        _aside(final).replace(final)
        fsync_dir(final.parent)


def _aside(final: Path) -> Path:
    return final.parent / f".{final.name}.old"


def write_failed(path: Path, err: OSError) -> PocketRecError:
    """Turn an OSError of a write into a message that says what to do."""
    if err.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return PocketRecError(
            f"{path}: no space left while writing; nothing was changed. Free some space and rerun."
        )
    return PocketRecError(f"{path}: cannot be written ({err.strerror or err}).")
