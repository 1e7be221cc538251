"""Uploads sent again in any order, by many at once, and to servers killed at any step of a request.

Real processes, sockets and databases; whatever happens, each event is stored once and counted once.
"""

import os
import signal
import socket
import uuid
from collections import Counter
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from sqlalchemy import event, func, select, text
from werkzeug.serving import make_server
from werkzeug.test import Client

from pocketrec_edge.events.install_id import install_id
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync.http import Network
from pocketrec_edge.sync.sync_log import SyncLog
from pocketrec_edge.sync.transfer import Retry
from pocketrec_edge.sync.uploads.events import send_events
from pocketrec_server.events.ingest import store
from pocketrec_server.events.rate_limit import Limits
from pocketrec_server.events.routes import event_routes
from pocketrec_server.events.uploads import Upload
from pocketrec_server.storage.database import connect, upgrade, writing
from pocketrec_server.storage.tables import EVENT, EVENT_DAY, INSTALL, UPLOAD

DAY_S = 86_400
FREE = Limits(per_minute=10_000)


def made(n):
    base = {"id": f"e{n}", "kind": "interaction", "item_id": f"i{n}", "event": "like"}
    return base | {"value": None, "ts": n * DAY_S // 3, "context": {}}


def stored(engine, install):
    """Ids of an install's events, sorted."""
    found = select(EVENT.c.id).join(INSTALL).where(INSTALL.c.install_id == install)
    with engine.connect() as connection:
        return sorted(connection.scalars(found))


def assert_counted(engine):
    """The counts by day are those of the rows."""
    with engine.connect() as connection:
        days = Counter(ts // DAY_S for ts in connection.scalars(select(EVENT.c.ts)))
        counted = connection.execute(select(EVENT_DAY.c.day, EVENT_DAY.c.events))
        assert {day: n for day, n in counted.all() if n} == dict(days)


BATCHES = st.lists(st.lists(st.integers(0, 11), max_size=6, unique=True), min_size=1, max_size=4)
TURNS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.booleans()), max_size=12)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=BATCHES, turns=TURNS)
def test_any_order_of_resends_stores_each_event_once(engine, batches, turns):
    """Two installs send overlapping batches again and again, with their ids and in the old form."""
    run = uuid.uuid4().hex
    ids = [str(uuid.uuid4()) for _ in batches]
    sent: dict[int, set[str]] = {0: set(), 1: set()}
    answers: dict[Any, Any] = {}
    for who, which, old in turns:
        at = which % len(batches)
        events = [made(n) if n < 10 else {"id": f"e{n}"} for n in batches[at]]
        batch = None if old else ids[at]
        upload = Upload(install_id=f"{run}-{who}", batch=batch, events=events)
        found = store(engine, upload, FREE)
        assert answers.setdefault((who, at), (found.accepted, found.rejected)) == (
            found.accepted,
            found.rejected,
        )
        good = {f"e{n}" for n in batches[at] if n < 10}
        assert (set(found.accepted), len(found.new)) == (good, len(good - sent[who]))
        sent[who] |= good
    for who, good in sent.items():
        assert stored(engine, f"{run}-{who}") == sorted(good)
    assert_counted(engine)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@contextmanager
def server(url, listener, die_at=None):
    """A process that serves the event routes; it kills itself at a step, and is killed at the end.

    Steps are before and after each statement, before the commit, and when the answer is made.
    """
    child = os.fork()
    if child == 0:
        try:
            _serve(url, listener, die_at)
        finally:
            os._exit(1)

    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def _serve(url, listener, die_at):
    steps = 0

    def step(*_):
        nonlocal steps
        if steps == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1

    app = _app(connect(url), step)
    make_server("127.0.0.1", 0, app, fd=listener.fileno()).serve_forever()


def _app(engine, step):
    """The event routes, calling `step` at each step."""
    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(engine, name, step)
    app = Flask("test")
    app.register_blueprint(event_routes(engine, CollectorRegistry(), FREE))

    def respond(environ, start):
        answer = list(app(environ, start))
        step()
        return answer

    return respond


def steps_of_an_upload(engine):
    """How many steps an upload by a new install takes."""
    steps = []
    body = {"schema": 1, "batch": str(uuid.uuid4()), "install_id": "counted1", "consent": True}
    client = Client(_app(engine, lambda *_: steps.append(1)))
    assert client.post("/v1/events", json=body | {"events": [made(1)]}).status_code == 200
    return len(steps)


def send(home, listener):
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with SyncLog(PhoneHome(home), None) as opened:
        return send_events(opened, url, Network(), Retry(tries=1))


def test_killed_at_any_step_the_server_has_each_event_once_after_a_resend(
    empty_url, listener, tmp_path
):
    engine = connect(empty_url)
    upgrade(engine)
    total = steps_of_an_upload(engine)
    engine.dispose()
    died_after_commit = 0
    every = 2 if empty_url.startswith("sqlite") else 5
    for n in sorted({*range(0, total, every), total - 1, total}):
        home = tmp_path / f"phone-{n}"
        log = EventLog(home / "events.sqlite")
        log.set_consent(True)
        for each in range(4):
            log.append(f"i{each}", "like", ts=each * DAY_S, event_id=f"e{each}")
        with server(empty_url, listener, die_at=n):
            first = send(home, listener)
        died = first.fault is not None
        assert first.sent == (0 if died else 4)
        died_after_commit += died and bool(stored(engine, install_id(PhoneHome(home))))
        with server(empty_url, listener):
            again = send(home, listener)
        assert (again.sent, again.fault) == (4 if died else 0, None)
        assert stored(engine, install_id(PhoneHome(home))) == ["e0", "e1", "e2", "e3"]
        with engine.connect() as connection:
            batches = connection.scalar(
                select(func.count())
                .select_from(UPLOAD.join(INSTALL))
                .where(INSTALL.c.install_id == install_id(PhoneHome(home)))
            )
        assert (batches, log.status().pending) == (1, 0)
        log.close()
        assert died == (n < total)
    assert total > 15
    assert died_after_commit
    assert_counted(engine)
    engine.dispose()


ACTS = st.lists(
    st.one_of(st.integers(0, 25), st.sampled_from(["append", "send", "kill the phone"])),
    min_size=2,
    max_size=6,
)


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(acts=ACTS)
def test_any_order_of_crashes_loses_nothing(listener, tmp_path_factory, acts):
    """A number is a sync with a server that dies at that step."""
    folder = tmp_path_factory.mktemp("crashes")
    url = f"sqlite:///{folder / 'server.sqlite'}"
    engine = connect(url)
    upgrade(engine)
    log = EventLog(folder / "phone" / "events.sqlite")
    log.set_consent(True)
    did = [log.append("first", "like", ts=0)]
    for act in [*acts, "send"]:
        if act == "append":
            did += [log.append(f"i{n}", "like", ts=n * DAY_S) for n in range(3)]
        elif act == "kill the phone":
            with server(url, listener):
                child = os.fork()  # it is answered, and dies before it can note that
                if child == 0:
                    die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
                    setattr(EventLog, "acknowledge", die)  # noqa: B010 - in this child only
                    send(folder / "phone", listener)
                    os._exit(0)
                os.waitpid(child, 0)
        else:
            with server(url, listener, die_at=act if act != "send" else None):
                send(folder / "phone", listener)
    assert log.status().pending == 0
    assert stored(engine, install_id(PhoneHome(folder / "phone"))) == sorted(did)
    assert_counted(engine)
    log.close()
    engine.dispose()


def test_many_processes_that_send_the_same_at_once_store_it_once(empty_url):
    engine = connect(empty_url)
    upgrade(engine)
    engine.dispose()
    ids = [str(uuid.uuid4()) for _ in range(8)]

    def work(seed):
        mine = connect(empty_url)
        for turn in range(24):
            at = (turn * 5 + seed * 3) % 8
            events = [made(n) for n in range(at, at + 12)]
            who = f"install-{turn // 8 % 2}"
            store(mine, Upload(install_id=who, batch=ids[at], events=events), FREE)
            store(mine, Upload(install_id=f"alone-{seed}", batch=None, events=events), FREE)

    children = []
    for seed in range(4):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work(seed)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    every = sorted(f"e{n}" for n in range(19))
    names = ["install-0", "install-1", *(f"alone-{seed}" for seed in range(4))]
    assert [stored(engine, name) for name in names] == [every] * 6
    assert_counted(engine)
    engine.dispose()


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_connections_that_a_restart_of_postgresql_cut_are_replaced(empty_url):
    engine, other = connect(empty_url), connect(empty_url)
    upgrade(engine)
    store(engine, Upload(install_id="install-1", batch=None, events=[made(1)]), FREE)
    with writing(other) as connection:
        cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        mine = "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        assert connection.scalar(text(f"{cut} {mine}")) == 1
    store(engine, Upload(install_id="install-1", batch=None, events=[made(2)]), FREE)
    assert stored(engine, "install-1") == ["e1", "e2"]
    engine.dispose()
    other.dispose()
