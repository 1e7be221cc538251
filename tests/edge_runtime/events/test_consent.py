"""Without consent nothing is handed out; what a withdrawal finds unsent never is."""

import json

import pytest

from pocketrec.cli import main
from pocketrec_edge.device import Device
from pocketrec_edge.errors import EventLogError
from pocketrec_edge.events.consent import Consent
from pocketrec_edge.events.log import EventLog


@pytest.fixture
def clock():
    """A list of one number: the time."""
    return [100]


@pytest.fixture
def log(tmp_path, clock):
    return EventLog(tmp_path / "events.sqlite", clock=lambda: clock[0])


def names(log):
    return [event.item_id for event in log.pending(100)]


def test_unknown_is_no(log):
    log.append("a", "like", ts=1)
    assert log.consent() == Consent(state="unknown", at=None, terms=None)
    assert (names(log), log.status().pending) == ([], 0)


def test_a_grant_hands_out_and_a_withdrawal_takes_back_for_good(log, clock):
    log.append("before", "like", ts=1)
    assert log.set_consent(True, "v1") == Consent(state="granted", at=100, terms="v1")
    assert names(log) == ["before"]
    log.acknowledge(log.next_batch(1))
    log.append("between", "like", ts=2)
    clock[0] = 200
    log.set_consent(False)
    log.append("after", "like", ts=3)
    assert names(log) == []
    log.set_consent(True, "v2")
    log.append("again", "like", ts=4)
    assert names(log) == ["again"]
    uploaded = [each[1] for each in log.export_rows() if isinstance(each, tuple)]
    assert uploaded == [1, 2, 2, 0]


def test_every_decision_is_kept_once(tmp_path, log, clock):
    for at, granted, terms in (
        (100, True, "v1"),
        (200, True, "v1"),
        (300, True, "v2"),
        (400, False, None),
    ):
        clock[0] = at
        log.set_consent(granted, terms)
    log.close()
    log = EventLog(tmp_path / "events.sqlite")
    assert [each for each in log.export_rows() if isinstance(each, Consent)] == [
        Consent(state="granted", at=100, terms="v1"),
        Consent(state="granted", at=300, terms="v2"),
        Consent(state="withdrawn", at=400, terms=None),
    ]


def test_a_log_that_cannot_be_written_hands_out_nothing(tmp_path, log, unwritable):
    """Its withdrawal may lie where it cannot be read."""
    log.set_consent(True)
    log.append("a", "like", ts=1)
    log.close()
    unwritable()
    log = EventLog(tmp_path / "events.sqlite")
    assert (log.consent().state, log.pending(9)) == ("granted", [])
    with pytest.raises(EventLogError, match="readonly"):
        log.set_consent(False)


def test_the_command_sets_and_shows_it_and_status_tells(tmp_path, runner):
    def ask(*words):
        done = runner.invoke(main, ["device", "consent", "--home", str(tmp_path), *words])
        return done.exit_code, done.stdout

    Device(tmp_path).close()
    assert ask() == (0, "consent: unknown\n")
    assert ask("--terms", "v1")[0] == 2
    assert ask("--grant", "--terms", "v1") == (0, "consent: granted, terms v1\n")
    assert Device(tmp_path).status().plain()["consent"]["terms"] == "v1"
    code, told = ask("--withdraw", "--json")
    assert (code, json.loads(told)["state"]) == (0, "withdrawn")
    done = runner.invoke(main, ["device", "status", "--home", str(tmp_path)])
    assert "consent       state withdrawn, at " in done.stdout
