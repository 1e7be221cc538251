"""Atomic file writes: a reader sees the old content or the new, never a part."""

import contextlib
import ctypes
import errno
import hashlib
import io
import json
import math
import mmap
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pocketrec_bundle.disk.locks import POSIX, LockedFile
from pocketrec_bundle.errors import InputError, PocketRecError

_CHUNK_BYTES = 1 << 20
_IN_USE_S, _POLL_S = 2.0, 0.02


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


def mapped(path: Path) -> memoryview:
    """Return the bytes of a file that is not empty, memory-mapped; freed with the last view."""
    with path.open("rb") as stream:
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def fsync_file(path: Path) -> None:
    """Make the content of a file survive a power cut."""
    with path.open("r+b") as stream:  # Windows flushes no file that is open for reading only
        os.fsync(stream.fileno())


def replace_file(source: Path, target: Path) -> None:
    """Rename a file over another one, or raise OSError and change nothing.

    Windows refuses while a process has either of them open or mapped, such as a virus scanner, so
    the call tries again for 2 s there.
    """
    end = time.monotonic() + (0.0 if POSIX else _IN_USE_S)
    while True:
        try:
            source.replace(target)
            return
        except PermissionError:
            if time.monotonic() >= end:
                raise
        time.sleep(_POLL_S)


def remove_file(path: Path) -> bool:
    """Remove a file; False if the system refuses, as Windows does while a process has it open."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def fsync_dir(path: Path) -> None:
    """Make renames inside a folder survive a power cut; does nothing where unsupported."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file atomically: temporary sibling, fsync, rename to `path`, fsync of the folder.

    A killed writer leaves the sibling, `.NAME.partial`; the next write to `path` reuses it.

    Raises:
        PocketRecError: the disk is full or the folder cannot be written; `path` is untouched.
    """
    write_atomic_parts(path, [data])


def write_atomic_parts(path: Path, parts: Iterable[bytes], mode: int = 0o644) -> None:
    """Write a file as `write_atomic` does, from parts that together need not fit into memory.

    Args:
        path: the file.
        parts: its content; if producing a part raises, `path` is untouched.
        mode: permissions; by default a web server may read what is published.

    Raises:
        PocketRecError: the disk is full or the folder cannot be written; `path` is untouched.
    """
    temporary = path.parent / f".{path.name}.partial"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(temporary) as stream:
            try:
                stream.truncate(0)
                if hasattr(os, "fchmod"):
                    os.fchmod(stream.fileno(), mode)
                stream.writelines(parts)
                stream.flush()
                os.fsync(stream.fileno())
                if not POSIX:
                    stream.close()  # Windows renames no open file
                replace_file(temporary, path)
            except BaseException:
                if not POSIX:
                    stream.close()
                remove_file(temporary)
                raise
        fsync_dir(path.parent)
    except OSError as err:
        raise write_failed(path, err) from err


@contextlib.contextmanager
def _alone(temporary: Path) -> Iterator[BinaryIO]:
    """Open a file for writing; other writers of the same name wait.

    The lock is on the file itself. On Windows, which cannot rename an open file, it is on a file
    beside it.
    """
    if POSIX:
        with io.BufferedWriter(_locked(temporary)) as stream:
            yield stream
        return
    beside = temporary.with_name(f"{temporary.name}.lock")
    try:
        with _locked(beside), temporary.open("wb") as stream:
            yield stream
    finally:
        remove_file(beside)  # refused where another writer waits for it


def _locked(path: Path) -> LockedFile:
    while True:
        stream = LockedFile(path, wait_s=math.inf)
        with contextlib.suppress(FileNotFoundError):
            # Who held it before has renamed or removed it: the name is another file now.
            if path.stat().st_ino == os.fstat(stream.fileno()).st_ino:
                return stream
        stream.close()


def replace_dir(temporary: Path, final: Path) -> None:
    """Replace the folder `final` by a finished one, in one step, and remove the old one.

    After a crash the old folder has one of the two names. Where the file system cannot swap names,
    the old folder is moved aside first; `restore_dir` moves it back after a crash.
    """
    restore_dir(final)
    if not final.exists():
        temporary.replace(final)
        fsync_dir(final.parent)
        return
    old = temporary
    if not _swap(temporary, final):
        old = _aside(final)
        final.replace(old)
        temporary.replace(final)
    fsync_dir(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def check_free(out: Path, *, force: bool, option: str = "--out") -> None:
    """Refuse an output path that exists, before any work is done.

    Args:
        out: the output path.
        force: an existing output may be replaced.
        option: of the command, for the message.

    Raises:
        InputError: `out` exists and `force` is not set.
    """
    restore_dir(out)
    if out.exists() and not force:
        raise InputError(f"{out}: exists already. Choose another {option}, or add --force.")


def restore_dir(final: Path) -> None:
    """Undo a `replace_dir` that was killed between two renames; otherwise do nothing."""
    aside = _aside(final)
    if aside.exists() and not final.exists():
        aside.replace(final)
    shutil.rmtree(aside, ignore_errors=True)


def _aside(final: Path) -> Path:
    return final.parent / f".{final.name}.old"


def _swap(one: Path, two: Path) -> bool:
    """Swap two names atomically (renameat2 on Linux, renamex_np on macOS); False if unsupported."""
    if not POSIX:
        return False
    libc = ctypes.CDLL(None)
    paths = os.fsencode(one), os.fsencode(two)
    if linux := getattr(libc, "renameat2", None):
        here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        return bool(linux(here, paths[0], here, paths[1], exchange) == 0)
    if macos := getattr(libc, "renamex_np", None):
        return bool(macos(*paths, 2) == 0)  # RENAME_SWAP
    return False


def write_failed(path: Path, err: OSError) -> PocketRecError:
    """Return an error that says what to do about an OSError of a write."""
    if err.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return PocketRecError(
            f"{path}: no space left while writing; nothing was changed. Free some space and rerun."
        )
    return PocketRecError(f"{path}: cannot be written ({err.strerror or err}).")
