"""Files and folders that only their owner can read: modes 0600 and 0700, whatever the umask is.

No file is written through a symbolic link. Windows has no such modes: there the folder's access
list decides.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from pocketrec_bundle.disk.files import write_atomic_parts
from pocketrec_bundle.disk.locks import open_plain

OTHERS = 0o077
"""The mode bits of group and others."""


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner only.

    Raises:
        OSError: it cannot be made.
    """
    if not path.is_dir():
        if not path.parent.is_dir():
            make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


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


def tighten(entry: os.DirEntry[str]) -> None:
    """Make a file, or a folder with all in it, its owner's only; links stay as they are."""
    with suppress(OSError):
        if entry.is_symlink():
            return
        if entry.stat(follow_symlinks=False).st_mode & OTHERS:
            Path(entry.path).chmod(0o700 if entry.is_dir(follow_symlinks=False) else 0o600)
        if entry.is_dir(follow_symlinks=False):
            with os.scandir(entry.path) as entries:
                for each in entries:
                    tighten(each)
