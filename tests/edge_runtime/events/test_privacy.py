"""A person's copy of their data, and its erasure."""

import json
import sqlite3

import pytest

from pocketrec.cli import main
from pocketrec_bundle.errors import InputError, PocketRecError
from pocketrec_edge.device import Device
from pocketrec_edge.errors import EventLogError
from pocketrec_edge.events.install_id import install_id
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.privacy import erase, export_data
from pocketrec_edge.phone_home import PhoneHome


@pytest.fixture
def phone(tmp_path, small_release):
    """A phone in use: release installed, consent given, some events sent, install id made."""
    home = tmp_path / "phone"
    Device(home).install(small_release)
    phone = Device(home, clock=lambda: 1e9)
    phone.set_consent(True, "terms-zebra")
    phone.recommend()
    assert phone._log is not None
    phone._log.add_showings(["campaign-okapi"], 10**9)
    phone.feedback("item-250", "like", 0.5)
    log = EventLog(home / "events.sqlite")
    batch = log.next_batch(1)
    assert batch is not None
    log.acknowledge(batch)
    log.close()
    install_id(PhoneHome(home))
    yield phone
    phone.close()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_copy_holds_everything_under_a_header(phone, tmp_path):
    out = tmp_path / "copy.jsonl"
    assert phone.export_data(out) == 12
    header, consent, session, showing, *events = lines(out)
    assert (header["type"], header["format"], header["version"]) == (
        "header",
        "pocketrec-user-data",
        1,
    )
    assert (header["events"], header["exported_utc"]) == (12, 10**9)
    assert header["install_id"] == install_id(PhoneHome(phone.home))
    assert consent == {"type": "consent", "state": "granted", "at": 10**9, "terms": "terms-zebra"}
    assert showing == {"type": "showing", "campaign": "campaign-okapi", "ts": 10**9}
    assert header["showings"] == 1
    assert len(events) == 12
    assert (session["type"], session["used_utc"]) == ("session", 10**9)
    of_session = [event for event in events if "session" in event["context"]]
    assert sorted(event["kind"] for event in of_session) == ["interaction", "request"]
    assert {event["context"]["session"] for event in of_session} == {session["id"]}
    liked = next(event for event in events if event["kind"] == "interaction")
    assert (liked["item_id"], liked["event"], liked["value"], liked["ts"]) == (
        "item-250",
        "like",
        0.5,
        10**9,
    )
    shown = [event for event in events if event["kind"] == "impression"]
    assert sorted(event["context"]["place"] for event in shown) == list(range(1, 11))
    assert sorted(event["uploaded"] for event in events) == ["no"] * 11 + ["yes"]
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_copy_that_cannot_be_finished_leaves_the_one_before(phone, tmp_path):
    out = tmp_path / "copy.jsonl"
    out.write_text("before")
    sqlite3.connect(phone.home / "events.sqlite", isolation_level=None).execute(
        "UPDATE event SET context = 'no json' WHERE kind = 'interaction'"
    )
    with pytest.raises((PocketRecError, ValueError)):
        phone.export_data(out)
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == ["copy.jsonl"]
    assert out.read_text() == "before"


def test_nothing_erased_is_left_in_any_file_and_the_release_stays(phone, bytes_of):
    home = phone.home
    log = EventLog(home / "events.sqlite")
    event_id = log.pending(1)[0].id
    log.close()
    known = install_id(PhoneHome(home))
    session = sqlite3.connect(home / "events.sqlite").execute("SELECT id FROM app_session")
    secrets = [
        session.fetchone()[0].encode(),
        b"item-250",
        b"terms-zebra",
        b"campaign-okapi",
        event_id.encode(),
        known.encode(),
    ]
    found = bytes_of(home)
    assert all(secret in found for secret in secrets)

    page = phone.recommend(page=1)
    assert (home / "sessions.json").exists()

    erased = phone.erase()

    assert (erased.events, erased.install_id) == (23, known)
    assert not (home / "sessions.json").exists()
    assert phone.recommend(page=2, session=page.session).session != page.session
    phone.erase()
    found = bytes_of(home)
    assert not [secret for secret in secrets if secret in found]
    assert not (home / "install_id").exists()
    status = phone.status()
    assert (status.plain()["events"], status.plain()["consent"]["state"], status.faults) == (
        0,
        "unknown",
        (),
    )
    answer = phone.recommend()
    assert (answer.history, answer.source, len(answer.items)) == (0, "model", 10)


def test_rows_that_retention_removed_are_not_left_either(tmp_path, bytes_of):
    log = EventLog(tmp_path / "events.sqlite")
    for n in range(300):
        log.append(f"zebra-{n}", "like", ts=n)
    log.close()
    Device(tmp_path).close()
    assert b"zebra" not in bytes_of(tmp_path)


def test_a_damaged_log_is_destroyed(tmp_path, bytes_of):
    (tmp_path / "events.sqlite").write_bytes(b"zebra" * 1000)
    assert erase(PhoneHome(tmp_path)).events is None
    assert b"zebra" not in bytes_of(tmp_path)
    assert [*map(str, Device(tmp_path).status().faults)] == ["no release is installed"]


def test_a_log_in_the_middle_of_a_write_is_not_half_erased(phone, monkeypatch):
    monkeypatch.setattr("pocketrec_edge.events.privacy._BUSY_S", 0.05)
    other = sqlite3.connect(phone.home / "events.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(EventLogError, match=r"locked.*repeat"):
        phone.erase()
    assert phone.status().plain()["events"] == 12
    other.execute("ROLLBACK")
    assert phone.erase().events == 12


def test_killed_at_any_step_an_erasure_is_finished_by_the_next(tmp_path, bytes_of, killed_at):
    finished = False
    for n in range(0, 4000, 5):
        home = tmp_path / str(n)
        log = EventLog(home / "events.sqlite")
        for i in range(20):
            log.append(f"zebra-{i}", "like", ts=i)
        log.add_showings(["campaign-zebra"], 9)
        log.close()
        install_id(PhoneHome(home))
        finished = killed_at(n, lambda home=home: erase(PhoneHome(home)))
        left = EventLog(home / "events.sqlite").status()
        assert left.events in ((0,) if finished else (0, 20))
        assert left.showings == (left.events > 0)
        erase(PhoneHome(home))
        assert b"zebra" not in bytes_of(home)
        assert not (home / "install_id").exists()
        if finished:
            break
    assert finished
    assert n > 0


def test_erasing_twice_is_erasing_once(phone):
    phone.erase()
    again = phone.erase()
    assert (again.events, again.install_id) == (0, None)


@pytest.mark.parametrize("ask", [lambda home: erase(PhoneHome(home)), lambda home: export(home)])
def test_no_phone_is_wrong_usage(tmp_path, ask):
    with pytest.raises(InputError, match="no phone there"):
        ask(tmp_path / "typo")


def export(home):
    return export_data(PhoneHome(home), home.parent / "out", now=0)


def test_the_commands(phone, tmp_path, runner):
    home, out = str(phone.home), tmp_path / "copy.jsonl"

    def ask(*words):
        return runner.invoke(main, ["device", words[0], "--home", home, *words[1:]])

    done = ask("export-data", "--out", str(out), "--json")
    assert json.loads(done.stdout) == {"events": 12}
    done = ask("export-data", "--out", str(out))
    assert (done.exit_code, "--force" in done.stderr) == (2, True)
    assert ask("export-data", "--out", str(out), "--force").exit_code == 0
    assert lines(out)[0]["events"] == 12

    done = ask("erase")
    assert (done.exit_code, done.stdout, "Add --yes" in done.stderr) == (2, "", True)
    assert phone.status().plain()["events"] == 12
    known = install_id(PhoneHome(phone.home))
    phone.close()
    done = ask("erase", "--yes")
    assert (done.exit_code, done.stdout) == (0, "erased 12 events\n")
    assert known in done.stderr
    assert json.loads(ask("erase", "--yes", "--json").stdout) == {
        "events": 0,
        "install_id": None,
        "sums_ids": [],
        "unread_sums": False,
        "erased_on_server": None,
        "sums_erased_on_server": None,
    }
