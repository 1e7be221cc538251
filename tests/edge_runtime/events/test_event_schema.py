"""Logs of other schemas: migrated whole or not at all, read where nothing can be written."""

import sqlite3

import pytest

from pocketrec_edge.device import Device
from pocketrec_edge.errors import EventLogError
from pocketrec_edge.events import schema as event_schema
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.status import LogStatus

WITHOUT_SESSIONS = "DROP TABLE app_session; PRAGMA user_version = 3"
WITHOUT_BATCHES = (
    f"{WITHOUT_SESSIONS}; DROP TABLE batch; DROP TABLE upload_wait; PRAGMA user_version = 2"
)
WITHOUT_SHOWINGS = f"{WITHOUT_BATCHES}; DROP TABLE showing; PRAGMA user_version = 1"


EARLIER = {
    "first": None,
    "second": WITHOUT_SHOWINGS,
    "third": WITHOUT_BATCHES,
    "fourth": WITHOUT_SESSIONS,
}


@pytest.fixture(params=list(EARLIER))
def write_old_log(request, write_first_log):
    """Return a function that writes a log of an earlier schema with n likes, every third sent."""

    def write(path, n):
        write_first_log(path, n)
        if script := EARLIER[request.param]:
            EventLog(path).close()
            connection = sqlite3.connect(path, isolation_level=None)
            connection.executescript(script)
            connection.close()

    return write


def test_a_log_of_an_earlier_schema_is_migrated_with_all_it_holds(tmp_path, write_old_log):
    path = tmp_path / "e.sqlite"
    write_old_log(path, 30)
    log = EventLog(path)
    status, *rest = log.export_rows()
    assert isinstance(status, LogStatus)
    rows = [each for each in rest if isinstance(each, tuple)]
    assert len(rows) == len(rest)
    assert (status.events, status.interactions, status.consent.state) == (30, 30, "unknown")
    assert [(e.item_id, e.value, e.ts, e.context, sent) for e, sent in rows] == [
        (f"item-{i}", i / 2, i, {"place": i}, int(i % 3 == 0)) for i in range(30)
    ]
    log.set_consent(True)
    assert len(log.pending(100)) == 20
    log.append("new", "like", ts=99)
    log.add_showings(["zebra"], 99)
    assert (log.status().showings, log.showings(99)) == (1, {"zebra": 1})
    log.close()
    assert EventLog(path).status().events == 31
    assert sqlite3.connect(path).execute("PRAGMA auto_vacuum").fetchone() == (2,)


def test_killed_at_any_step_of_a_migration_the_log_is_the_old_or_the_new_one(
    tmp_path, write_old_log, killed_at
):
    versions = set()
    for n in range(0, 4000, 21):
        path = tmp_path / str(n) / "e.sqlite"
        write_old_log(path, 40)
        old = sqlite3.connect(path).execute("PRAGMA user_version").fetchone()[0]
        finished = killed_at(n, lambda path=path: EventLog(path))
        left = sqlite3.connect(path)
        versions.add(found := left.execute("PRAGMA user_version").fetchone()[0])
        names = {row[0] for row in left.execute("SELECT name FROM sqlite_master")}
        assert ("consent" in names) == (found > 0)
        assert ("showing" in names) == (found >= 2)
        assert ("batch" in names) == (found >= 3)
        assert ("app_session" in names) == (found == 4)
        assert "event_made" not in names
        assert left.execute("SELECT count(*) FROM event").fetchone() == (40,)
        left.close()
        assert EventLog(path).status().events == 40
        if finished:
            break
    else:
        pytest.fail("the migration never got through")
    assert versions == {old, 4}


def test_an_old_log_that_cannot_be_written_is_read(
    tmp_path, write_old_log, unwritable, small_release
):
    write_old_log(tmp_path / "events.sqlite", 9)
    before = (tmp_path / "events.sqlite").read_bytes()
    unwritable()
    phone = Device(tmp_path, bundle=small_release)
    answer = phone.recommend()
    assert (len(answer.items), answer.history) == (10, 9)
    assert "readonly" in answer.faults[0].text
    assert (phone.status().plain()["events"], phone.status().plain()["pending"]) == (9, 0)
    with pytest.raises(EventLogError, match="readonly"):
        phone.set_consent(True)
    assert (tmp_path / "events.sqlite").read_bytes() == before


def test_a_log_of_a_newer_app_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "e.sqlite"
    EventLog(path).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 9")
    newer.close()
    with pytest.raises(EventLogError, match="version 9, and this app reads up to 4: update"):
        EventLog(path)


def test_a_log_with_nothing_to_do_opens_while_another_process_writes(tmp_path):
    EventLog(tmp_path / "e.sqlite").close()
    other = sqlite3.connect(tmp_path / "e.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert EventLog(tmp_path / "e.sqlite").fault is None


def test_wiping_says_so_when_a_reader_holds_old_pages(tmp_path):
    log = EventLog(tmp_path / "e.sqlite")
    log.append("a", "like", ts=1)
    reader = sqlite3.connect(tmp_path / "e.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM event").fetchall()
    writer = sqlite3.connect(tmp_path / "e.sqlite", isolation_level=None, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match=r"reads it|locked"):
        event_schema.delete_all(writer)
