"""The real client against the real server over loopback, in one release's life."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
import urllib3
from sqlalchemy import select

from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_edge.errors import SyncError
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync.client import sync
from pocketrec_server.errors import KeysInvalidError, RepositoryInvalidError
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish, refresh
from pocketrec_server.storage.database import open_database
from pocketrec_server.storage.tables import EVENT


def accept(bundle) -> None:
    """A self-test that looks at the release and accepts it."""
    assert bundle.item_count == 300


@pytest.fixture
def server(published, tmp_path):
    """Address of a real server process over the repository; ended after the test."""
    port_file = tmp_path / "port"
    words = [sys.executable, "-m", "pocketrec", "serve", "--repo", str(published[0])]
    child = subprocess.Popen([*words, "--port", "0", "--port-file", str(port_file)])
    end = time.monotonic() + 30
    while not port_file.exists() and time.monotonic() < end:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port_file.read_text()}"
    child.terminate()
    child.wait()


@pytest.fixture
def second_release(small_release, tmp_path):
    """The small release under another name."""
    folder = tmp_path / "second"
    shutil.copytree(small_release, folder)
    value = json.loads((folder / "manifest.json").read_bytes())
    value["name"] = "second"
    (folder / "manifest.json").write_text(json.dumps(value))
    return folder


def root_of(repo):
    return repo / "metadata" / "1.root.json"


def test_first_sync_then_nothing_new_then_only_what_changed(
    published, server, second_release, tmp_path
):
    repo, signers = published
    home = tmp_path / "phone"
    first = sync(home, server, accept, root_path=root_of(repo))
    assert (first.status, first.from_release) == ("updated", None)
    again = sync(home, server, accept)
    assert (again.status, again.files_fetched, again.requests) == ("current", 0, 1)
    assert again.bytes_down <= 2000
    publish(second_release, repo, signers, "stable")
    second = sync(home, server, accept)
    assert (second.status, second.files_fetched) == ("updated", 0)
    assert second.bytes_down < first.bytes_down / 3
    assert Store(home / "store").active() == (second.to_release, first.to_release)


def test_server_gone_leaves_what_was_there(published, server, tmp_path):
    home = tmp_path / "phone"
    sync(home, server, accept, root_path=root_of(published[0]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(SyncError, match=r":\d+: [a-zA-Z].*\. The release on this phone stays"):
        sync(home, f"http://127.0.0.1:{port}", accept)
    assert Store(home / "store").open_active()[1] is None


@pytest.mark.parametrize(
    "name", ["timestamp.json", "2.snapshot.json", "1.targets.json", "2.stable.json"]
)
def test_metadata_changed_on_the_server_is_refused(published, server, tmp_path, name):
    path = published[0] / "metadata" / name
    version = b'"version":1' if name == "1.targets.json" else b'"version":2'
    path.write_bytes(path.read_bytes().replace(version, b'"version":7'))
    with pytest.raises(SyncError, match="not to be trusted"):
        sync(tmp_path / "phone", server, accept, root_path=root_of(published[0]))
    assert Store(tmp_path / "phone" / "store").active() == (None, None)


def test_metadata_signed_with_other_keys_is_refused(published, server, small_release, tmp_path):
    make_keys(tmp_path / "other-keys")
    other = tmp_path / "other"
    found_repository(other, load_signers(tmp_path / "other-keys"))
    publish(small_release, other, load_signers(tmp_path / "other-keys"), "stable")
    with pytest.raises(SyncError, match="not to be trusted"):
        sync(tmp_path / "phone", server, accept, root_path=root_of(other))


def test_file_changed_on_the_server_is_refused(published, server, tmp_path):
    files = sorted((published[0] / "targets" / "files").iterdir(), key=lambda p: p.stat().st_size)
    data = bytearray(files[-1].read_bytes())
    data[len(data) // 2] ^= 1
    files[-1].write_bytes(data)
    with pytest.raises(SyncError, match="not to be trusted"):
        sync(tmp_path / "phone", server, accept, root_path=root_of(published[0]))
    assert Store(tmp_path / "phone" / "store").active() == (None, None)


def test_older_metadata_is_refused(published, server, tmp_path):
    repo, signers = published
    old = (repo / "metadata" / "timestamp.json").read_bytes()
    refresh(repo, signers, everything=True)
    home = tmp_path / "phone"
    sync(home, server, accept, root_path=root_of(repo))
    (repo / "metadata" / "timestamp.json").write_bytes(old)
    with pytest.raises(SyncError, match="not to be trusted"):
        sync(home, server, accept)


def test_events_go_up_once_and_only_with_consent(published, server, tmp_path):
    home = tmp_path / "phone"
    log = EventLog(home / "events.sqlite")
    for i in range(700):
        log.append(f"item-{i}", "like", ts=i)
    assert sync(home, server, accept, root_path=root_of(published[0])).events_sent == 0
    assert sync(home, server, accept, consent=True).events_sent == 700
    assert sync(home, server, accept, consent=True).events_sent == 0
    log.append("later", "like", ts=701)
    log.set_consent(False)
    assert sync(home, server, accept).events_sent == 0
    engine = open_database(f"sqlite:///{published[0] / 'server.sqlite'}")
    with engine.connect() as connection:
        assert len(connection.execute(select(EVENT)).all()) == 700


def post(server, body):
    reply = urllib3.request("POST", f"{server}/v1/events", json=body)
    return reply.status, reply.json()


def test_bad_events_are_named_and_the_good_ones_kept(server):
    good = {"id": "a", "kind": "interaction", "item_id": "x", "event": "like", "ts": 5}
    bad = [{**good, "ts": "x"}, {**good, "id": ""}, {**good, "value": 1e301}, 7]
    body = {"install_id": "0123456789", "consent": True, "events": [good, *bad]}
    status, answer = post(server, body | {"events": [good, *bad[:2], 7]})
    assert (status, answer["accepted"], len(answer["rejected"])) == (200, ["a"], 3)
    assert post(server, body | {"consent": "yes"})[0] == 403
    assert post(server, body | {"install_id": 5})[0] == 400
    assert post(server, body | {"events": [good] * 1001})[0] == 413
    assert post(server, ["x"])[0] == 400


def test_server_hands_out_nothing_else(published, server):
    for path in ("metadata/../server.sqlite", "targets/..%2fserver.sqlite", "metadata/%2e%2e/lock"):
        assert urllib3.request("GET", f"{server}/{path}", redirect=False).status == 404
    health = urllib3.request("GET", f"{server}/healthz").json()
    assert (health["status"], health["published"]) == ("ok", True)
    assert b"pocketrec_requests_total" in urllib3.request("GET", f"{server}/metrics").data
    etag = urllib3.request("GET", f"{server}/metadata/timestamp.json").headers["ETag"]
    again = urllib3.request(
        "GET", f"{server}/metadata/timestamp.json", headers={"If-None-Match": etag}
    )
    assert again.status == 304


def test_port_in_use_is_one_clear_message(published):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        words = [sys.executable, "-m", "pocketrec", "serve", "--repo", str(published[0])]
        done = subprocess.run([*words, "--port", port], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot listen" in done.stderr
    assert "Traceback" not in done.stderr


def test_publish_refuses_foreign_keys_damaged_bundles_and_odd_channels(
    published, small_release, tmp_path
):
    repo, signers = published
    make_keys(tmp_path / "other-keys")
    with pytest.raises(RepositoryInvalidError, match="not this repository's"):
        publish(small_release, repo, load_signers(tmp_path / "other-keys"), "stable")
    with pytest.raises(InputError, match="channel"):
        publish(small_release, repo, signers, "../x")
    broken = tmp_path / "broken"
    shutil.copytree(small_release, broken)
    next((broken / "files").iterdir()).write_bytes(b"x")
    with pytest.raises(BundleInvalidError):
        publish(broken, repo, signers, "stable")
    assert not publish(small_release, repo, signers, "stable").changed


def test_keys_are_private_encrypted_on_request_and_never_overwritten(tmp_path, monkeypatch):
    monkeypatch.setenv("POCKETREC_KEY_PASSPHRASE", "correct horse battery")
    paths = make_keys(tmp_path, passphrase=os.environ["POCKETREC_KEY_PASSPHRASE"])
    assert {p.stat().st_mode & 0o777 for p in paths} == {0o600}
    assert b"ENCRYPTED" in paths[0].read_bytes()
    assert load_signers(tmp_path)["targets"].public_key.keytype == "ed25519"
    monkeypatch.setenv("POCKETREC_KEY_PASSPHRASE", "wrong")
    with pytest.raises(KeysInvalidError, match="PASSPHRASE is wrong"):
        load_signers(tmp_path)["targets"]
    with pytest.raises(InputError, match="no key was changed"):
        make_keys(tmp_path)


PUBLISHER = """
import os, signal, sys
from pathlib import Path
steps = int(sys.argv[4])
def counted(function):
    def call(*args, **kwargs):
        global steps
        steps -= 1
        if steps < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call
Path.replace = counted(Path.replace)
os.fsync = counted(os.fsync)
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import publish
publish(Path(sys.argv[1]), Path(sys.argv[2]), load_signers(Path(sys.argv[3])), "stable")
"""


def test_killed_at_any_step_of_a_publish_devices_see_old_or_new(
    published, server, second_release, tmp_path
):
    repo, signers = published
    home = tmp_path / "phone"
    first = sync(home, server, accept, root_path=root_of(repo)).to_release
    killed = 0
    for steps in range(60):
        words = [sys.executable, "-c", PUBLISHER, str(second_release), str(repo)]
        done = subprocess.run(
            [*words, str(tmp_path / "keys"), str(steps)], capture_output=True, check=False
        )
        report = sync(home, server, accept)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        killed += 1
        if report.to_release != first:
            break  # killed after the timestamp's rename: the publish took effect
    assert killed >= 5
    publish(second_release, repo, signers, "stable")
    assert sync(home, server, accept).to_release != first
