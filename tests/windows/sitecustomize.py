"""Put this folder on PYTHONPATH, and Python on Linux lacks and refuses what it does on Windows.

Modules, functions and constants of POSIX are missing. `msvcrt` exists, with locks of Linux.
These calls are refused:

    a folder opened as a file
    fsync of a file that is open for reading
    rename or removal of a file that a process has open, or that this process has mapped
    os.rename over a file
    os.symlink
    a file name that Windows reserves
    a text file opened without an encoding, in the rooms of the device

Not simulated: Windows itself. Drive letters, its console and its SQLite are as on Linux.
"""

import errno
import os
import re
import signal
import stat
import struct
import subprocess  # takes a system that has msvcrt for Windows, so it comes first
import sys
import time
import types
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

assert subprocess and signal and time

import fcntl  # noqa: E402

MODULES = ("fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty")
ATTRIBUTES = """
os chown fchmod fchown fork forkpty geteuid getgid getloadavg getuid killpg mkfifo nice
os posix_fadvise posix_fallocate pread pwrite register_at_fork sched_getaffinity setsid statvfs
os sync O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK
signal SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGQUIT SIGUSR1 SIGUSR2 alarm setitimer
time CLOCK_MONOTONIC CLOCK_REALTIME clock_gettime tzset
"""
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f]|[. ]$')


def _name_is_refused(path):
    folder, _, name = os.fsdecode(path).rpartition("/")
    return not folder.startswith(("/proc", "/dev", "/sys")) and bool(
        RESERVED.fullmatch(name) or FORBIDDEN.search(name)
    )


@contextmanager
def _alone(lock=fcntl.flock):
    """Make a check and what follows it one step for all processes, as Windows does."""
    lock(_gate, 2)  # LOCK_EX
    try:
        yield
    finally:
        lock(_gate, 8)  # LOCK_UN


def _in_use(path):
    """Whether any process has a file open, or this one has it mapped."""
    try:
        found = Path(path).stat()
    except OSError:
        return False
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            held = handle.stat()
            if (held.st_dev, held.st_ino) == (found.st_dev, found.st_ino):
                return True
    with Path("/proc/self/maps").open("rb") as stream:
        return any(int(line.split()[4]) == found.st_ino for line in stream)


def _refuse(path):
    if _in_use(path):
        raise PermissionError(errno.EACCES, "a process uses it", os.fspath(path))


def _guarded(plain, *, over=True):
    def rename(source, target, **more):
        with _alone():
            for path in (source, target):
                _refuse(path)
            if _name_is_refused(target):
                raise OSError(errno.EINVAL, "not a name on Windows", os.fspath(target))
            if not over and Path(target).exists():
                raise FileExistsError(errno.EEXIST, "it exists", os.fspath(target))
            return plain(source, target, **more)

    return rename


def _removing(plain):
    def remove(path, **more):
        with _alone():
            _refuse(path)
            return plain(path, **more)

    return remove


def _opening(plain):
    def opened(path, *arguments, **more):
        with _alone():
            handle = plain(path, *arguments, **more)
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            os.close(handle)
            raise PermissionError(errno.EACCES, "it is a folder", os.fspath(path))
        return handle

    return opened


def _syncing(plain, flags_of=fcntl.fcntl, get=fcntl.F_GETFL):
    def fsync(handle):
        if flags_of(handle, get) & 3 == os.O_RDONLY:
            raise OSError(errno.EBADF, "open for reading only")
        return plain(handle)

    return fsync


def _no_symlink(source, target, *_, **__):
    raise OSError(errno.EINVAL, "a privilege is not held", os.fspath(target))


def _locking(handle, mode, n_bytes, lockf=fcntl.fcntl, command=fcntl.F_OFD_SETLK):
    kind = fcntl_kinds[mode]
    here = os.lseek(handle, 0, os.SEEK_CUR)
    lockf(handle, command, struct.pack("hhqqixxxx", kind, os.SEEK_SET, here, n_bytes, 0))


def _audit(event, arguments):
    named = event in ("open", "os.mkdir") and isinstance(arguments[0], (str, bytes))
    if named and _name_is_refused(arguments[0]):
        raise OSError(errno.EINVAL, "not a name on Windows", arguments[0])


fcntl_kinds = {2: fcntl.F_WRLCK, 0: fcntl.F_UNLCK}  # LK_NBLCK, LK_UNLCK
_gate = os.open(__file__, os.O_RDONLY)
msvcrt: Any = types.ModuleType("msvcrt")
msvcrt.LK_NBLCK, msvcrt.LK_UNLCK, msvcrt.locking = 2, 0, _locking
sys.modules["msvcrt"] = msvcrt
modules: dict[str, Any] = sys.modules  # type checkers know no None here
for name in MODULES:
    modules[name] = None
for module, *names in map(str.split, ATTRIBUTES.strip().splitlines()):
    for name in names:
        delattr(sys.modules[module], name)
os.replace, os.rename = _guarded(os.replace), _guarded(os.rename, over=False)
os.unlink, os.remove = _removing(os.unlink), _removing(os.remove)
os.open, os.fsync = _opening(os.open), _syncing(os.fsync)
setattr(os, "symlink", _no_symlink)  # noqa: B010 - it takes any arguments
sys.addaudithook(_audit)
warnings.filterwarnings(
    "error", category=EncodingWarning, module=r"(bundle|edge_runtime|pocketrec)\b"
)
