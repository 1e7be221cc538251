"""Servers as one process and as several: its logs and figures, and an orderly end."""

import json
import logging
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
import urllib3

from pocketrec import cli
from pocketrec_edge.sync.client import sync
from pocketrec_server import serve
from pocketrec_server.app import create_app
from pocketrec_server.auth import tokens
from pocketrec_server.auth.failures import MOST
from pocketrec_server.serving import waitress_server
from pocketrec_server.settings import Settings
from pocketrec_server.storage.database import default_url, open_database

KINDS = {"one process": (), "two": ("--workers", "2")}
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
def test_a_worker_that_ends_is_replaced_and_what_it_counted_stays(
    tiny_repo, start_server, tmp_path
):
    address, child = start_server(tiny_repo, *KINDS["two"])
    assert urllib3.request("GET", f"{address}/readyz", retries=5).status == 200
    before = children_of(child.pid)
    os.kill(int(before[0]), signal.SIGTERM)
    end = time.monotonic() + 60
    while before[0] in children_of(child.pid) or len(children_of(child.pid)) < len(before):
        assert child.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    numbers: list[bytes] = []
    while len(numbers) < 2:  # the new worker takes the number of the old one when it is ready
        text = urllib3.request("GET", f"{address}/metrics", retries=5).data
        assert b'route="/readyz",status="200"} 1.0' in text
        started = rb'^process_start_time_seconds\{worker="(\d+)"\}'
        numbers = re.findall(started, text, re.MULTILINE)
        assert time.monotonic() < end
    assert numbers == [b"0", b"1"]
    assert "worker ended with 0 and is replaced" in [line["message"] for line in lines(tmp_path)]


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


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_a_server_for_this_machine_needs_no_tls(host):
    assert serve.transport_warning(host, behind_proxy=False) is None


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "192.0.2.7", "2001:db8::1", "sync.example.com"],  # noqa: S104 - not bound
)
def test_a_server_for_others_warns_unless_a_proxy_is_in_front(host):
    warning = serve.transport_warning(host, behind_proxy=False)
    assert warning is not None and "TLS" in warning
    assert serve.transport_warning(host, behind_proxy=True) is None


def test_the_command_warns_before_it_listens(runner, tmp_path):
    words = ["serve", "--repo", str(tmp_path), "--host", "192.0.2.7", "--port", "0"]
    done = runner.invoke(cli.main, words)  # an address for documentation, of no machine
    assert done.exit_code == 1
    assert done.stderr.index("without TLS") < done.stderr.index("cannot listen")


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_ipv6_address_is_served(tiny_repo, start_server):
    address, _ = start_server(tiny_repo, "--host", "::1")
    here = address.replace("127.0.0.1", "[::1]")
    assert urllib3.request("GET", f"{here}/healthz").status == 200


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
    monkeypatch.setattr("pocketrec_server.events.routes.erase", break_down)
    assert app.test_client().delete(f"/v1/installs/{somebody}").status_code == 500
    with open_database(default_url(tiny_repo)).begin() as connection:
        connection.exec_driver_sql("DROP TABLE install")
    event = {"id": "a", "kind": "interaction", "item_id": "x", "event": "like", "ts": 5}
    body = {"install_id": somebody, "consent": True, "events": [event]}
    assert app.test_client().post("/v1/events", json=body).status_code == 503
    told = capsys.readouterr().err
    assert "a bug" in told and '"route": "/v1/installs/<install_id>"' in told
    assert somebody not in told


def test_what_waitress_logs_is_json_without_paths(capsys):
    waitress_server.log_as_json()
    logger = logging.getLogger("waitress")
    try:
        raise OSError("no such file")
    except OSError:
        logger.exception("Exception while serving %s" % "/v1/installs/somebody")  # noqa: UP031
    logger.warning("no longer accepting new connections")
    logging.getLogger("waitress.queue").warning("Task queue depth is 9")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first["message"] == "Exception while serving a request"
    assert "no such file" in first["traceback"] and "somebody" not in str(first)
    assert second["message"] == "no longer accepting new connections"


def test_wsgi_entry_is_configured_by_the_environment(tiny_repo):
    code = (
        "from pocketrec_server.wsgi import app; print(app.test_client().get('/readyz').status_code)"
    )
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


@pytest.fixture
def connect():
    """Return a function that opens connections, from a network of this machine; all are closed."""
    open_ = []

    def opened(address, source="127.0.0.1"):
        host, port = address.removeprefix("http://").split(":")
        client = socket.create_connection((host, int(port)), source_address=(source, 0))
        client.settimeout(20)
        open_.append(client)
        return client

    yield opened
    for client in open_:
        client.close()


def drip(clients, text, times):
    """Send the same text a byte at a time on all connections, `times` bytes of it."""
    for at in range(times):
        for client in clients:
            client.sendall(text[at : at + 1])


@each_kind
def test_two_hundred_slow_heads_hold_nobody_up(tiny_repo, start_server, connect, tmp_path, options):
    address, _ = start_server(tiny_repo, *options)
    slow = [connect(address) for _ in range(200)]
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: yes\r\n\r\n"
    stop = threading.Event()

    def send():
        drip(slow, head, 5)
        stop.wait(60)
        drip(slow, head[5:], len(head) - 5)

    sending = threading.Thread(target=send)
    sending.start()
    for path in ("/healthz", "/metadata/timestamp.json") * 10:
        fresh = urllib3.request(
            "GET", address + path, timeout=20, retries=False, headers={"Connection": "close"}
        )
        assert fresh.status == 200
    stop.set()
    sending.join()
    for client in slow:  # slow is not wrong: each has its answer
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    messages = {line["message"] for line in lines(tmp_path)}
    assert messages == {"request"}  # 200 that wait for a thread fill no log


def test_requests_that_never_become_whole_are_cut_off(tiny_repo, connect, monkeypatch):
    monkeypatch.setattr("pocketrec_server.serving.waitress_server.HEAD_S", 1.0)
    monkeypatch.setattr("pocketrec_server.serving.waitress_server.LEAST_BODY_RATE", 20)
    monkeypatch.setattr("pocketrec_server.serving.waitress_server._TURN_S", 0.1)
    with served(tiny_repo) as address:
        head, body, steady = (connect(address) for _ in range(3))
        begin = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        part = b" " * 200  # each is worth 10 s
        steady.sendall(begin + b"Content-Length: 2000\r\n\r\n" + part)
        head.sendall(begin)
        body.sendall(begin + b"Content-Length: 5000\r\n\r\n{")
        for client in (head, body):
            assert client.recv(100) == b""
        for _ in range(9):
            time.sleep(0.1)
            steady.sendall(part)
        assert steady.recv(100).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("how", ["whole", "part", "several at once"])
def test_clients_that_do_not_read_hold_no_thread(tiny_repo, connect, monkeypatch, how):
    for constant, value in (("THREADS", 2), ("MOST_LISTENERS", 0), ("MOST_WAITING", 1)):
        monkeypatch.setattr(f"pocketrec_server.serving.waitress_server.{constant}", value)
    name = f"targets/files/{'0' * 64}.bin"
    with (tiny_repo / name).open("wb") as stream:
        stream.truncate(32 << 20)  # more than waitress and the kernel take off a thread
    part = "Range: bytes=1-\r\n" if how == "part" else ""
    asked = f"GET /{name} HTTP/1.1\r\nHost: x\r\n{part}\r\n" * (1 + 2 * (how == "several at once"))
    with served(tiny_repo) as address:
        waiting = [connect(address) for _ in range(4)]
        for client in waiting:
            client.sendall(asked.encode())
        assert urllib3.request("GET", f"{address}/healthz", timeout=20, retries=False).status == 200
        some = urllib3.request(
            "GET", f"{address}/{name}", headers={"Range": "bytes=5-104"}, timeout=20, retries=False
        )
        assert (some.status, some.data) == (206, bytes(100))
        for client in waiting:  # the end of the server waits for who is still there
            client.close()


def test_one_network_cannot_hold_all_connections(tiny_repo, connect, monkeypatch):
    monkeypatch.setattr("pocketrec_server.serving.waitress_server.MOST_OF_NETWORK", 5)
    ask = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

    def answer(client):
        client.sendall(ask)
        try:
            return client.recv(100)[:12]
        except ConnectionResetError:
            return b""

    with served(tiny_repo) as address:
        held = [connect(address, "127.0.7.2") for _ in range(5)]
        assert [answer(client) for client in held] == [b"HTTP/1.1 200"] * 5
        assert answer(connect(address, "127.0.7.3")) == b""
        assert answer(connect(address, "127.0.8.2")) == b"HTTP/1.1 200"
        held[0].close()
        end = time.monotonic() + 20
        while answer(connect(address, "127.0.7.3")) == b"":
            assert time.monotonic() < end


def test_a_body_that_is_too_large_is_refused_before_it_is_stored(tiny_repo, start_server, connect):
    address, _ = start_server(tiny_repo)
    client = connect(address)
    client.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n")
    assert client.recv(100).startswith(b"HTTP/1.1 413")


@contextmanager
def served(repo):
    """Serve a repository from a process that was forked here, with what the test changed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        settings = Settings(repo=repo, log_requests=False)
        words = (settings, listener, lambda: None)
        child = multiprocessing.get_context("fork").Process(target=waitress_server.run, args=words)
        child.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            child.terminate()
            child.join()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no list of children here")
def test_workers_end_when_what_started_them_is_killed(tiny_repo, start_server):
    address, child = start_server(tiny_repo, *KINDS["two"])
    workers = children_of(child.pid)
    assert len(workers) == 2
    child.kill()
    child.wait()
    end = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < end
        time.sleep(0.05)
    with pytest.raises(urllib3.exceptions.HTTPError):
        urllib3.request("GET", f"{address}/healthz", retries=False)


def test_workers_that_are_killed_before_they_start_are_replaced(tiny_repo, start_server):
    address, child = start_server(tiny_repo, *KINDS["two"])
    killed: list[int] = []
    end = time.monotonic() + 60
    while len(killed) < 6:
        assert child.poll() is None and time.monotonic() < end
        for worker in set(children_of(child.pid)) - set(killed):
            os.kill(int(worker), signal.SIGKILL)
            killed.append(worker)
        time.sleep(0.02)
    reply = urllib3.request("GET", f"{address}/healthz", retries=5, timeout=30)
    assert reply.status == 200


def test_a_server_that_is_stopped_while_its_workers_start_ends(tiny_repo, start_server):
    _, child = start_server(tiny_repo, *KINDS["two"])
    for worker in children_of(child.pid):
        os.kill(int(worker), signal.SIGKILL)
    time.sleep(0.2)  # others are being started by now
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 0


def test_a_worker_that_cannot_start_ends_the_server(tiny_repo, tmp_path):
    (tmp_path / "empty").mkdir()
    words = [sys.executable, "-m", "pocketrec", "serve", "--repo", tiny_repo, "--port", "0"]
    done = subprocess.run(
        [*map(str, words), "--workers", "2", "--keys", str(tmp_path / "empty")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=120,
    )
    assert done.returncode == 1
    assert "could not start" in done.stderr
