import hashlib
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from pocketrec.cli import main
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_edge.device import Device
from pocketrec_edge.errors import EventLogError, StoreError
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.releases.store import Store


def test_phone_without_a_release_answers_with_an_empty_slate(tmp_path):
    answer = Device(tmp_path).recommend()
    assert answer.items == ()
    assert [*map(str, answer.faults)] == ["no release is installed"]


def test_install_then_recommend_feedback_status(small_release, tmp_path):
    phone = Device(tmp_path)
    sha = phone.install(small_release)
    phone = Device(tmp_path)
    before = phone.recommend()
    phone.feedback(before.items[0].item_id, "like")
    after = phone.recommend()
    assert after.history == 1
    ids = [i.item_id for i in after.items]
    assert before.items[0].item_id not in ids
    status = phone.status()
    assert (status.active, status.plain()["interactions"], status.plain()["events"]) == (sha, 1, 23)
    assert status.faults == ()


def test_an_app_may_ask_for_what_was_had_before_or_for_new_items_only(
    small_release, tmp_path, runner
):
    Device(tmp_path).install(small_release)
    phone = Device(tmp_path)
    liked = {item.item_id for item in phone.recommend(50).items[:20]}
    for item_id in liked:
        phone.feedback(item_id, "like")
    by_default, new, every = (
        {item.item_id for item in phone.recommend(50, exclude_seen=seen).items}
        for seen in (None, True, False)
    )
    assert not liked & (by_default | new)
    assert liked & every
    words = ["device", "recommend", "--home", str(tmp_path), "-k", "50", "--json", "--again"]
    told = json.loads(runner.invoke(main, words).output)
    assert {item["item_id"] for item in told["items"]} == every


def test_damaged_active_release_falls_back_to_the_previous_one(small_release, tmp_path):
    store = Store(tmp_path / "store")
    first = store.install_bundle(small_release, lambda bundle: None)
    second_dir = tmp_path / "second"
    shutil.copytree(small_release, second_dir)
    manifest = json.loads((second_dir / "manifest.json").read_bytes())
    manifest["name"] = "second"
    (second_dir / "manifest.json").write_text(json.dumps(manifest))
    second = store.install_bundle(second_dir, lambda bundle: None)
    assert store.active() == (second, first)
    (store.releases / f"{second}.json").write_text("{}")
    answer = Device(tmp_path).recommend()
    assert answer.release == "small"
    assert len(answer.items) == 10
    assert "changed on the disk" in answer.faults[0].text


def damage(store: Store, sha: str, name: str) -> None:
    """Change one byte in the middle of a release's file; its size stays."""
    path = store.files / store.read_manifest(sha).entry(name).sha256
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def test_a_large_file_found_damaged_after_the_first_slate_is_left_for_the_previous_release(
    small_release, tmp_path, monkeypatch
):
    monkeypatch.setattr("pocketrec_bundle.reader.LARGE_BYTES", 1)
    store = Store(tmp_path / "store")
    store.install_bundle(small_release, lambda bundle: None)
    other = tmp_path / "other"
    shutil.copytree(small_release, other)
    manifest = json.loads((other / "manifest.json").read_bytes())
    rows = next(entry for entry in manifest["files"] if entry["name"] == "index/rows")
    data = bytearray((other / "files" / rows["sha256"]).read_bytes())
    data[-1] ^= 1
    rows["sha256"] = hashlib.sha256(data).hexdigest()
    (other / "files" / rows["sha256"]).write_bytes(data)
    manifest["name"] = "other"
    (other / "manifest.json").write_text(json.dumps(manifest))
    damage(store, store.install_bundle(other, lambda bundle: None), "index/rows")
    phone = Device(tmp_path)
    assert phone.recommend().release == "other"
    assert phone._running.integrity_check is not None
    phone._running.integrity_check.wait()
    answer = phone.recommend()
    assert answer.release == "small"
    assert "index/rows: its SHA-256 differs" in answer.faults[0].text
    assert phone.status().faults == answer.faults
    phone.close()


def test_a_damaged_large_file_of_the_only_release_is_a_fault_and_answers_go_on(
    small_release, tmp_path, monkeypatch
):
    monkeypatch.setattr("pocketrec_bundle.reader.LARGE_BYTES", 1)
    store = Store(tmp_path / "store")
    damage(store, store.install_bundle(small_release, lambda bundle: None), "index/rows")
    phone = Device(tmp_path)
    assert phone.recommend().faults == ()
    assert phone._running.integrity_check is not None
    phone._running.integrity_check.wait()
    answer = phone.recommend()
    assert (len(answer.items), answer.release) == (10, "small")
    assert "index/rows: its SHA-256 differs" in answer.faults[0].text


def test_a_damaged_model_is_never_loaded(small_release, tmp_path, monkeypatch):
    monkeypatch.setattr("pocketrec_bundle.reader.LARGE_BYTES", 1)
    store = Store(tmp_path / "store")
    sha = store.install_bundle(small_release, lambda bundle: None)
    name = next(e.name for e in store.read_manifest(sha).files if e.kind == "model")
    damage(store, sha, name)
    opened = []
    monkeypatch.setattr(
        "pocketrec_edge.engines.select.open_engine", lambda path, *_: opened.append(path)
    )
    answer = Device(tmp_path).recommend()
    assert (answer.source, len(answer.items)) == ("fallback", 10)
    assert f"{name}: its SHA-256 differs" in answer.faults[0].text
    assert store.files / store.read_manifest(sha).entry(name).sha256 not in opened


def test_release_that_fails_its_self_test_is_not_activated(small_release, tmp_path):
    store = Store(tmp_path / "store")

    def refuse(bundle):
        raise BundleInvalidError("refused on purpose")

    with pytest.raises(BundleInvalidError, match="on purpose"):
        store.install_bundle(small_release, refuse)
    assert store.active() == (None, None)


def test_a_file_of_many_names_is_installed_once(small_release, tmp_path):
    manifest = json.loads((small_release / "manifest.json").read_bytes())
    last = manifest["files"][-1]
    manifest["files"] += [{**last, "name": f"z/{i}"} for i in range(5)]
    brought = []

    def fetch(entry, target):
        brought.append(entry.sha256)
        target.write_bytes((small_release / "files" / entry.sha256).read_bytes())

    store = Store(tmp_path)
    store.install(json.dumps(manifest).encode(), fetch, lambda bundle: None)
    assert len(brought) == len(set(brought)) == len(list(store.files.iterdir()))


def test_two_installers_at_once_one_is_refused(small_release, tmp_path):
    store = Store(tmp_path / "store")

    def install_again(bundle):
        with pytest.raises(StoreError, match="another install"):
            Store(tmp_path / "store").install_bundle(small_release, lambda bundle: None)

    store.install_bundle(small_release, install_again)
    assert store.active()[0]


def test_event_is_stored_once_however_often_it_comes(tmp_path):
    log = EventLog(tmp_path / "e.sqlite")
    log.set_consent(True)
    for _ in range(3):
        log.append("a", "like", ts=5, event_id="one")
    status = log.status()
    assert (status.events, status.interactions, status.pending) == (1, 1, 1)
    batch = log.next_batch(10)
    assert batch is not None
    log.acknowledge(batch)
    assert log.pending(10) == []


def test_locked_log_is_a_fault_and_the_slate_still_comes(small_release, tmp_path, monkeypatch):
    monkeypatch.setattr("pocketrec_edge.events.log._BUSY_MS", 50)
    phone = Device(tmp_path, bundle=small_release)
    other = sqlite3.connect(tmp_path / "events.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    answer = phone.recommend()
    assert len(answer.items) == 10
    assert "locked" in answer.faults[0].text
    with pytest.raises(EventLogError, match="locked"):
        phone.feedback("item-1", "like")
    other.execute("ROLLBACK")
    other.close()
    phone.feedback("item-1", "like")


def test_log_that_is_no_database_is_a_fault(small_release, tmp_path):
    (tmp_path / "events.sqlite").write_bytes(b"x" * 5000)
    answer = Device(tmp_path, bundle=small_release).recommend()
    assert len(answer.items) == 10
    assert "not a database" in answer.faults[0].text


APPENDER = """
import sys
from pathlib import Path
from pocketrec_edge.events.log import EventLog
log = EventLog(Path(sys.argv[1]))
for i in range(100_000):
    log.append(f"item-{i}", "like", ts=i)
    print(i, flush=True)
"""


def test_killed_while_appending_loses_no_acknowledged_event(tmp_path):
    path = tmp_path / "e.sqlite"
    child = subprocess.Popen([sys.executable, "-c", APPENDER, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"0\n"
    time.sleep(0.3)
    child.send_signal(signal.SIGKILL)
    out, _ = child.communicate()
    acknowledged = 1 + out.count(b"\n")
    assert EventLog(path).status().events >= acknowledged


INSTALLER = """
import os, signal, sys
from pathlib import Path
steps = int(sys.argv[3])
def counted(function):
    def call(*args, **kwargs):
        global steps
        steps -= 1
        if steps < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call
os.fsync = counted(os.fsync)
Path.replace = counted(Path.replace)
Path.unlink = counted(Path.unlink)
from pocketrec_edge.releases.store import Store
Store(Path(sys.argv[1])).install_bundle(Path(sys.argv[2]), lambda bundle: None)
"""


def test_killed_at_any_step_of_an_install_a_verified_release_answers(small_release, tmp_path):
    """Kill -9 at step 0, 5, 10, ... of the second install, until one gets through."""
    second_dir = tmp_path / "second"
    shutil.copytree(small_release, second_dir)
    manifest = json.loads((second_dir / "manifest.json").read_bytes())
    manifest["name"] = "second"
    (second_dir / "manifest.json").write_text(json.dumps(manifest))
    base = tmp_path / "base"
    Store(base).install_bundle(small_release, lambda bundle: None)
    for path in list((base / "files").iterdir())[::2]:
        path.unlink()  # the second install must bring these again
    killed = 0
    for steps in range(0, 500, 5):
        root = tmp_path / f"store-{steps}"
        shutil.copytree(base, root)
        words = [sys.executable, "-c", INSTALLER, str(root), str(second_dir), str(steps)]
        done = subprocess.run(words, capture_output=True, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        killed += 1
        Store(root).install_bundle(second_dir, lambda bundle: None)
        bundle, fault = Store(root).open_active()
        assert bundle is not None and bundle.manifest.name == "second"
        assert fault is None
    else:
        pytest.fail("the install never got through")
    assert killed >= 5
