"""Hints over real sockets: a device that listens pulls, and a hint can do no more than that."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest
import urllib3

from pocketrec_edge.errors import SyncError
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync.client import sync
from pocketrec_edge.sync.hints import hints, known
from pocketrec_server.app import create_app
from pocketrec_server.delivery.hints import HEARTBEAT_S
from pocketrec_server.process import MOST_LISTENERS, MOST_OF_NETWORK
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import change_policy, halt, publish, read_policy
from pocketrec_server.settings import Settings


@pytest.fixture
def repo(tiny_repo):
    """The repository of a channel whose devices follow a hint at once."""
    signers = load_signers(tiny_repo.parent / "keys")
    change_policy(
        tiny_repo,
        signers,
        "stable",
        lambda policy: replace(policy, sync=replace(policy.sync, spread_s=0)),
    )
    return tiny_repo


def first(address: str, last: str | None, channel: str = "stable") -> str:
    """The first hint."""
    end = time.monotonic() + 60
    with closing(hints(address, channel, last, 60)) as found:
        for hint in found:
            if hint is not None:
                return hint
            assert time.monotonic() < end
    raise AssertionError("the stream ended")


def wait_for(holds) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_a_device_that_watches_takes_a_publish_at_once_though_it_checks_once_a_day(
    repo, start_server, renamed_release, tmp_path, options
):
    address, child = start_server(repo, *options)
    root = repo / "metadata" / "1.root.json"
    words = [sys.executable, "-m", "pocketrec", "device", "watch", "--home", tmp_path / "phone"]
    words += ["--server", address, "--root", root, "--engine", "onnx", "--updates", "2", "--json"]
    watching = subprocess.Popen(
        list(map(str, words)),
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline())["status"] == "updated"
    listeners = "pocketrec_hint_listeners 1.0"
    wait_for(lambda: listeners in urllib3.request("GET", f"{address}/metrics").data.decode())
    publish(renamed_release("second"), repo, load_signers(repo.parent / "keys"), "stable")
    told = watching.communicate(timeout=60)[0].splitlines()
    assert watching.returncode == 0
    newest = read_policy(repo, "stable").releases[0].manifest
    assert json.loads(told[-1])["to_release"] == newest
    assert Store(tmp_path / "phone" / "store").active()[0] == newest
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 0


def test_hints_are_of_one_channel_and_of_halts_and_nothing_is_missed_in_between(
    repo, start_server, tmp_path
):
    address, _ = start_server(repo)
    signers = load_signers(repo.parent / "keys")
    home = tmp_path / "phone"
    sync(home, address, lambda bundle: None, root_path=repo / "metadata" / "1.root.json")
    before = known(PhoneHome(home), "stable")
    manifest = read_policy(repo, "stable").releases[0].manifest
    halt(repo, signers, "stable", manifest, "odd slates")
    assert first(address, before) != before  # it came while nobody listened
    sync(home, address, lambda bundle: None)
    after = known(PhoneHome(home), "stable")
    assert first(address, before) == after
    got = []
    listening = threading.Thread(target=lambda: got.append(first(address, after)))
    listening.start()
    change_policy(repo, signers, "beta", lambda p: replace(p, sync=replace(p.sync, spread_s=7)))
    listening.join(2)
    assert got == []  # another channel's
    change_policy(repo, signers, "stable", lambda p: replace(p, sync=replace(p.sync, spread_s=7)))
    listening.join(60)
    assert got and got[0] not in (before, after)


def listen(address, source="127.0.0.1", more=b""):
    """Ask for hints from one of this machine's networks: the connection and the answer's head."""
    host, port = address.removeprefix("http://").split(":")
    client = socket.create_connection((host, int(port)), source_address=(source, 0))
    client.sendall(b"GET /v1/hints HTTP/1.1\r\nHost: x\r\n\r\n" + more)
    return client, client.recv(1000)


def fill(address, networks=range(MOST_LISTENERS // MOST_OF_NETWORK), more=b""):
    """Take all places, those of each network in turn."""
    sources = [f"127.0.{n}.2" for n in networks for _ in range(MOST_OF_NETWORK)]
    found = [listen(address, source, more) for source in sources]
    assert all(head.startswith(b"HTTP/1.1 200") for _, head in found)
    return [client for client, _ in found]


def test_listeners_are_few_and_others_are_still_served(repo, start_server):
    address, child = start_server(repo)
    open_ = fill(address)
    with pytest.raises(SyncError, match="503"):
        first(address, None)
    assert urllib3.request("GET", f"{address}/metadata/timestamp.json").status == 200
    child.send_signal(signal.SIGTERM)  # they do not hold up an orderly end
    assert child.wait(10) == 0
    for client in open_:
        client.close()


def test_one_network_cannot_hold_all_places(repo, start_server):
    address, _ = start_server(repo)
    open_ = fill(address, [7])
    for source in ("127.0.7.2", "127.0.7.3"):
        client, head = listen(address, source)
        assert head.startswith(b"HTTP/1.1 503")
        client.close()
    client, head = listen(address, "127.0.8.2")
    assert head.startswith(b"HTTP/1.1 200")
    for each in (*open_, client):
        each.close()


@pytest.mark.parametrize("more", [b"", 3 * b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_the_place_of_a_device_that_hangs_up_is_free_long_before_the_next_heartbeat(
    repo, start_server, more
):
    assert HEARTBEAT_S > 10
    address, _ = start_server(repo)
    for client in fill(address, [7], more):
        client.close()
    end = time.monotonic() + HEARTBEAT_S - 2
    while True:
        client, head = listen(address, "127.0.7.2")
        if head.startswith(b"HTTP/1.1 200"):
            break
        client.close()
        assert time.monotonic() < end
        time.sleep(0.1)
    client.close()


def test_a_listener_that_leaves_gives_its_place_to_another(repo, monkeypatch):
    monkeypatch.setattr("pocketrec_server.delivery.hints.HEARTBEAT_S", 0.0)
    monkeypatch.setattr("pocketrec_server.delivery.hints.POLL_S", 0.0)
    client = create_app(Settings(repo=repo, log_requests=False)).test_client()
    streams = [client.get("/v1/hints") for _ in range(MOST_OF_NETWORK)]
    heard = iter(streams[0].response)
    assert [next(heard), next(heard), next(heard)] == [b": listening\n\n", b":\n\n", b":\n\n"]
    assert client.get("/v1/hints").status_code == 503
    streams[0].close()
    again = client.get("/v1/hints")
    assert again.status_code == 200
    for stream in (*streams[1:], again):
        stream.close()


def test_a_head_request_takes_no_place(repo, start_server):
    address, _ = start_server(repo)
    for _ in range(MOST_LISTENERS + 1):
        reply = urllib3.request("HEAD", f"{address}/v1/hints", headers={"Connection": "close"})
        assert reply.status == 200
    assert urllib3.request("GET", f"{address}/v1/hints?channel=../x").status == 400


def answer_with(data: bytes) -> str:
    """Address of a server that answers one request with these bytes, and then says no more."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        client.recv(1 << 16)
        client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + data)
        client.close()
        listener.close()

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", []),
        (b": hello\n\n", [None, None]),
        (b"id: 7.2\nevent: publish\ndata: x\n\n", ["7.2"]),
        (b"id: 7.2\r\nevent: publish\r\n\r\n", ["7.2"]),
        (b"event: publish\n\nid: 3\nevent: other\n\n", ["", None]),
        (b"id: \xff\nevent: publish\n\n", ["?"]),
        (b"id: 1\nevent: publish", []),
    ],
)
def test_what_a_stream_says(data, found):
    heard = list(hints(answer_with(data), "stable", None, 60))
    assert [each for each in heard if each is not None] == [e for e in found if e is not None]


def test_a_stream_without_lines_is_left():
    with pytest.raises(SyncError, match="did not send hints"):
        list(hints(answer_with(b"x" * 5000), "stable", None, 60))


def test_a_server_that_is_gone_or_silent_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SyncError):
            list(hints(address, "stable", None, 0.2))
    with pytest.raises(SyncError):
        list(hints(address, "stable", None, 5))


def test_what_a_device_knows_is_nothing_where_its_metadata_is_damaged(tmp_path):
    assert known(PhoneHome(tmp_path), "stable") is None
    (tmp_path / "tuf").mkdir()
    for data in ("", "[]", '{"signed": {"meta": []}}', '{"signed": {"meta": {"stable.json": 1}}}'):
        (tmp_path / "tuf" / "snapshot.json").write_text(data)
        assert known(PhoneHome(tmp_path), "stable") is None
