"""Event logs as tests need them."""

import json
import os
import signal
import sqlite3
from pathlib import Path

import pytest

FIRST_SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, item_id TEXT NOT NULL, event TEXT NOT NULL,
    value REAL, ts INTEGER NOT NULL, context TEXT NOT NULL, uploaded INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS event_ts ON event (kind, ts);
CREATE INDEX IF NOT EXISTS event_pending ON event (uploaded, ts);
"""


@pytest.fixture(scope="session")
def write_first_log():
    """Return a function that writes a log of the first schema with n likes, every third sent."""

    def write(path: Path, n: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(FIRST_SCHEMA)
        connection.executemany(
            "INSERT INTO event VALUES (?, 'interaction', ?, 'like', ?, ?, ?, ?)",
            [
                (f"id-{i * 7919 % n}", f"item-{i}", i / 2, i, json.dumps({"place": i}), i % 3 == 0)
                for i in range(n)
            ],
        )
        connection.close()

    return write


@pytest.fixture
def killed_at():
    """Return a function that runs a job in a fork; True: it got through, False: it was killed.

    It is killed after n times twenty instructions of SQLite's virtual machine, in one connection.
    """

    def run(n: int, job) -> bool:
        child = os.fork()
        if child == 0:
            code = 1
            sqlite3.connect = killing_connect(n)
            try:
                job()
                code = 0
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, -signal.SIGKILL)
        return code == 0

    return run


def killing_connect(n: int):
    """`sqlite3.connect` whose connections kill the process after n times twenty instructions."""
    plain = sqlite3.connect

    def connect(*args, **kwargs):
        connection = plain(*args, **kwargs)
        left = n

        def step():
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

        connection.set_progress_handler(step, 20)
        return connection

    return connect


@pytest.fixture
def unwritable(monkeypatch):
    """Return a function after which logs open as on a read-only disk; root may write anywhere."""

    def refuse(connection):
        err = sqlite3.OperationalError("attempt to write a readonly database")
        err.sqlite_errorcode = sqlite3.SQLITE_READONLY
        raise err

    return lambda: monkeypatch.setattr("pocketrec_edge.events.log.configure", refuse)


@pytest.fixture(scope="session")
def bytes_of():
    """Return a function that gives all bytes of the files below a folder, but of releases."""

    def read(folder: Path) -> bytes:
        return b"".join(
            path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and "store" not in path.relative_to(folder).parts
        )

    return read
