"""From a slate to the exported tables over real HTTP: new and old phones, new and old servers."""

import json
import re
import sqlite3
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import func, select

from benchmarks.support.impression_bytes import events_before
from pocketrec_bundle.units import DAY_S
from pocketrec_edge.answers import Sponsorship
from pocketrec_edge.device import Device
from pocketrec_edge.events.event import INTERACTION
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.slate_events import Exposure, exposure_event
from pocketrec_edge.faults import Fault, FaultCode
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync.http import Network
from pocketrec_edge.sync.sync_log import SyncLog
from pocketrec_edge.sync.transfer import Retry
from pocketrec_edge.sync.uploads.events import send_events
from pocketrec_server.events import validation
from pocketrec_server.events.export import export_events
from pocketrec_server.events.export_tables import TABLES
from pocketrec_server.storage.tables import EVENT

NOW = 1_780_000_000
WITHOUT_SESSIONS = "DROP TABLE app_session; PRAGMA user_version = 3"


@pytest.fixture
def old_server(monkeypatch):
    """Let the server know the kinds of version 0.1 only."""
    monkeypatch.setattr(validation, "KINDS", ("interaction", "impression"))


class Clock:
    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@contextmanager
def phone(folder, release, clock):
    with Device(folder, bundle=release, engine="onnx", clock=clock) as device:
        if device.status().plain()["consent"]["state"] != "granted":
            device.set_consent(True, "terms")
        yield device


def upload(folder, url):
    with SyncLog(PhoneHome(folder), None) as opened:
        return send_events(opened, url, Network(), Retry(tries=1))


def tables(engine, out):
    """Export, and return the rows of each table."""
    export_events(engine, out, raw_ids=True)
    found = {}
    for table in TABLES:
        parts = sorted((out / table.folder).rglob("*.parquet"))
        read = [pq.read_table(part, partitioning=None) for part in parts]
        assert all(part.schema.equals(table.schema()) for part in read)
        found[table.folder] = [row for part in read for row in part.to_pylist()]
    return found


def test_a_tap_leads_to_its_place_its_release_and_its_session(
    tiny_release, tmp_path, url, database
):
    clock = Clock(NOW)
    with phone(tmp_path / "phone", tiny_release, clock) as device:
        assert device.bundle is not None
        release = device.bundle.sha256
        first = device.recommend(3)
        unseen = device.recommend(3, log_impressions=False)
        assert unseen.request is None and first.request is not None
        device.feedback(first.items[1].item_id, "like", 12.5, request=first.request, currency="GBP")
        device.feedback(first.items[2].item_id, "like", request=first.request, place=7)
        device.feedback("item 40", "like", request=first.request)  # not in that slate
        device.feedback(first.items[0].item_id, "like")
        clock.now += 1800
        same = device.recommend(2, page=1)
        clock.now += 10
        paged = device.recommend(2, page=2, session=same.session)
        clock.now += 1801
        second = device.recommend(2)
        log = device._user.log.opened()
        exposure = Exposure(experiment="blend-2", arm="control", salt="0a1b2c3d4e5f", forced=True)
        log.append_many([exposure_event(exposure, clock.now)])
    sent = upload(tmp_path / "phone", url)
    assert (sent.sent, sent.rejected, sent.fault) == (4 + 4 + 3 + 3 + 3 + 1, 0, None)
    found = tables(database, tmp_path / "out")

    requests = {row["request_id"]: row for row in found["requests"]}
    assert list(requests) == [each.request for each in (first, same, paged, second)]
    one = requests[first.request]
    assert (one["release"], one["scene"], one["source"]) == (release[:16], "home", "model")
    assert (one["k"], one["page"], one["paging"]) == (3, None, None)
    assert one["ms"] == round(first.stage_ms["total"], 1)
    assert (one["arms"], one["faults"], one["context"]) == ([], [], "{}")
    two = requests[paged.request]
    assert (two["k"], two["page"], two["paging"]) == (2, 2, same.session)

    shown = [row for row in found["impressions"] if row["request_id"] == first.request]
    shown.sort(key=lambda row: row["place"])
    assert [(row["place"], row["item_id"]) for row in shown] == [
        (place, item.item_id) for place, item in enumerate(first.items, 1)
    ]
    assert [row["score"] for row in shown] == pytest.approx([i.score for i in first.items], 1e-6)
    assert {row["propensity"] for row in shown} == {1.0}
    assert {(row["source"], row["page"], row["context"]) for row in shown} == {(None, None, "{}")}

    taps = {row["item_id"]: row for row in found["interactions"]}
    bought = taps[first.items[1].item_id]
    assert (bought["request_id"], bought["place"]) == (first.request, 2)
    assert (bought["value"], bought["currency"], bought["context"]) == (12.5, "GBP", "{}")
    assert taps[first.items[2].item_id]["place"] == 7  # as the app said
    assert (taps["item 40"]["request_id"], taps["item 40"]["place"]) == (first.request, None)
    direct = taps[first.items[0].item_id]
    assert (direct["request_id"], direct["place"], direct["currency"]) == (None, None, None)

    sessions = [requests[each.request]["session_id"] for each in (first, same, paged, second)]
    assert sessions[0] == sessions[1] == sessions[2] != sessions[3]
    assert {row["session_id"] for row in found["interactions"]} == {sessions[0]}
    (exposed,) = found["exposures"]
    assert (exposed["experiment"], exposed["arm"]) == ("blend-2", "control")
    assert (exposed["salt"], exposed["forced"], exposed["ts"]) == ("0a1b2c3d", True, clock.now)


def test_arms_and_faults_are_in_the_request(tiny_release, tmp_path, url, database):
    with phone(tmp_path / "phone", tiny_release, Clock(NOW)) as device:
        answer = device.recommend(2, scene="similar", item_id="no such item")
        assert [fault.code for fault in answer.faults] == ["unknown_item"]
        log = device._user.log
        exposure = Exposure(experiment="blend-2", arm="b", salt="ff" * 16)
        again = replace(answer, request="R" * 22, arms={"look-1": "control", "blend-2": "b"})
        log.add_slate(again, NOW, scene="home", release="ab" * 32, exposures=[exposure])
    upload(tmp_path / "phone", url)
    found = tables(database, tmp_path / "out")
    row = next(row for row in found["requests"] if row["request_id"] == "R" * 22)
    assert row["arms"] == [("blend-2", "b"), ("look-1", "control")]
    assert (row["faults"], row["release"]) == (["unknown_item"], "ab" * 8)
    assert {row["scene"] for row in found["requests"]} == {"similar", "home"}
    assert [row["forced"] for row in found["exposures"]] == [False]


def test_an_old_server_rejects_new_kinds_once_and_keeps_the_rest(
    tiny_release, tmp_path, url, database, old_server
):
    with phone(tmp_path / "phone", tiny_release, Clock(NOW)) as device:
        answer = device.recommend(4)
        device.feedback(answer.items[0].item_id, "like", request=answer.request)
        sent = upload(tmp_path / "phone", url)
        assert (sent.sent, sent.rejected, sent.fault) == (5, 1, None)
        again = upload(tmp_path / "phone", url)
        assert (again.sent, again.rejected, again.bytes_up) == (0, 0, 0)
        status = device.status().plain()
        assert (status["pending"], status["events"], sum(status["rejected"].values())) == (0, 6, 1)
        device.export_data(tmp_path / "copy.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "copy.jsonl").read_text().splitlines()]
    fates = {row["kind"]: row["uploaded"] for row in rows if row["type"] == "event"}
    assert fates == {"request": "rejected", "impression": "yes", "interaction": "yes"}
    found = tables(database, tmp_path / "out")  # the id of an impression still names its request
    assert {row["request_id"] for row in found["impressions"]} == {answer.request}
    assert found["requests"] == [] and found["interactions"][0]["place"] == 1


def test_what_an_old_phone_logged_is_uploaded_and_mapped(tiny_release, tmp_path, url, database):
    """A log of schema 3, with a batch whose answer never came; then the app is updated."""
    path = tmp_path / "phone" / "events.sqlite"
    with phone(tmp_path / "slates", tiny_release, Clock(NOW)) as device:
        slate = device.recommend(3, page=1)
    log = EventLog(path)
    log.set_consent(True)
    log.append_many(events_before(slate, NOW))
    log.append("item 1", "like", ts=NOW, context={"clock_utc": NOW - 9, "room": "kitchen"})
    batch = log.next_batch(500)
    assert batch is not None
    log.close()
    old = sqlite3.connect(path, isolation_level=None)
    old.executescript(WITHOUT_SESSIONS)
    old.close()

    with phone(path.parent, tiny_release, Clock(NOW + 60)) as device:
        answer = device.recommend(1)
        assert answer.history == 1
    sent = upload(path.parent, url)
    assert (sent.sent, sent.rejected, sent.fault) == (4 + 2, 0, None)
    with database.connect() as connection:
        stored = set(connection.scalars(select(EVENT.c.id)))
    assert stored == {e.id for e in batch.events} | {answer.request, f"{answer.request}.1"}
    found = tables(database, tmp_path / "out")
    before = [row for row in found["impressions"] if row["request_id"] is None]
    assert sorted(row["place"] for row in before) == [1, 2, 3]
    assert {(row["source"], row["page"], row["paging"]) for row in before} == {
        ("model", 1, slate.session)
    }
    assert {row["context"] for row in before} == {"{}"}
    (liked,) = found["interactions"]
    assert liked["context"] == '{"room":"kitchen"}'
    assert (liked["request_id"], liked["session_id"]) == (None, None)
    assert (liked["ts"], liked["timestamp"]) == (NOW - 9, NOW)


@pytest.mark.parametrize("days", [-400, -3, 3, 400])
def test_a_clock_that_is_off_by_days_moves_a_slate_and_its_taps_together(
    tiny_release, tmp_path, url, database, days
):
    """The day of an event is that of the phone's clock; requests attribute whatever it says."""
    clock = Clock(NOW)
    with phone(tmp_path / "phone", tiny_release, clock) as device:
        right = device.recommend(2)
        device.feedback(right.items[0].item_id, "like", request=right.request)
        clock.now = NOW + days * DAY_S
        off = device.recommend(2)
        device.feedback(off.items[0].item_id, "like", request=off.request)
        clock.now = NOW + 60
        device.feedback(off.items[1].item_id, "like", request=off.request)
    assert upload(tmp_path / "phone", url).sent == 2 * 3 + 3
    found = tables(database, tmp_path / "out")
    requests = {row["request_id"]: row for row in found["requests"]}
    for row in found["impressions"]:
        assert row["ts"] == requests[row["request_id"]]["ts"]
    assert requests[off.request]["ts"] == NOW + days * DAY_S
    # A jump of more than a pause in either direction ends the session.
    assert len({row["session_id"] for row in found["requests"]}) == 2
    taps = [row for row in found["interactions"] if row["request_id"] == off.request]
    assert {row["item_id"] for row in taps} == {item.item_id for item in off.items}
    during, after = sorted(taps, key=lambda row: row["item_id"] == off.items[1].item_id)
    assert (during["ts"], after["ts"]) == (NOW + days * DAY_S, NOW + 60)
    # In a history none is before an earlier interaction.
    assert during["timestamp"] == NOW + max(days, 0) * DAY_S
    assert after["timestamp"] == max(during["timestamp"], NOW + 60)
    assert all(json.loads(row["context"]) == {} for row in taps)


@pytest.mark.parametrize("clock_utc", [-1, NOW + 1, 1.5, "now", True])
def test_a_clock_that_no_device_sends_stays_in_the_context(
    tiny_release, tmp_path, url, database, clock_utc
):
    with phone(tmp_path / "phone", tiny_release, Clock(NOW)) as device:
        context = {"clock_utc": clock_utc}
        device._user.log.opened().append("item 1", "like", ts=NOW, context=context)
    assert upload(tmp_path / "phone", url).sent == 1
    (row,) = tables(database, tmp_path / "out")["interactions"]
    assert (row["ts"], json.loads(row["context"])) == (NOW, context)


def test_double_and_late_uploads_count_once_on_their_own_day(tiny_release, tmp_path, url, database):
    """A request that arrives after its impressions, twice, joins them at the next export."""
    clock = Clock(NOW)
    out = tmp_path / "out"
    with phone(tmp_path / "phone", tiny_release, clock) as device:
        answer = device.recommend(2)
        device.feedback(answer.items[0].item_id, "like", request=answer.request)
    log = EventLog(tmp_path / "phone" / "events.sqlite")
    batch = log.next_batch(500)
    assert batch is not None and len(batch.events) == 4
    log.close()
    sql = sqlite3.connect(tmp_path / "phone" / "events.sqlite", isolation_level=None)
    sql.execute("DELETE FROM batch")
    sql.execute("UPDATE event SET uploaded = 2 WHERE kind = 'request'")  # sent 40 days later
    assert upload(tmp_path / "phone", url).sent == 3
    found = tables(database, out)
    assert found["requests"] == [] and len(found["impressions"]) == 2
    sql.execute("UPDATE event SET uploaded = 0")  # the acknowledgement was lost
    clock.now += 40 * DAY_S
    assert upload(tmp_path / "phone", url).sent == 4
    sql.execute("UPDATE event SET uploaded = 0")
    assert upload(tmp_path / "phone", url).sent == 4
    sql.close()
    with database.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(EVENT)) == 4
    found = tables(database, out)
    assert [row["request_id"] for row in found["requests"]] == [answer.request]
    assert {row["ts"] for rows in found.values() for row in rows} == {NOW}
    assert len([*out.rglob("*.parquet")]) == 3  # all of one day


def documented_keys():
    """Context keys by kind of event, of the table "What leaves the phone" in the guide."""
    text = (Path(__file__).parents[3] / "docs" / "device" / "privacy.md").read_text()
    section = text.partition("\n## What leaves the phone\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", section, re.MULTILINE)
    return {kind: {*re.findall(r"`(\w+)`", keys)} - {"sync", "feedback"} for kind, keys in rows}


def test_what_leaves_is_what_the_guide_lists(small_release, tmp_path, url, database):
    """Every key of every body, of a phone that uses all that has keys."""
    clock = Clock(NOW)
    with phone(tmp_path / "phone", small_release, clock) as device:
        first = device.recommend(3, page=1)
        sponsor = Sponsorship(campaign="spring", label="Ad")
        items = (replace(first.items[0], sponsored=sponsor, team="b"), *first.items[1:])
        full = replace(first, items=items, request="R" * 22, arms={"blend-2": "b"})
        full = replace(full, faults=(Fault(FaultCode.DEADLINE, "too late"),))
        exposure = Exposure(
            experiment="blend-2", arm="b", salt="ff" * 16, forced=True, app_version="1.2"
        )
        exposure = replace(exposure, device_class="low", again=True)
        device._user.log.add_slate(full, NOW, scene="home", release="ab" * 32, exposures=[exposure])
        device.feedback(items[1].item_id, "like", 2.0, request="R" * 22, currency="GBP")
        clock.now -= 5
        device.feedback(items[1].item_id, "like", request="R" * 22)
    assert upload(tmp_path / "phone", url).rejected == 0
    with database.connect() as connection:
        rows = connection.execute(select(EVENT.c.kind, EVENT.c.context)).all()
    sent: dict[str, set[str]] = {}
    for kind, context in rows:
        sent.setdefault(kind, set()).update(json.loads(context))
    assert sent == documented_keys()


def test_a_withheld_request_never_leaves(tiny_release, tmp_path, url, database):
    with phone(tmp_path / "phone", tiny_release, Clock(NOW)) as device:
        device.recommend(2)
        device.set_consent(False)
        withdrawn = device.recommend(2)
        device.set_consent(True)
        answer = device.recommend(2)
        tap = device.feedback(withdrawn.items[0].item_id, "like", request=withdrawn.request)
    assert upload(tmp_path / "phone", url).sent == 3 + 1
    found = tables(database, tmp_path / "out")
    assert [row["request_id"] for row in found["requests"]] == [answer.request]
    assert [row["request_id"] for row in found["interactions"]] == [withdrawn.request]
    assert tap


def test_erasure_takes_all_kinds_of_an_install(tiny_release, tmp_path, url, database):
    with phone(tmp_path / "phone", tiny_release, Clock(NOW)) as device:
        answer = device.recommend(2)
        device.feedback(answer.items[0].item_id, "like", request=answer.request)
        exposure = Exposure(experiment="blend-2", arm="b", salt="ff" * 16)
        device._user.log.opened().append_many([exposure_event(exposure, NOW)])
        assert upload(tmp_path / "phone", url).sent == 5
        assert [len(rows) for rows in tables(database, tmp_path / "out").values()] == [1, 2, 1, 1]
        known = device.erase()
        reply = Network().exchange("DELETE", f"{url}/v1/installs/{known.install_id}", {})
    assert json.loads(reply.data) == {"erased": 5}
    assert not any(tables(database, tmp_path / "out").values())
    log = EventLog(tmp_path / "phone" / "events.sqlite")
    assert (log.status().events, log.place_of(answer.request, answer.items[0].item_id)) == (0, None)
    log.close()
    with phone(tmp_path / "phone", tiny_release, Clock(NOW)) as device:
        device.feedback("item 1", "like", request=answer.request)  # an id from before the erasure
        (event,) = [e for e in device._user.log.opened().pending(9) if e.kind == INTERACTION]
        assert event.context["request"] == answer.request and "place" not in event.context
