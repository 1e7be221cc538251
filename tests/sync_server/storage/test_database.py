"""Databases of every layout there was become the present one, and nothing in them is lost."""

import os
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from pocketrec_server.auth import audit
from pocketrec_server.errors import DatabaseInvalidError
from pocketrec_server.storage.database import (
    connect,
    default_url,
    open_database,
    pending,
    upgrade,
    writing,
)
from pocketrec_server.storage.tables import EVENT, EVENT_DAY, INSTALL, METADATA, SETTING

# As `metadata.create_all` made them before there were migrations.
FIRST_LAYOUT = """
CREATE TABLE event (
    id VARCHAR(64) NOT NULL, install_id VARCHAR(64) NOT NULL, kind VARCHAR(16) NOT NULL,
    item_id VARCHAR(256) NOT NULL, event VARCHAR(64) NOT NULL, value FLOAT, ts BIGINT NOT NULL,
    context TEXT NOT NULL, PRIMARY KEY (id)
);
CREATE INDEX ix_event_ts ON event (ts);
INSERT INTO event VALUES
    ('e1', 'phone-two', 'interaction', 'a', 'like', NULL, 86399, '{}'),
    ('e2', 'phone-one', 'impression', 'b', 'shown', 0.5, 86400, '{"place": 1}'),
    ('e3', 'phone-two', 'interaction', 'ä', 'buy', 2.0, 86401, '{}');
"""
MOVED = [
    ("e1", "phone-two", "interaction", "a", "like", None, 86399, "{}"),
    ("e2", "phone-one", "impression", "b", "shown", 0.5, 86400, '{"place": 1}'),
    ("e3", "phone-two", "interaction", "ä", "buy", 2.0, 86401, "{}"),
]


def events(engine):
    columns = [EVENT.c[name] for name in ("kind", "item_id", "event", "value", "ts", "context")]
    with engine.connect() as connection:
        rows = connection.execute(
            select(EVENT.c.id, INSTALL.c.install_id, *columns).join(INSTALL).order_by(EVENT.c.id)
        )
        return [tuple(row) for row in rows]


def test_a_postgresql_that_does_not_answer_is_an_error_soon():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        engine = connect(f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/x")
        with pytest.raises(OperationalError):  # without a limit it would wait for ever
            engine.connect()


def test_the_migrations_make_the_tables_that_the_code_uses(engine):
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    assert pending(engine) == upgrade(engine) == []


def test_a_database_from_before_migrations_keeps_every_event(empty_url):
    engine = connect(empty_url)
    with writing(engine) as connection:
        for statement in FIRST_LAYOUT.split(";\n"):
            connection.execute(text(statement.replace(": ", r"\: ")))
    assert upgrade(engine)[0] == "0001_events"
    assert events(engine) == MOVED
    with engine.connect() as connection:
        assert connection.execute(select(EVENT_DAY)).all() == [(0, 1, 1), (1, 2, 1)]
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(EVENT.insert(), dict.fromkeys(EVENT.c.keys(), 99))
    engine.dispose()


def test_an_old_file_is_upgraded_when_it_is_opened(tmp_path):
    path = tmp_path / "server.sqlite"
    old = sqlite3.connect(path)
    old.executescript(FIRST_LAYOUT)
    old.close()
    assert events(open_database(f"sqlite:///{path}")) == MOVED
    assert events(open_database(f"sqlite:///{path}")) == MOVED


def test_postgresql_is_upgraded_on_purpose_only(postgres, request):
    with pytest.raises(DatabaseInvalidError, match="pocketrec db upgrade"):
        open_database(postgres)


def test_an_upgrade_that_fails_changes_nothing(empty_url):
    engine = connect(empty_url)
    with writing(engine) as connection:
        for statement in FIRST_LAYOUT.split(";\n"):
            connection.execute(text(statement.replace(": ", r"\: ")))
        connection.execute(text("CREATE TABLE upload (foreign_to_us INTEGER)"))
    with pytest.raises(DatabaseInvalidError, match="upload"):
        upgrade(engine)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT COUNT(install_id) FROM event")) == 3
    assert pending(engine)[0] == "0001_events"
    engine.dispose()


def test_many_processes_may_open_a_new_database_at_once(empty_url):
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                upgrade(connect(empty_url))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    engine = connect(empty_url)
    with engine.connect() as connection:
        assert len(connection.execute(select(SETTING)).all()) == 1
    engine.dispose()


def test_a_newer_database_and_a_foreign_url_are_refused(engine):
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO alembic_version VALUES ('9999_later')"))
    for job in (pending, upgrade):
        with pytest.raises(DatabaseInvalidError, match=r"newer version.*9999_later"):
            job(engine)
    for url in ("mysql://host/name", "nonsense"):
        with pytest.raises(DatabaseInvalidError):
            connect(url)


def test_sqlite_waits_for_its_turn_and_then_gives_up(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path / 'server.sqlite'}?timeout=0.1")
    with writing(engine) as holder:
        holder.execute(text("DELETE FROM setting"))
        with pytest.raises(OperationalError, match="locked"), writing(engine):
            pass
        with engine.connect() as reader:  # is not kept waiting
            assert len(reader.execute(select(SETTING)).all()) == 1
    patient = open_database(f"sqlite:///{tmp_path / 'server.sqlite'}")
    with writing(engine) as holder:
        done = threading.Event()

        def write():
            with writing(patient):
                done.set()

        waiting = threading.Thread(target=write)
        waiting.start()
        assert not done.wait(0.05)
    waiting.join()
    assert done.is_set()


@pytest.fixture
def open_umask():
    """Files are made readable by everybody, as where a service sets no umask."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder):
    return {path.name: path.stat().st_mode & 0o777 for path in folder.glob("server.sqlite*")}


def test_only_its_owner_reads_a_sqlite_file_and_its_logs(tmp_path, open_umask):
    engine = open_database(default_url(tmp_path))
    with engine.connect():
        assert modes(tmp_path) == dict.fromkeys(
            ("server.sqlite", "server.sqlite-wal", "server.sqlite-shm"), 0o600
        )
    engine.dispose()


def test_a_file_of_an_earlier_version_is_closed_to_others(tmp_path, open_umask):
    path = tmp_path / "server.sqlite"
    with closing(sqlite3.connect(path)) as before:
        before.execute("PRAGMA journal_mode = WAL")
        before.execute("CREATE TABLE a (b)")
        before.commit()
        assert set(modes(tmp_path).values()) == {0o644} and len(modes(tmp_path)) == 3
        with connect(default_url(tmp_path)).connect():
            assert set(modes(tmp_path).values()) == {0o600}


def test_a_database_that_is_asked_for_and_not_there_is_not_made(tmp_path):
    connect(default_url(tmp_path)).dispose()
    assert list(tmp_path.iterdir()) == []


LOOK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM audit").fetchone()[0])
connection.close()
"""


def test_nothing_is_lost_when_others_look_while_a_second_connection_opens(tmp_path):
    """Each process that closes its last connection deletes the log, unless locks tell it not to."""
    path = tmp_path / "server.sqlite"

    def look():
        words = [sys.executable, "-c", LOOK, str(path)]
        return int(subprocess.run(words, capture_output=True, check=True).stdout)

    engine = open_database(f"sqlite:///{path}")
    with engine.connect() as first:
        first.execute(text("SELECT 1"))
        with engine.connect() as second:
            second.execute(text("SELECT 1"))
            assert look() == 0
            with audit.noted(engine, None, "log in", "alice"):
                pass
    with audit.noted(engine, None, "log in", "bob"):
        pass
    assert look() == 2
    engine.dispose()
    assert look() == 2
