"""Servers as processes: either kind, its logs and figures, and an orderly end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest
import urllib3

from edge_runtime.sync import sync
from sync_server import tokens
from sync_server.app import create_app
from sync_server.database import default_url, open_database
from sync_server.failures import MOST
from sync_server.settings import Settings

KINDS = {"waitress": (), "gunicorn": ("--server", "gunicorn", "--workers", "2")}
each_kind = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
BIG = 24 << 20


def lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "server.log").read_text().splitlines()]


@each_kind
def test_a_device_syncs_and_all_workers_count_together(tiny_repo, start_server, tmp_path, options):
    address, child = start_server(tiny_repo, *options)
    root = tiny_repo / "metadata" / "1.root.json"
    report = sync(tmp_path / "phone", address, lambda _: None, root_path=root)
    assert report.status == "updated"
    asked = 30
    for _ in range(asked):  # a connection each: the kernel deals them out
        reply = urllib3.request("GET", f"{address}/readyz", headers={"Connection": "close"})
        assert reply.status == 200
    text = urllib3.request("GET", f"{address}/metrics").data.decode()
    assert f'pocketrec_requests_total{{route="/readyz",status="200"}} {asked}.0' in text
    assert 'pocketrec_metadata_expires_seconds{role="timestamp"}' in text
    assert f'pocketrec_request_seconds_count{{route="/readyz"}} {asked}.0' in text
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0
    told = [line for line in lines(tmp_path) if line["message"] == "request"]
    assert sum(line["route"] == "/readyz" for line in told) == asked
    assert all(line["status"] in (200, 404) and line["ms"] >= 0 and line["id"] for line in told)


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no list of children here")
def test_a_worker_that_ends_is_replaced_and_what_it_counted_stays(tiny_repo, start_server):
    address, child = start_server(tiny_repo, *KINDS["gunicorn"])
    assert urllib3.request("GET", f"{address}/readyz", retries=5).status == 200
    before = children_of(child.pid)
    os.kill(int(before[0]), signal.SIGTERM)
    end = time.monotonic() + 60
    while before[0] in children_of(child.pid) or len(children_of(child.pid)) < len(before):
        assert child.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    text = urllib3.request("GET", f"{address}/metrics", retries=5).data
    assert b'route="/readyz",status="200"} 1.0' in text


@each_kind
def test_behind_a_proxy_each_client_counts_for_itself(tiny_repo, start_server, options):
    address, _ = start_server(tiny_repo, "--behind-proxy", *options)
    assert urllib3.request("GET", f"{address}/readyz", retries=5).status == 200
    engine = open_database(default_url(tiny_repo))
    token, _ = tokens.make(engine, "a", "read", 1, int(time.time()))
    engine.dispose()

    def log_in(text, client):
        return urllib3.request(
            "POST",
            f"{address}/admin/login",
            body=urlencode({"token": text}),
            redirect=False,
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "X-Forwarded-For": client,
                "X-Forwarded-Proto": "https",
            },
        )

    for _ in range(2 * MOST + 1):  # either worker counts its own
        last = log_in("wrong", "203.0.113.9")
    assert last.status == 429
    sound = log_in(token, "198.51.100.7")
    assert sound.status == 303
    assert "Secure" in sound.headers["Set-Cookie"]


@each_kind
def test_what_is_being_sent_is_finished_after_sigterm(tiny_repo, start_server, options):
    sha = "a" * 64
    blob = tiny_repo / "targets" / "files" / f"{sha}.{sha}"
    blob.write_bytes(os.urandom(1 << 20) * (BIG >> 20))
    address, child = start_server(tiny_repo, *options)
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(f"GET /targets/files/{sha}.{sha} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        got = bytearray(client.recv(1 << 16))
        child.send_signal(signal.SIGTERM)
        time.sleep(0.5)  # the server has heard by now, and cannot be done: nobody reads
        while part := client.recv(1 << 20):
            got += part
            if len(got) - got.index(b"\r\n\r\n") - 4 == BIG:
                break
    assert got.partition(b"\r\n\r\n")[2] == blob.read_bytes()
    assert child.wait(30) == 0


def test_logs_name_neither_addresses_nor_installs_nor_paths(tiny_repo, start_server, tmp_path):
    address, child = start_server(tiny_repo)
    body = {"install_id": "install-id-of-somebody", "consent": True, "events": []}
    urllib3.request("POST", f"{address}/v1/events", json=body)
    urllib3.request("GET", f"{address}/metadata/nothing-here.json")
    given = urllib3.request("GET", f"{address}/healthz", headers={"X-Request-ID": "mine-1234"})
    assert given.headers["X-Request-ID"] == "mine-1234"
    child.terminate()
    child.wait(30)
    text = (tmp_path / "server.log").read_text()
    for secret in ("install-id-of-somebody", "127.0.0.1", "nothing-here"):
        assert secret not in text
    assert [line["id"] for line in lines(tmp_path)][-1] == "mine-1234"


def test_logs_of_failures_name_no_install_either(tiny_repo, monkeypatch, capsys):
    def break_down(*_):
        raise RuntimeError("a bug")

    app = create_app(Settings(repo=tiny_repo))
    app.config["PROPAGATE_EXCEPTIONS"] = False
    somebody = "install-id-of-somebody"
    monkeypatch.setattr("sync_server.event_routes.erase", break_down)
    assert app.test_client().delete(f"/v1/installs/{somebody}").status_code == 500
    with open_database(default_url(tiny_repo)).begin() as connection:
        connection.exec_driver_sql("DROP TABLE install")
    event = {"id": "a", "kind": "interaction", "item_id": "x", "event": "like", "ts": 5}
    body = {"install_id": somebody, "consent": True, "events": [event]}
    assert app.test_client().post("/v1/events", json=body).status_code == 503
    told = capsys.readouterr().err
    assert "a bug" in told and '"route": "/v1/installs/<install_id>"' in told
    assert somebody not in told


def test_wsgi_entry_is_configured_by_the_environment(tiny_repo):
    code = "from sync_server.wsgi import app; print(app.test_client().get('/readyz').status_code)"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", code]
    given = env | {"POCKETREC_REPO": str(tiny_repo), "POCKETREC_LOG_REQUESTS": "0"}
    done = subprocess.run(words, env=given, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("200\n", "")
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    assert "POCKETREC_REPO is not set" in done.stderr


def test_logs_can_be_turned_off(tiny_repo, start_server, tmp_path):
    address, _ = start_server(tiny_repo, "--no-log")
    assert urllib3.request("GET", f"{address}/healthz").status == 200
    assert (tmp_path / "server.log").read_text() == ""
