"""What leaves a phone, counted by a server that serves a repository and notes every upload."""

import gzip
import json
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pocketrec.cli import main
from pocketrec_edge.device import Device
from pocketrec_edge.errors import EventLogError, SyncError
from pocketrec_edge.events import release_outcomes as outcomes
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync.client import sync
from pocketrec_edge.sync.http import Network, Reply
from pocketrec_edge.sync.sync_log import SyncLog
from pocketrec_edge.sync.uploads.outcomes import send_outcomes


class Server(ThreadingHTTPServer):
    """`uploads` and `outcomes` are the bodies it got; without `outcomes` it refuses them."""

    def __init__(self, folder) -> None:
        super().__init__(("127.0.0.1", 0), partial(Recorder, directory=folder))
        self.uploads: list[dict[str, Any]] = []
        self.outcomes: list[dict[str, Any]] | None = []
        self.on_upload: Callable[[], object] = lambda: None
        self.url = f"http://127.0.0.1:{self.server_port}"


class Recorder(SimpleHTTPRequestHandler):
    """GET: files of the repository. POST: noted, and answered as the server's notes say."""

    server: Server

    def log_message(self, *_):
        pass

    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/outcomes":
            if self.server.outcomes is None:
                self.send_error(503)
                return
            body = json.loads(data)
            self.server.outcomes.append(body)
            ids = [outcome["id"] for outcome in body["outcomes"]]
            self.answer({"accepted": ids, "rejected": []})
            return
        body = json.loads(gzip.decompress(data))
        self.server.uploads.append(body)
        self.server.on_upload()
        count = len(body["events"])
        self.answer({"batch": body["batch"], "accepted": count, "rejected": []})

    def answer(self, answer):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())


@pytest.fixture
def recorder(published):
    """The server; `uploads` and `outcomes` are the bodies it got."""
    server = Server(published[0])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def go(published, recorder, tmp_path):
    """Return a function that syncs the phone."""
    root = published[0] / "metadata" / "1.root.json"
    return partial(sync, tmp_path / "phone", recorder.url, lambda bundle: None, root_path=root)


@pytest.fixture
def log(tmp_path):
    return EventLog(tmp_path / "phone" / "events.sqlite")


def test_nothing_leaves_a_phone_whose_user_said_nothing_or_no(recorder, go, log, tmp_path):
    log.append("item-1", "like", ts=1)
    assert go().events_sent == 0
    log.set_consent(False)
    assert go().events_sent == 0
    assert recorder.uploads == []
    assert not (tmp_path / "phone" / "install_id").exists()


def test_outcomes_go_up_with_consent_only_without_an_id_of_the_device_and_once(
    published, recorder, go, log, tmp_path
):
    assert go().outcomes_sent == 0
    log.set_consent(True)
    assert go().outcomes_sent == 0  # it came about before the user agreed: it is never sent
    log.set_consent(False)
    outcomes.record(PhoneHome(tmp_path / "phone"), "0b" * 32, outcomes.REVERTED, 4)
    log.set_consent(True)
    assert go().outcomes_sent == 0
    assert recorder.outcomes == []
    manifest = Store(tmp_path / "phone" / "store").active()[0]
    assert manifest is not None
    outcomes.record(PhoneHome(tmp_path / "phone"), manifest, outcomes.REVERTED, 5)
    assert (go().outcomes_sent, go().outcomes_sent) == (1, 0)
    (body,) = recorder.outcomes
    (told,) = body["outcomes"]
    assert body == {"consent": True, "channel": "stable", "outcomes": [told]}
    assert told == {"id": told["id"], "manifest": manifest, "outcome": "reverted"}


@pytest.mark.parametrize(
    "answer", [b'{"accepted": 1, "rejected": []}', b"[" * 500_000, b"{}", b"\xff", b""]
)
def test_an_answer_that_is_none_leaves_outcomes_where_they_are(tmp_path, log, answer):
    class Odd(Network):
        def post(self, url, headers, body):
            return Reply(200, {}, answer)

    log.set_consent(True)
    outcomes.record(PhoneHome(tmp_path / "phone"), "0a" * 32, outcomes.REVERTED, 5)
    with SyncLog(PhoneHome(tmp_path / "phone"), None) as opened:
        assert send_outcomes(opened, "http://odd", "stable", Odd()) == 0
    assert len(outcomes.pending(PhoneHome(tmp_path / "phone"))) == 1


def test_outcomes_wait_for_a_server_that_answers(recorder, go, log, tmp_path):
    log.set_consent(True)
    go()
    outcomes.record(PhoneHome(tmp_path / "phone"), "0a" * 32, outcomes.REVERTED, 5)
    recorder.outcomes = None  # it fails
    assert go().outcomes_sent == 0
    recorder.outcomes = []
    assert go().outcomes_sent == 1


def test_consent_given_once_holds_until_it_is_withdrawn(recorder, go, log):
    log.set_consent(True, "v1")
    log.append("item-1", "like", ts=1)
    assert (go().events_sent, go().events_sent) == (1, 0)
    log.append("item-2", "like", ts=2)
    assert go().events_sent == 1
    assert [[e["item_id"] for e in body["events"]] for body in recorder.uploads] == [
        ["item-1"],
        ["item-2"],
    ]
    log.append("item-3", "like", ts=3)
    log.set_consent(False)
    log.set_consent(True, "v2")
    assert go().events_sent == 0
    assert len(recorder.uploads) == 2


def test_the_flag_of_a_sync_records_the_grant_and_keeps_agreed_terms(go, log):
    assert go(consent=True).events_sent == 0
    assert (log.consent().state, log.consent().terms) == ("granted", None)
    log.set_consent(True, "v1")
    go(consent=True)
    assert log.consent().terms == "v1"


def test_a_withdrawal_during_a_sync_stops_it_after_the_batch(
    recorder, go, log, tmp_path, monkeypatch
):
    monkeypatch.setattr("pocketrec_edge.sync.uploads.events.BATCH", 2)
    log.set_consent(True)
    for n in range(7):
        log.append(f"item-{n}", "like", ts=n)

    def withdraw():
        phone = EventLog(tmp_path / "phone" / "events.sqlite")
        phone.set_consent(False)
        phone.close()

    recorder.on_upload = withdraw
    assert go().events_sent == 2
    assert len(recorder.uploads) == 1
    uploaded = [each[1] for each in log.export_rows() if isinstance(each, tuple)]
    assert uploaded == [1, 1, 2, 2, 2, 2, 2]


def test_a_log_that_cannot_be_read_sends_nothing_and_the_release_still_comes(
    recorder, go, tmp_path
):
    path = tmp_path / "phone" / "events.sqlite"
    path.parent.mkdir()
    path.write_bytes(b"x" * 5000)
    report = go()
    assert (report.status, report.events_sent) == ("updated", 0)
    assert "not a database" in report.events_fault
    with pytest.raises(EventLogError, match="not a database"):
        go(consent=True)
    assert recorder.uploads == []


def test_a_grant_is_kept_though_the_server_is_gone(published, log, tmp_path):
    root = published[0] / "metadata" / "1.root.json"
    with pytest.raises(SyncError):
        sync(
            tmp_path / "phone",
            "http://127.0.0.1:9",
            lambda bundle: None,
            root_path=root,
            consent=True,
        )
    assert log.consent().state == "granted"


def test_a_sync_opens_the_event_log_once(recorder, go, log, tmp_path, monkeypatch):
    phone = PhoneHome(tmp_path / "phone")
    log.set_consent(True)
    go()
    log.append("item-1", "like", ts=1)
    outcomes.record(phone, "0a" * 32, outcomes.REVERTED, 5)
    opened = []
    of_log = EventLog._open

    def count(self):
        opened.append(self)
        of_log(self)

    monkeypatch.setattr(EventLog, "_open", count)
    report = go(consent=True)  # consent, outcomes and events: three users of the log
    assert (report.outcomes_sent, report.events_sent) == (1, 1)
    assert len(opened) == 1
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0]._connection.execute("SELECT 1")


def test_a_sync_of_a_phone_without_a_log_makes_none(recorder, go, tmp_path):
    assert go().events_fault is None
    assert not (tmp_path / "phone" / "events.sqlite").exists()


def test_a_log_that_cannot_be_opened_is_tried_once(recorder, go, tmp_path, monkeypatch):
    phone = PhoneHome(tmp_path / "phone")
    phone.make()
    phone.event_log.write_bytes(b"x" * 5000)
    tries = []
    of_log = EventLog._open

    def noted(self):
        tries.append(self)
        of_log(self)

    monkeypatch.setattr(EventLog, "_open", noted)
    assert "not a database" in go().events_fault
    assert len(tries) == 1


def test_by_the_commands(recorder, published, tmp_path, runner):
    home = tmp_path / "phone"
    Device(home).feedback("item-1", "like")
    words = ["device", "sync", "--home", str(home), "--server", recorder.url, "--json"]
    words += ["--root", str(published[0] / "metadata" / "1.root.json")]

    def sent():
        done = runner.invoke(main, words)
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)["events_sent"]

    assert sent() == 0
    runner.invoke(main, ["device", "consent", "--home", str(home), "--grant"])
    assert (sent(), sent()) == (1, 0)
    Device(home).feedback("item-2", "like")
    runner.invoke(main, ["device", "consent", "--home", str(home), "--withdraw"])
    assert sent() == 0
    assert len(recorder.uploads) == 1
