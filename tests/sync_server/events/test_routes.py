"""The upload protocol, over the routes themselves, on SQLite and on PostgreSQL."""

import gzip
import json
import time
import tracemalloc
import uuid

import pytest
import zstandard
from flask import Flask, jsonify
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select, text
from werkzeug.exceptions import HTTPException

from pocketrec_server.events.rate_limit import LIMITS, Limits
from pocketrec_server.events.routes import event_routes
from pocketrec_server.events.uploads import MAX_BODY_BYTES, MAX_CONTENT_BYTES
from pocketrec_server.storage.database import open_database, writing
from pocketrec_server.storage.tables import EVENT, EVENT_DAY, INSTALL, REJECTED_DAY, UPLOAD

DAY_S = 86_400


def event(n, **other):
    base = {"id": f"event-{n}", "kind": "interaction", "item_id": f"i{n}", "event": "like"}
    return {**base, "value": None, "ts": n, "context": {}, **other}


def request(n, **other):
    return event(n, id=f"request-{n}", kind="request", item_id="", event="home") | other


def exposure(n, **other):
    context = {"arm": "control", "salt": "0a1b2c3d"}
    named = {"id": f"exposure-{n}", "kind": "exposure", "item_id": "", "event": "blend-2"}
    return event(n, **named, context=context) | other


def body(events, batch=None, **other):
    batch = batch or str(uuid.uuid4())
    said = {"schema": 1, "batch": batch, "install_id": "install-1", "consent": True}
    return {**said, "events": events, **other}


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def client(engine, registry):
    return client_of(engine, registry)


def client_of(engine, registry, limits=LIMITS):
    app = Flask("test")
    app.register_blueprint(event_routes(engine, registry, limits))
    app.register_error_handler(
        HTTPException, lambda err: (jsonify(error=err.description), err.code)
    )
    return app.test_client()


def rows(engine, table):
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(table))


def test_a_batch_is_acknowledged_as_one_and_stored_once(client, engine):
    batch = str(uuid.uuid4())
    sent = body([event(n, ts=n * DAY_S // 2) for n in range(5)], batch)
    answers = [client.post("/v1/events", json=sent) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    for answer in answers:
        assert answer.json == {"schema": 1, "batch": batch, "accepted": 5, "rejected": []}
    again = client.post("/v1/events", json=body(sent["events"]))  # under another batch id
    assert (again.status_code, again.json["accepted"]) == (200, 5)
    assert (rows(engine, EVENT), rows(engine, UPLOAD), rows(engine, INSTALL)) == (5, 2, 1)
    with engine.connect() as connection:
        days = connection.execute(select(EVENT_DAY).order_by(EVENT_DAY.c.day)).all()
        assert days == [(0, 2, 1), (1, 2, 1), (2, 1, 1)]
        stored = connection.execute(select(EVENT).where(EVENT.c.id == "event-3")).one()
        assert stored[1:] == ("event-3", "interaction", "i3", "like", None, 3 * DAY_S // 2, "{}")


def test_uploads_are_counted(client, registry):
    sent = body([event(1), event(2, ts=int(time.time()) - 4000), event(3, ts=-1)])
    for _ in range(2):
        client.post("/v1/events", json=sent)
    client.post("/v1/events", json=sent | {"consent": False})
    value = registry.get_sample_value
    assert value("pocketrec_events_stored_total", {"kind": "interaction"}) == 2
    assert value("pocketrec_events_stored_total", {"kind": "impression"}) == 0
    assert value("pocketrec_events_rejected_total", {"reason": "ts must be unix seconds"}) == 1
    assert value("pocketrec_uploads_refused_total", {"status": "403"}) == 1
    assert value("pocketrec_event_lag_seconds_count") == 1
    assert 4000 <= value("pocketrec_event_lag_seconds_sum") < 5000


def test_the_body_of_devices_from_before_batches_is_accepted(client, engine):
    old = body([event(1), event(2, ts=-1)])
    del old["schema"], old["batch"]
    for _ in range(2):
        answer = client.post("/v1/events", json=old)
        assert answer.json == {
            "accepted": ["event-1"],
            "rejected": [{"place": 1, "id": "event-2", "reason": "ts must be unix seconds"}],
        }
    assert (rows(engine, EVENT), rows(engine, UPLOAD)) == (1, 0)


def test_rejected_rows_come_back_with_their_reasons_and_are_counted_once(client, engine):
    bad = [
        (7, "6", "not an object"),
        (event(1, ts="x"), "event-1", "ts must be unix seconds"),
        (event(1, ts=True), "event-1", "ts must be unix seconds"),
        (event(1, id=""), "", "id must be a text of 1..64 characters"),
        (event(1, item_id="a\0b"), "event-1", "item_id must be a text of 1..256 characters"),
        (event(1, kind="other"), "event-1", "kind must be one of interaction, impression, request"),
        (event(1, kind=["request"]), "event-1", "kind must be one of interaction, impression"),
        (event(1, kind="request"), "event-1", "item_id must be an empty text for kind request"),
        (request(1, id="a.1"), "a.1", "id of a request must be 8..58 letters"),
        (request(1, id="short"), "short", "id of a request must be 8..58 letters"),
        (request(1, context={"arms": {"blend": 1}}), "request-1", "arms must be an object of"),
        (request(1, context={"arms": ["a"]}), "request-1", "arms must be an object of texts"),
        (exposure(1, item_id="i"), "exposure-1", "item_id must be an empty text for kind exposure"),
        (exposure(1, context={"salt": "0a"}), "exposure-1", "arm of an exposure must be a text"),
        (exposure(1, context={"arm": "a"}), "exposure-1", "salt of an exposure must be a text"),
        (exposure(1, context={"arm": "a", "salt": "0a", "forced": 1}), "exposure-1", "forced of"),
        (event(1, value=True), "event-1", "value must be a finite number or null"),
        (event(1, value=10**400), "event-1", "value must be a finite number or null"),
        (event(1, context=[1]), "event-1", "context must be an object of at most 4096 bytes"),
        (event(1, context={"x": "y" * 4090}), "event-1", "context must be an object of at most"),
        (event(1, surplus=1), "event-1", "has keys other than"),
        (event(2), "event-2", "duplicate id in the batch"),
    ]
    good = [
        *(event(2), event(3, value=2, context={"x": "y" * 4000}), event(4, item_id="ä\U0001f600")),
        *(request(9, context={"arms": {"blend": "b"}, "k": 3}), request(10), exposure(9)),
    ]
    sent = body([*good, *(row for row, _, _ in bad)])
    for _ in range(2):
        answer = client.post("/v1/events", json=sent).json
        assert answer["accepted"] == 6
        assert [row["place"] for row in answer["rejected"]] == list(range(6, 6 + len(bad)))
        for row, (_, name, reason) in zip(answer["rejected"], bad, strict=True):
            assert row["id"] == name
            assert row["reason"].startswith(reason)
    assert rows(engine, EVENT) == 6
    with engine.connect() as connection:
        counted = dict(
            connection.execute(select(REJECTED_DAY.c.reason, REJECTED_DAY.c.events)).all()
        )
    assert sum(counted.values()) == len(bad)
    assert counted["ts must be unix seconds"] == 2


REFUSED = [
    ({"consent": "yes"}, 403),
    ({"consent": False}, 403),
    ({"install_id": 5}, 400),
    ({"install_id": "short"}, 400),
    ({"install_id": "nul-\0-nul"}, 400),
    ({"events": {}}, 400),
    ({"events": [event(1)] * 1001}, 413),
    ({"schema": 2}, 400),
    ({"schema": True}, 400),
    ({"schema": "1"}, 400),
    ({"batch": "x"}, 400),
    ({"batch": 5}, 400),
    ({"batch": ["a"]}, 400),
]


def test_a_body_that_is_none_is_refused_and_leaves_nothing(client, engine):
    for change, status in REFUSED:
        answer = client.post("/v1/events", json=body([event(1)]) | change)
        assert (answer.status_code, list(answer.json)) == (status, ["error"]), change
    assert (rows(engine, EVENT), rows(engine, INSTALL)) == (0, 0)


NOT_JSON = [
    b"",
    b"[1]",
    b"{",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"events": [], "events": []}',
    b'{"consent": true, "install_id": "install-1", "events": [NaN]}',
    b'{"consent": true, "install_id": "install-1", "events": ["\\ud800"]}',
    b'{"consent": true, "install_id": "install-1", "events": [' + b"9" * 5000 + b"]}",
]


def test_what_is_not_json_is_refused(client):
    for data in NOT_JSON:
        answer = client.post("/v1/events", data=data, content_type="application/json")
        assert answer.status_code == 400, data[:80]


def test_gzip_and_zstd_are_undone_and_other_codings_refused(client):
    plain = json.dumps(body([event(1)])).encode()
    stream = zstandard.ZstdCompressor(write_content_size=False).compress(plain)
    for coding, data in (
        ("gzip", gzip.compress(plain)),
        ("zstd", zstandard.compress(plain)),
        ("ZSTD", stream),
        ("identity", plain),
    ):
        answer = coded(client, data, coding)
        assert (answer.status_code, answer.json["accepted"]) == (200, 1)
    answer = coded(client, plain, "br")
    assert (answer.status_code, answer.headers["Accept-Encoding"]) == (415, "gzip, zstd")
    assert client.post("/v1/events", data=plain).status_code == 415
    cut, more = gzip.compress(plain)[:-9], gzip.compress(plain) + b"more"
    for coding, data in (("gzip", plain), ("zstd", plain), ("gzip", cut), ("gzip", more)):
        assert coded(client, data, coding).status_code == 400
    assert coded(client, zstandard.compress(plain)[:-9], "zstd").status_code == 400


def coded(client, data, coding):
    return client.post(
        "/v1/events",
        data=data,
        content_type="application/json",
        headers={"Content-Encoding": coding},
    )


def test_a_bomb_is_refused_before_it_is_in_memory(client):
    zeros = bytes(1 << 20)
    packer = zstandard.ZstdCompressor().compressobj(size=64 << 20)
    bombs = {
        "gzip": gzip.compress(bytes(64 << 20), 9),
        "zstd": b"".join([*(packer.compress(zeros) for _ in range(64)), packer.flush()]),
    }
    for coding, bomb in bombs.items():
        assert len(bomb) < MAX_BODY_BYTES
        tracemalloc.start()
        answer = coded(client, bomb, coding)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert answer.status_code == 413
        assert peak < 4 * MAX_CONTENT_BYTES
    assert coded(client, bytes(MAX_BODY_BYTES + 1), "gzip").status_code == 413


def test_a_batch_id_used_for_other_events_is_a_conflict(client, engine):
    batch = str(uuid.uuid4())
    assert client.post("/v1/events", json=body([event(1)], batch)).status_code == 200
    assert client.post("/v1/events", json=body([event(2)], batch)).status_code == 409
    other = body([event(2)], batch, install_id="install-2")  # its own ids
    assert client.post("/v1/events", json=other).status_code == 200
    assert rows(engine, EVENT) == 2


def test_the_quota_of_a_day_is_a_wait_and_stores_nothing(engine, registry):
    client = client_of(engine, registry, Limits(day_events=3))
    first = body([event(1), event(2)])
    assert client.post("/v1/events", json=first).status_code == 200
    answer = client.post("/v1/events", json=body([event(3), event(4)]))
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= DAY_S
    assert rows(engine, EVENT) == 2
    assert client.post("/v1/events", json=first).status_code == 200  # nothing new in it
    assert client.post("/v1/events", json=body([event(2), event(3)])).status_code == 200
    other = body([event(n) for n in range(3)], install_id="install-2")
    assert client.post("/v1/events", json=other).status_code == 200


def test_uploads_beyond_the_quota_still_cost_uploads(engine, registry):
    client = client_of(engine, registry, Limits(per_minute=3, day_events=1))
    client.post("/v1/events", json=body([event(0)]))
    said = [
        client.post("/v1/events", json=body([event(1), event(2)])).json["error"] for _ in range(3)
    ]
    assert said[:2] == ["more than 1 events in a day"] * 2
    assert said[2] == "too many uploads"


def test_the_rate_limit_is_one_for_all_server_processes(engine):
    limits = Limits(per_minute=4)
    processes = [client_of(engine, CollectorRegistry(), limits) for _ in range(2)]
    statuses = [
        processes[n % 2].post("/v1/events", json=body([event(n)])).status_code for n in range(6)
    ]
    assert statuses == [200] * 4 + [429] * 2
    answer = processes[0].post("/v1/events", json=body([event(9)]))
    assert 0 < int(answer.headers["Retry-After"]) <= 15
    other = body([event(9)], install_id="install-2")
    assert processes[1].post("/v1/events", json=other).status_code == 200


def test_erasing_an_install_leaves_the_others(client, engine):
    for name in ("install-1", "install-2"):
        client.post("/v1/events", json=body([event(1), event(DAY_S)], install_id=name))
    assert client.delete("/v1/installs/install-1").json == {"erased": 2}
    assert client.delete("/v1/installs/install-1").json == {"erased": 0}
    assert client.delete("/v1/installs/x").status_code == 400
    assert [rows(engine, table) for table in (EVENT, UPLOAD, INSTALL)] == [2, 1, 1]
    with engine.connect() as connection:
        assert connection.execute(select(EVENT_DAY).order_by(EVENT_DAY.c.day)).all() == [
            (0, 1, 3),
            (1, 1, 3),
        ]


def test_no_byte_of_what_was_erased_stays_in_the_file(tmp_path):
    path = tmp_path / "server.sqlite"
    engine = open_database(f"sqlite:///{path}")
    events = [event(n, item_id=f"zebra-{n}") for n in range(500)]
    client = client_of(engine, CollectorRegistry())
    client.post("/v1/events", json=body(events))
    assert any(b"zebra" in each.read_bytes() for each in tmp_path.iterdir())
    client.delete("/v1/installs/install-1")
    assert not any(b"zebra" in each.read_bytes() for each in tmp_path.iterdir())


def test_a_database_that_fails_is_a_503_with_a_time(client, engine, registry):
    with writing(engine) as connection:
        connection.execute(text("DROP TABLE rejected_day"))
    answer = client.post("/v1/events", json=body([event(1), 7]))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    assert rows(engine, EVENT) == 0
    assert registry.get_sample_value("pocketrec_uploads_refused_total", {"status": "503"}) == 1
