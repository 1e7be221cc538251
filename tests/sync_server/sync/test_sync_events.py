"""The device's uploads against the real routes over loopback, with every kind of bad answer."""

import gzip
import io
import json
import math
import sqlite3
import subprocess
import sys
import threading
import time
from functools import partial

import pyarrow.parquet as pq
import pytest
from flask import Flask
from prometheus_client import CollectorRegistry
from sqlalchemy import event, func, select, update
from werkzeug.serving import make_server

from pocketrec.cli import main
from pocketrec_bundle.units import DAY_S
from pocketrec_edge.device import Device
from pocketrec_edge.errors import SyncError
from pocketrec_edge.events.install_id import install_id
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.outbox import MAX_WAIT_S
from pocketrec_edge.events.privacy import export_data
from pocketrec_edge.events.retention import Retention
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync.client import sync
from pocketrec_edge.sync.http import Network
from pocketrec_edge.sync.sync_log import SyncLog
from pocketrec_edge.sync.transfer import Retry
from pocketrec_edge.sync.uploads.events import erase_on_server, send_events
from pocketrec_server.events.rate_limit import LIMITS, Limits
from pocketrec_server.events.routes import event_routes
from pocketrec_server.storage.database import open_database, writing
from pocketrec_server.storage.tables import EVENT, EVENT_QUOTA, UPLOAD

ONCE = Retry(tries=1)


class Server:
    """The event routes behind a listener; `answers` controls the next responses.

    A response is sent (None), dropped after it was made ("lost"), or replaced (status, body,
    headers) without calling the routes.
    """

    def __init__(self, engine, limits=LIMITS):
        app = Flask("test")
        app.register_blueprint(event_routes(engine, CollectorRegistry(), limits))
        self.engine, self.answers, self.bodies, self._app = engine, [], [], app
        self._server = make_server("127.0.0.1", 0, self._respond, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def _respond(self, environ, start):
        fate = self.answers.pop(0) if self.answers else None
        if environ["REQUEST_METHOD"] == "POST":
            self.bodies.append(self._read(environ))
        if fate is None:
            return self._app(environ, start)
        if fate == "lost":
            list(self._app(environ, lambda *_: lambda _data: None))
            start("200 OK", [("Content-Length", "10000")])
            return [b"{"]
        status, body, headers = fate
        start(f"{status} X", [("Content-Length", str(len(body))), *headers.items()])
        return [body]

    def _read(self, environ):
        data = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        environ["wsgi.input"] = io.BytesIO(data)
        return json.loads(gzip.decompress(data))

    def stored(self, table=EVENT):
        with self.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(table))

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def serve(tmp_path):
    """Return a function that starts a server over SQLite, and ends it after the test."""
    servers = []

    def start(limits=LIMITS, options=""):
        engine = open_database(f"sqlite:///{tmp_path / 'server.sqlite'}{options}")
        servers.append(Server(engine, limits))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "phone"


@pytest.fixture
def log(home):
    """A log whose user agreed, with three events."""
    log = EventLog(home / "events.sqlite")
    log.set_consent(True)
    for n in range(3):
        log.append(f"item-{n}", "like", ts=n)
    yield log
    log.close()


@pytest.fixture
def send(home):
    """Return a function that sends what waits to a server."""
    return lambda server, retry=ONCE: _send(home, server.url, retry)


def _send(home, url, retry=ONCE):
    with SyncLog(PhoneHome(home), None) as opened:
        return send_events(opened, url, Network(), retry)


def test_a_batch_whose_answer_was_lost_comes_again_under_its_id(serve, log, send):
    server = serve()
    server.answers = ["lost"]
    lost = send(server)
    assert (lost.sent, log.status().pending, server.stored()) == (0, 3, 3)
    assert "kept" in lost.fault
    log.append("later", "like", ts=9)
    done = send(server)
    assert (done.sent, done.fault, log.status().pending) == (4, None, 0)
    ids = [body["batch"] for body in server.bodies]
    assert ids[0] == ids[1] != ids[2]
    assert server.bodies[0] == server.bodies[1]
    assert (server.stored(), server.stored(UPLOAD)) == (4, 2)


def test_within_a_sync_a_lost_answer_is_tried_again(serve, log, send):
    server = serve()
    server.answers = ["lost", (500, b"", {}), None]
    done = send(server, Retry(tries=3, sleep=lambda _: None))
    assert (done.sent, done.fault) == (3, None)
    assert len({body["batch"] for body in server.bodies}) == 1
    assert server.stored() == 3


def test_between_two_tries_a_withdrawal_holds(serve, log, send):
    server = serve()
    server.answers = [(500, b"", {}), None]
    done = send(server, Retry(tries=3, sleep=lambda _: log.set_consent(False)))
    assert (done.sent, len(server.bodies), server.stored()) == (0, 1, 0)
    assert "no longer agrees" in done.fault


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_event_that_is_no_json_does_not_hold_up_the_others(serve, log, send, value):
    log.append("odd", "like", value=value, ts=4)
    log.append("half", "like", ts=4, context={"said": "\ud800"})
    server = serve()
    done = send(server)
    assert (done.sent, done.fault, log.status().pending) == (3, None, 0)
    assert log.status().rejected == {"it is no JSON": 2}


@pytest.mark.parametrize("data", [b"", bytes(32), b"\xff" * 32])
def test_a_damaged_install_id_is_made_anew(serve, log, home, send, data):
    (home / "install_id").write_bytes(data)
    assert send(serve()).sent == 3
    assert len(install_id(PhoneHome(home))) == 32


def test_a_batch_that_lost_an_event_meanwhile_is_another_batch(serve, log, home, send):
    server = serve()
    server.answers = ["lost"]
    send(server)
    now = 30 * DAY_S
    log.append("new", "like", ts=now)
    log.close()
    limits = Retention(days=1, hard_days=2)
    EventLog(home / "events.sqlite", limits=limits, clock=lambda: now).close()
    done = send(server)
    assert (done.sent, done.fault) == (1, None)
    assert server.bodies[0]["batch"] != server.bodies[1]["batch"]


def test_what_is_withdrawn_after_a_lost_answer_is_not_sent_again(serve, log, send):
    server = serve()
    server.answers = ["lost"]
    send(server)
    log.set_consent(False)
    log.set_consent(True)
    assert send(server).sent == 0
    log.append("new", "like", ts=9)
    assert send(server).sent == 1
    assert [len(body["events"]) for body in server.bodies] == [3, 1]


def test_rejected_events_are_told_and_not_sent_again(serve, log, send, home, tmp_path, runner):
    server = serve()
    log.append("x" * 300, "like", ts=9)
    log.append("y" * 300, "like", ts=10)
    log.append("z", "like", ts=11, context={"long": "z" * 5000})
    done = send(server)
    assert (done.sent, done.rejected, done.fault) == (3, 3, None)
    assert send(server).sent == len(server.bodies) - 1 == 0
    reasons = {
        "item_id must be a text of 1..256 characters": 2,
        "context must be an object of at most 4096 bytes": 1,
    }
    assert log.status().rejected == reasons
    assert (log.status().pending, log.status().events) == (0, 6)
    export_data(PhoneHome(home), tmp_path / "copy.jsonl", now=0)
    lines = [json.loads(line) for line in (tmp_path / "copy.jsonl").read_text().splitlines()]
    fates = [line["uploaded"] for line in lines if line["type"] == "event"]
    assert sorted(fates) == ["rejected"] * 3 + ["yes"] * 3
    shown = runner.invoke(main, ["device", "status", "--home", str(home), "--json"])
    assert json.loads(shown.stdout)["rejected"] == reasons
    assert (
        "item_id must be" in runner.invoke(main, ["device", "status", "--home", str(home)]).stdout
    )


def test_a_server_that_wants_to_wait_is_left_alone_until_then(serve, log, home, send):
    server = serve(Limits(per_minute=1))
    assert send(server).sent == 3
    log.append("later", "like", ts=9)
    refused = send(server)
    assert refused.sent == 0
    assert "answered with 429: too many uploads" in refused.fault
    assert "wants no events before" in send(server).fault
    assert len(server.bodies) == 2
    after = log.status().upload_after
    assert 0 < after - time.time() <= 60
    later = EventLog(home / "events.sqlite", clock=lambda: after)
    assert later.status().upload_after is None
    before = EventLog(home / "events.sqlite", clock=lambda: time.time() - 10 * 365 * DAY_S)
    assert before.status().upload_after is None  # a clock set back does not stop uploads
    assert Device(home).status().plain()["upload_after"] == after


@pytest.mark.parametrize("limits", [Limits(network_hour_events=4), Limits(all_day_events=4)])
def test_a_phone_keeps_what_its_network_or_all_may_not_send_yet(serve, log, home, send, limits):
    server = serve(limits)
    assert send(server).sent == 3
    for n in range(2):
        log.append("later", "like", ts=n)
    assert send(server).sent == 0
    assert log.status().pending == 2
    after = log.status().upload_after
    assert 0 < after - time.time() <= DAY_S
    with server.engine.begin() as connection:  # the hour, or the day, is over
        connection.execute(update(EVENT_QUOTA).values(ends_utc=1))
    log.wait(0)
    assert send(server).sent == 2
    assert (log.status().pending, server.stored()) == (0, 5)


@pytest.mark.parametrize("asked", ["999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_server_cannot_stop_uploads_for_more_than_a_day(serve, log, send, asked):
    server = serve()
    server.answers = [(503, b"", {"Retry-After": asked})]
    send(server)
    assert 0 < log.status().upload_after - time.time() <= MAX_WAIT_S


ODD = [
    b"",
    b"[]",
    b"null",
    b'{"batch": "other", "accepted": 3, "rejected": []}',
    b'{"batch": BATCH, "accepted": 2, "rejected": []}',
    b'{"batch": BATCH, "accepted": 2, "rejected": [{"place": 3, "reason": "x"}]}',
    b'{"batch": BATCH, "accepted": 2, "rejected": [{"place": true, "reason": "x"}]}',
    b'{"batch": BATCH, "accepted": 2, "rejected": [{"place": -1, "reason": "x"}]}',
    b'{"batch": BATCH, "accepted": 2, "rejected": [{"place": [], "reason": "x"}]}',
    b'{"batch": BATCH, "accepted": 2, "rejected": [{"place": 0, "reason": 5}]}',
    b'{"batch": BATCH, "accepted": "2", "rejected": [{"place": 0, "reason": "x"}]}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", ODD, ids=range(len(ODD)))
def test_an_answer_that_is_none_to_the_batch_marks_nothing(serve, log, send, body):
    server = serve()
    batch = log.next_batch(500)
    server.answers = [(200, body.replace(b"BATCH", json.dumps(batch.id).encode()), {})]
    assert "kept" in send(server).fault
    assert (log.status().pending, log.status().rejected) == (3, {})
    assert send(server).sent == 3


@pytest.mark.parametrize("status", [302, 400, 403, 404, 413, 415])
def test_a_refused_batch_is_kept_and_told(serve, log, send, status):
    server = serve()
    server.answers = [(status, b'{"error": "no such thing"}', {})]
    assert f"{status}: no such thing" in send(server).fault
    assert send(server).sent == 3


def test_a_conflict_gives_the_batch_another_id_once(serve, log, send):
    server = serve()
    server.answers = [(409, b"", {})] * 2
    assert "409" in send(server).fault
    assert send(server).sent == 3
    assert len({body["batch"] for body in server.bodies}) == 2


def test_one_event_too_large_for_a_server_does_not_hold_up_the_others(serve, log, send):
    server = serve()
    server.answers = [None, (413, b'{"error": "too much"}', {})]
    log.append("large", "like", ts=7, context={"x": "y" * (600 << 10)})
    log.append("last", "like", ts=8)
    done = send(server)
    assert (done.sent, done.rejected, done.fault) == (4, 1, None)
    assert log.status().rejected == {"too large: answered with 413: too much": 1}


def test_the_reasons_of_a_server_cannot_fill_the_phone(serve, log, send):
    server = serve()
    for n in range(3, 100):
        log.append(f"item-{n}", "like", ts=n)
    batch = log.next_batch(500)
    rows = [{"place": n, "reason": f"{n}" * 1000} for n in range(100)]
    body = {"batch": batch.id, "accepted": 0, "rejected": rows}
    server.answers = [(200, json.dumps(body).encode(), {})]
    assert send(server).rejected == 100
    rejected = log.status().rejected
    assert (len(rejected), sum(rejected.values())) == (33, 100)
    assert max(map(len, rejected)) == 200


def test_a_locked_database_is_a_wait_and_loses_nothing(serve, log, home, send):
    server = serve(options="?timeout=0.1")
    with writing(server.engine):
        assert "503" in send(server).fault
    assert (server.stored(), log.status().pending) == (0, 3)
    log._connection.execute("DELETE FROM upload_wait")
    assert send(server).sent == server.stored() == 3


def test_a_full_disk_of_the_server_is_a_wait_and_loses_nothing(serve, log, send):
    server = serve()
    with server.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    server.engine.dispose()
    most = [pages]

    @event.listens_for(server.engine, "checkout")
    def bound(connection, *_):
        connection.execute(f"PRAGMA max_page_count = {most[0]}")

    for n in range(3, 200):
        log.append(f"item-{n}", "like", ts=n)
    assert "503" in send(server).fault
    assert (server.stored(), log.status().pending) == (0, 200)
    most[0] = 1 << 20
    log._connection.execute("DELETE FROM upload_wait")
    assert send(server).sent == server.stored() == 200


def test_the_server_erases_what_a_phone_asks_for(serve, log, home, send, runner):
    server = serve()
    words = ["device", "erase", "--home", str(home), "--yes", "--server", server.url, "--json"]
    assert send(server).sent == 3
    log.close()
    server.answers = [(503, b'{"error": "busy"}', {})]
    refused = runner.invoke(main, words)
    assert refused.exit_code == 1
    assert "503: busy" in refused.stderr
    assert (home / "install_id").exists()  # nothing is erased: the id is needed to try again
    done = runner.invoke(main, words)
    assert json.loads(done.stdout)["erased_on_server"] == 3
    assert server.stored() == 0
    assert not (home / "install_id").exists()
    assert json.loads(runner.invoke(main, words).stdout)["erased_on_server"] is None


def test_a_phone_that_sent_nothing_has_nothing_to_erase_there(home):
    home.mkdir()
    ask = partial(erase_on_server, PhoneHome(home), "http://127.0.0.1:9", Network())
    assert ask() is None
    install_id(PhoneHome(home))
    with pytest.raises(SyncError, match="did not erase"):
        ask()


def test_while_the_database_is_locked_releases_come_and_events_wait(
    tiny_repo, start_server, log, home, tmp_path
):
    database = f"sqlite:///{tmp_path / 'server.sqlite'}?timeout=0.1"
    url, _ = start_server(tiny_repo, "--database", database)
    root = tiny_repo / "metadata" / "1.root.json"
    holder = sqlite3.connect(tmp_path / "server.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    report = sync(home, url, lambda bundle: None, root_path=root, retry=ONCE)
    assert (report.status, report.events_sent) == ("updated", 0)
    assert report.events_fault is not None and "503" in report.events_fault
    holder.execute("ROLLBACK")
    log._connection.execute("DELETE FROM upload_wait")
    report = sync(home, url, lambda bundle: None, retry=ONCE)
    assert (report.status, report.events_sent, report.events_fault) == ("current", 3, None)
    holder.close()


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_a_server_over_postgresql(empty_url, tiny_repo, start_server, log, home, runner, tmp_path):
    words = [sys.executable, "-m", "pocketrec", "serve", "--repo", str(tiny_repo), "--port", "0"]
    refused = subprocess.run([*words, "--database", empty_url], capture_output=True, text=True)
    assert refused.returncode == 1
    assert "pocketrec db upgrade" in refused.stderr
    upgraded = runner.invoke(main, ["db", "upgrade", "--db", empty_url, "--json"])
    assert json.loads(upgraded.stdout)["applied"][:2] == ["0001_events", "0002_uploads"]
    url, _ = start_server(
        tiny_repo, "--database", empty_url, "--workers", "2", "--uploads-per-minute", "2"
    )
    ask = partial(_send, home, url)
    assert ask().sent == 3
    for n in range(2):  # two workers, one limit
        log.append("more", "like", ts=n)
        done = ask()
    assert done.fault is not None and "429" in done.fault
    runner.invoke(main, ["events", "export", "--db", empty_url, "--out", str(tmp_path / "out")])
    assert pq.read_table(tmp_path / "out" / "interactions").num_rows == 4
