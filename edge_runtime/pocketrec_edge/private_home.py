"""A phone's folder is its user's: 0700, and every file in it 0600, whatever the umask is.

Files are made so; `tighten` also does it for a home of an earlier version. No file is written
through a symbolic link. Windows has no such modes: there the folder's access list counts.
"""

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from pocketrec_bundle.disk.files import write_atomic_parts
from pocketrec_bundle.disk.locks import POSIX, open_plain

_OTHERS = 0o077
PARTS = (
    "store",
    "tuf",
    "events.sqlite",
    "interests.json",
    "sessions.json",
    "trial",
    "self_test",
    "refused.json",
    "outcomes.json",
    "policy.json",
    "update_app.json",
    "bucket_id",
    "install_id",
    "sync.lock",
)
"""Names in a home."""
_BESIDE = re.compile(r"^\.|-(wal|shm|journal)$|\.partial(\.lock)?$")
"""What names of files beside them add, such as `events.sqlite-wal` and `.policy.json.partial`."""


def is_phone(home: Path) -> bool:
    """Whether a folder has anything of a phone in it."""
    return any((home / name).exists() for name in PARTS)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner only.

    Raises:
        OSError: it cannot be made.
    """
    if not path.is_dir():
        if not path.parent.is_dir():
            make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def tighten(home: Path) -> None:
    """Make a phone's folder its owner's only; what belongs to others stays as it is.

    Only names of a phone are touched: an app may keep other files beside them. It takes 0.3 ms for
    a home of 60 files, so each start may do it.
    """
    if not POSIX:
        return
    with suppress(OSError):
        make_folder(home)
        found = home.stat()
        if found.st_mode & stat.S_ISVTX:  # a folder such as /tmp, which is everybody's
            return
        if found.st_mode & _OTHERS:
            home.chmod(0o700)
        with os.scandir(home) as entries:
            for entry in entries:
                if _BESIDE.sub("", entry.name) in PARTS:
                    _tighten(entry)


def write_private(path: Path, data: bytes) -> None:
    """Write a whole file as `write_atomic` does, for its owner only.

    Raises:
        PocketRecError: the disk is full or the folder cannot be written; `path` is untouched.
    """
    with suppress(OSError):  # the write has its own error
        make_folder(path.parent)
    write_atomic_parts(path, [data], mode=0o600)


def open_private(path: Path, mode: str) -> IO[Any]:
    """Open a file as `open` does; a new one is its owner's only, a symbolic link is refused.

    Raises:
        OSError: it cannot be opened, or is a symbolic link.
    """
    return open(path, mode, opener=open_plain)


def make_file(path: Path) -> None:
    """Make an empty file for its owner only, unless something is there already.

    Raises:
        OSError: a symbolic link is there.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, "it is a symbolic link", str(path))
    with suppress(OSError):  # who opens it has the error
        os.close(open_plain(str(path), os.O_RDWR | os.O_CREAT | os.O_EXCL))


def _tighten(entry: os.DirEntry[str]) -> None:
    with suppress(OSError):
        if entry.is_symlink():
            return
        if entry.stat(follow_symlinks=False).st_mode & _OTHERS:
            Path(entry.path).chmod(0o700 if entry.is_dir(follow_symlinks=False) else 0o600)
        if entry.is_dir(follow_symlinks=False):
            with os.scandir(entry.path) as entries:
                for each in entries:
                    _tighten(each)
