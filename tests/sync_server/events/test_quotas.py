"""Somebody who invents installs is bound by the quota of their network, and all by that of all."""

import uuid
from typing import Any

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select

from pocketrec_bundle.units import DAY_S
from pocketrec_server.errors import UploadRefusedError
from pocketrec_server.events.ingest import store
from pocketrec_server.events.quotas import HOUR_S, forget_past
from pocketrec_server.events.rate_limit import Limits
from pocketrec_server.events.routes import event_routes
from pocketrec_server.events.uploads import Upload
from pocketrec_server.http.networks import network_of
from pocketrec_server.storage.tables import EVENT, EVENT_QUOTA, INSTALL

LIMITS = Limits(network_hour_events=5, all_day_events=12)
NOON = 20_000 * DAY_S + DAY_S // 2


def upload(install, first, n):
    base: dict[str, Any] = {
        "kind": "interaction",
        "item_id": "i",
        "event": "like",
        "value": None,
        "context": {},
    }
    events = [base | {"id": f"e{first + at}", "ts": at} for at in range(n)]
    return Upload(install_id=f"install-{install}", batch=str(uuid.uuid4()), events=events)


def refused(engine, sent, now, network):
    before = rows(engine, EVENT)
    with pytest.raises(UploadRefusedError) as caught:
        store(engine, sent, LIMITS, now, network)
    assert rows(engine, EVENT) == before
    return caught.value.status, caught.value.retry_after_s


def rows(engine, table):
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(table))


def test_invented_installs_of_a_network_share_its_hour(engine):
    for install in range(2):
        store(engine, upload(install, 0, 2), LIMITS, NOON + 600, "one")
    assert refused(engine, upload(2, 0, 2), NOON + 600, "one") == (429, HOUR_S - 600)
    store(engine, upload(2, 0, 1), LIMITS, NOON + 600, "one")  # the fifth still fits
    store(engine, upload(3, 0, 5), LIMITS, NOON + 600, "two")
    installs = rows(engine, INSTALL)
    assert refused(engine, upload(4, 0, 1), NOON + HOUR_S - 1, "one") == (429, 1)
    assert rows(engine, INSTALL) == installs  # what is beyond a quota leaves no row at all
    store(engine, upload(4, 0, 1), LIMITS, NOON + HOUR_S, "one")


def test_uploads_without_a_new_event_count_too(engine):
    for install in range(5):
        store(engine, upload(install, 0, 0), LIMITS, NOON, "one")
    assert refused(engine, upload(6, 0, 0), NOON, "one") == (429, HOUR_S)


def test_all_networks_together_have_a_day(engine):
    for at, network in enumerate(("one", "two")):
        store(engine, upload(at, 0, 5), LIMITS, NOON, network)
    assert refused(engine, upload(3, 0, 3), NOON, "three") == (503, DAY_S // 2)
    store(engine, upload(3, 0, 2), LIMITS, NOON, "three")
    assert refused(engine, upload(4, 0, 1), NOON + HOUR_S, "four") == (503, DAY_S // 2 - HOUR_S)
    store(engine, upload(4, 0, 1), LIMITS, NOON + DAY_S // 2, "four")


def test_a_clock_that_was_ahead_stops_nobody(engine):
    store(engine, upload(0, 0, 5), LIMITS, NOON + 400 * DAY_S, "one")
    store(engine, upload(1, 0, 5), LIMITS, NOON, "one")
    assert refused(engine, upload(2, 0, 1), NOON, "one") == (429, HOUR_S)


def test_a_batch_that_is_sent_again_costs_nothing(engine):
    sent = upload(0, 0, 3)
    for _ in range(4):
        assert len(store(engine, sent, LIMITS, NOON, "one").accepted) == 3
    store(engine, upload(1, 0, 2), LIMITS, NOON, "one")


def test_networks_are_kept_as_keyed_hashes_for_their_hour(engine):
    network = network_of("192.0.2.7")
    store(engine, upload(0, 0, 1), LIMITS, NOON, network)
    store(engine, upload(1, 0, 1), LIMITS, NOON + HOUR_S, "two")
    with engine.connect() as connection:
        scopes = list(connection.scalars(select(EVENT_QUOTA.c.scope)))
    assert len(scopes) == 3
    assert not any("192" in scope or "two" in scope for scope in scopes)
    forget_past(engine, NOON + HOUR_S)
    assert rows(engine, EVENT_QUOTA) == 2
    forget_past(engine, NOON + DAY_S)
    assert rows(engine, EVENT_QUOTA) == 0


def test_an_answer_beyond_a_quota_says_when_to_come_again(engine):
    app = Flask("test")
    app.register_blueprint(event_routes(engine, CollectorRegistry(), LIMITS))
    client = app.test_client()

    def send(install, address):
        found = upload(install, 0, 4)
        body = {"schema": 1, "batch": found.batch, "install_id": found.install_id}
        return client.post(
            "/v1/events",
            json=body | {"consent": True, "events": found.events},
            environ_overrides={"REMOTE_ADDR": address},
        )

    assert send(0, "192.0.2.1").status_code == 200
    beyond = send(1, "192.0.2.200")
    assert (beyond.status_code, 0 < int(beyond.headers["Retry-After"]) <= HOUR_S) == (429, True)
    for at in (1, 2):
        assert send(at, f"2001:db8:{at}::1").status_code == 200
    beyond = send(3, "198.51.100.1")
    assert (beyond.status_code, 0 < int(beyond.headers["Retry-After"]) <= DAY_S) == (503, True)
