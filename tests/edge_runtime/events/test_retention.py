"""Retention against a plain list: which events are removed, in which order, and the counts."""

import sqlite3
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_bundle.units import DAY_S
from pocketrec_edge.device import Device
from pocketrec_edge.events.event import IMPRESSION, INTERACTION, Event
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.outbox import Batch
from pocketrec_edge.events.retention import Retention, enforce, used_bytes
from pocketrec_edge.events.schema import WITHHELD
from pocketrec_edge.events.status import LogStatus

NOW = 1000 * DAY_S
LIMITS = Retention(days=100, max_bytes=96 << 10, hard_days=200, hard_max_bytes=160 << 10)


def made(n, kind=INTERACTION, ts=NOW, size=1):
    return Event(
        id=f"{n:05}",
        kind=kind,
        item_id=f"item-{n}",
        event="like",
        value=None,
        ts=ts,
        context={"text": "x" * size},
    )


@dataclass(frozen=True)
class Row:
    """What the model knows of an event."""

    id: str
    interaction: bool
    ts: int
    sent: bool


def modelled(rows, waiting, limits, by_size):
    """Ids that a plain list keeps, given how many went by size: those that may go, and others."""

    def beyond(row, days):
        return row.ts < NOW - days * DAY_S

    free = [r for r in rows if r.sent or not waiting]
    held = [r for r in rows if r not in free]
    for group, days, gone in (
        (free, limits.days, by_size[0]),
        (held, limits.hard_days, by_size[1]),
    ):
        group[:] = [r for r in group if not beyond(r, days)]
        group.sort(key=lambda r: (r.interaction, r.ts, r.id))
        del group[:gone]
    return {r.id for r in free + held}


blocks = st.lists(
    st.tuples(
        st.booleans(),  # interaction?
        st.integers(0, 300),  # days old
        st.integers(1, 60),  # events
        st.integers(1, 900),  # bytes of context
        st.booleans(),  # sent?
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(blocks, st.sampled_from(["unknown", "granted", "withdrawn"]))
def test_the_limits_hold_and_what_goes_is_what_a_list_would_lose(tmp_path_factory, blocks, state):
    log = EventLog(tmp_path_factory.mktemp("log") / "e.sqlite", clock=lambda: NOW)
    rows: list[Row] = []
    for interaction, days, count, size, sent in blocks:
        kind = INTERACTION if interaction else IMPRESSION
        ts = NOW - days * DAY_S - len(rows) % 7
        events = [made(len(rows) + i, kind, ts, size) for i in range(count)]
        log.append_many(events)
        rows += [Row(e.id, interaction, ts, sent) for e in events]
        if sent:
            log.acknowledge(Batch(id="batch", events=events))
    if state != "unknown":
        log.set_consent(state == "granted")
    waiting = state == "granted"

    gone = enforce(log._connection, LIMITS, NOW)
    status, *rest = (
        each for each in log.export_rows() if not isinstance(each, type(log.consent()))
    )
    assert isinstance(status, LogStatus)
    kept = {each[0].id for each in rest if isinstance(each, tuple)}
    assert len(kept) == len(rest)
    by_size = status.removed.get("size", 0), status.lost.get("size", 0)
    assert kept == modelled(rows, waiting, LIMITS, by_size)
    assert sum([*status.removed.values(), *status.lost.values()]) == gone == len(rows) - len(kept)
    assert waiting or not status.lost
    free = [r for r in rows if r.id in kept and (r.sent or not waiting)]
    assert not free or used_bytes(log._connection) <= LIMITS.max_bytes
    assert used_bytes(log._connection) <= LIMITS.hard_max_bytes

    assert enforce(log._connection, LIMITS, NOW) == 0
    assert log.status().events == len(kept)
    log.close()


def test_no_more_goes_than_the_size_asks_for(tmp_path):
    log = EventLog(tmp_path / "e.sqlite")
    log.append_many([made(n, ts=NOW + n, size=50) for n in range(4000)])
    whole = used_bytes(log._connection)
    limit = whole * 3 // 4
    enforce(log._connection, replace(LIMITS, max_bytes=limit, hard_max_bytes=whole), NOW)
    assert limit * 0.93 < used_bytes(log._connection) <= limit
    kept = log.status().events
    assert 0.68 * 4000 < kept < 0.8 * 4000
    assert log.status().oldest_ts == NOW + 4000 - kept


def test_the_file_shrinks_and_holds_nothing_of_what_went(tmp_path, bytes_of):
    path = tmp_path / "e.sqlite"
    log = EventLog(path)
    log.append_many([made(n, ts=0, size=400) for n in range(2000)])
    log.append("kept-item", "like", ts=NOW)
    before = log.status().log_bytes
    enforce(log._connection, LIMITS, NOW)
    assert log.status().log_bytes < before / 5
    assert path.stat().st_size < 100_000
    found = bytes_of(tmp_path)
    assert b"kept-item" in found
    assert b"item-7" not in found


def test_what_waits_for_its_upload_goes_beyond_the_hard_limit_only_and_is_told(tmp_path):
    limits = Retention(days=10, hard_days=20)
    log = EventLog(tmp_path / "events.sqlite", clock=lambda: NOW)
    log.set_consent(True, "v1")
    log.append_many([made(days, ts=NOW - days * DAY_S) for days in (5, 15, 25, 26)])
    log.close()
    phone = Device(tmp_path, limits=limits, clock=lambda: NOW)
    status = phone.status()
    assert (status.plain()["events"], status.plain()["pending"]) == (2, 2)
    assert (status.plain()["removed"], status.plain()["lost"]) == ({}, {"age": 2})
    assert status.plain()["oldest_ts"] == NOW - 15 * DAY_S
    phone.set_consent(False)
    phone.close()
    phone = Device(tmp_path, limits=limits, clock=lambda: NOW)
    assert (phone.status().plain()["events"], phone.status().plain()["removed"]) == (1, {"age": 1})


def test_limits_are_applied_every_so_many_appends_and_never_without_limits(tmp_path):
    clock = [0]
    limits = Retention(days=1, hard_days=1, every=10)
    log = EventLog(tmp_path / "e.sqlite", limits=limits, clock=lambda: clock[0])
    log.append_many([made(n, ts=0) for n in range(9)])
    clock[0] = 2 * DAY_S
    assert log.status().events == 9
    log.append("new", "like", ts=clock[0])
    assert log.status().events == 1
    log.close()
    clock[0] *= 2
    assert EventLog(tmp_path / "e.sqlite", clock=lambda: clock[0]).status().events == 1


def test_history_goes_on_with_what_is_left(tmp_path, small_release):
    phone = Device(tmp_path, bundle=small_release, clock=lambda: NOW)
    phone.feedback("item-1", "like")
    late = Device(tmp_path, bundle=small_release, clock=lambda: NOW + 300 * DAY_S)
    late.feedback("item-2", "like")
    assert late.recommend().history == 2
    later = Device(tmp_path, bundle=small_release, clock=lambda: NOW + 400 * DAY_S)
    answer = later.recommend()
    assert (answer.history, answer.faults, len(answer.items)) == (1, (), 10)


def test_a_locked_log_keeps_its_old_events_and_says_so(tmp_path, small_release, monkeypatch):
    monkeypatch.setattr("pocketrec_edge.events.log._BUSY_MS", 50)
    log = EventLog(tmp_path / "events.sqlite")
    log.append("item-1", "like", ts=0)
    log.close()
    other = sqlite3.connect(tmp_path / "events.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    phone = Device(tmp_path, bundle=small_release)
    assert "old events could not be removed" in phone.status().faults[0].text
    answer = phone.recommend()
    assert (answer.history, len(answer.items)) == (1, 10)
    other.execute("ROLLBACK")
    phone.close()
    assert Device(tmp_path).status().plain()["removed"] == {"age": 1}


def test_impressions_of_a_user_who_said_no_are_never_lost_but_removed(tmp_path):
    log = EventLog(tmp_path / "e.sqlite")
    log.set_consent(False)
    log.append_many([made(n, IMPRESSION, ts=0) for n in range(3)])
    rows = [each for each in log.export_rows() if isinstance(each, tuple)]
    assert {uploaded for _, uploaded in rows} == {WITHHELD}
    assert enforce(log._connection, LIMITS, NOW) == 3
    assert (log.status().removed, log.status().lost) == ({"age": 3}, {})


@pytest.mark.parametrize(
    "wrong", [{"days": 0}, {"max_bytes": 0}, {"every": 0}, {"hard_days": 9}, {"hard_max_bytes": 9}]
)
def test_limits_that_would_empty_the_log_are_refused(wrong):
    with pytest.raises(ValueError, match="Retention"):
        Retention(**wrong)
