"""File locks between processes, on POSIX and Windows; the kernel frees those of killed processes.

A lock file may lie where others can write. It is opened without following a symbolic link, is never
truncated, and only its owner can read or write it (mode 0600).
"""

import errno
import io
import math
import os
import stat
import time
from importlib import import_module
from pathlib import Path
from typing import Any


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


_fcntl, _msvcrt = _module("fcntl"), _module("msvcrt")

POSIX = _fcntl is not None
"""Whether an open file can be renamed and removed; Windows refuses both."""

_NOFOLLOW, _BINARY = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_BINARY", 0)
_LOCKED_AT = 1 << 30
"""Windows locks bytes, also for readers, so the locked byte lies behind all content."""
_POLL_S = 0.02


class LockedFile(io.FileIO):
    """A file, open for reading and writing (unbuffered) and locked until it is closed."""

    def __init__(self, path: Path, *, wait_s: float = 0.0) -> None:
        """Open and lock a file; it is created if it does not exist, and keeps its content.

        Args:
            path: the file; its folder exists.
            wait_s: how long to wait for another holder; `math.inf`: without limit.

        Raises:
            BlockingIOError: another holder has the lock; it may be in this process.
            OSError: the file cannot be opened, such as a symbolic link or a folder.
        """
        super().__init__(
            path, "r+", opener=lambda name, flags: open_plain(name, flags | os.O_CREAT)
        )
        try:
            _check(path, self.fileno())
            _lock(self.fileno(), wait_s)
        except BaseException:
            super().close()
            raise

    def close(self) -> None:
        """Release the lock and close the file."""
        if not self.closed and not POSIX:  # Windows frees it at some time after the close
            _lock_byte(self.fileno(), _msvcrt.LK_UNLCK)
        super().close()


def open_plain(path: str, flags: int) -> int:
    """Open a file as `os.open` does, for `opener` of `open`; a new one is its owner's only.

    Raises:
        OSError: it cannot be opened, or is a symbolic link where the system can refuse those.
    """
    try:
        return os.open(path, flags | _NOFOLLOW | _BINARY, 0o600)
    except OSError as err:
        if err.errno == errno.ELOOP:
            raise _not_plain(path) from err
        raise


def _check(path: Path, handle: int) -> None:
    """Refuse what is not a plain file, and links where the system cannot refuse them itself."""
    opened = os.fstat(handle)
    if not stat.S_ISREG(opened.st_mode) or (not _NOFOLLOW and path.is_symlink()):
        raise _not_plain(str(path))


def _not_plain(path: str) -> OSError:
    return OSError(errno.ELOOP, "it is a symbolic link or no plain file", path)


def _lock(handle: int, wait_s: float) -> None:
    if POSIX and wait_s == math.inf:
        _fcntl.flock(handle, _fcntl.LOCK_EX)
        return
    end = time.monotonic() + wait_s
    while True:
        try:
            if POSIX:
                _fcntl.flock(handle, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
            else:
                _lock_byte(handle, _msvcrt.LK_NBLCK)
            return
        except OSError as err:
            if err.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                raise
            if time.monotonic() >= end:
                raise BlockingIOError(errno.EAGAIN, "another process has the lock") from err
        time.sleep(_POLL_S)


def _lock_byte(handle: int, mode: int) -> None:
    place = os.lseek(handle, 0, os.SEEK_CUR)
    os.lseek(handle, _LOCKED_AT, os.SEEK_SET)
    try:
        _msvcrt.locking(handle, mode, 1)
    finally:
        os.lseek(handle, place, os.SEEK_SET)
