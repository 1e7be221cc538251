"""A phone that stays open answers from whatever release is active now."""

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from benchmarks.support import command_line
from pocketrec_edge.device import Device
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.releases import blocklist
from pocketrec_edge.releases.selftest import replay
from pocketrec_edge.releases.store import Store
from pocketrec_edge.running import Running
from pocketrec_edge.sync.client import sync
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish

NOW = 1_700_000_000


def opened(home: Path) -> Device:
    return Device(home, engine="onnx", clock=lambda: NOW)


def accept(bundle) -> None:
    pass


@pytest.fixture
def other(tiny_release, tmp_path) -> Path:
    folder = tmp_path / "other"
    shutil.copytree(tiny_release, folder)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"name": "other"}))
    return folder


def test_a_phone_answers_from_what_it_has_just_installed(tiny_release, other, tmp_path):
    phone = opened(tmp_path)
    assert [*map(str, phone.recommend().faults)] == ["no release is installed"]
    sha = phone.install(tiny_release)
    answer = phone.recommend()
    assert (answer.release, answer.source, answer.faults) == ("tiny", "model", ())
    assert phone.status().active == sha
    phone.install(other)
    assert phone.explain().release == "other"
    assert phone.interests().offered
    phone.close()


def test_the_first_question_after_an_install_may_be_any(tiny_release, tmp_path):
    for name, ask in {
        "status": lambda phone: phone.status().release,
        "explain": lambda phone: phone.explain().release,
        "interests": lambda phone: phone.interests().offered,
        "choose": lambda phone: phone.set_interests(["drama"]) or phone.interests().chosen,
        "recommend": lambda phone: phone.recommend().items,
    }.items():
        phone = opened(tmp_path / name)
        phone.install(tiny_release)
        assert ask(phone), name
        phone.close()


def test_a_sync_of_another_process_is_seen_by_the_open_phone(tiny_release, other, tmp_path):
    make_keys(tmp_path / "keys")
    signers = load_signers(tmp_path / "keys")
    found_repository(tmp_path / "repo", signers)
    publish(tiny_release, tmp_path / "repo", signers, "stable")
    root = tmp_path / "repo" / "metadata" / "1.root.json"
    home = tmp_path / "phone"
    phone = opened(home)
    assert phone.recommend().source == "none"
    with command_line.server(tmp_path / "repo", tmp_path) as url:
        sync(home, url, lambda bundle: replay(bundle, "onnx"), root_path=root)
        assert phone.recommend().release == "tiny"
        publish(other, tmp_path / "repo", signers, "stable")
        words = ["device", "sync", "--home", home, "--server", url, "--engine", "onnx", "--anyway"]
        done = subprocess.run([sys.executable, "-m", "pocketrec", *map(str, words)])
    assert done.returncode == 0
    answer = phone.recommend()
    assert (answer.release, answer.source) == ("other", "model")
    phone.close()


def test_a_sync_fetches_a_damaged_file_again_and_the_open_phone_uses_it(tiny_release, tmp_path):
    make_keys(tmp_path / "keys")
    signers = load_signers(tmp_path / "keys")
    found_repository(tmp_path / "repo", signers)
    publish(tiny_release, tmp_path / "repo", signers, "stable")
    root, home = tmp_path / "repo" / "metadata" / "1.root.json", tmp_path / "phone"
    with command_line.server(tmp_path / "repo", tmp_path) as url:

        def synced():
            return sync(home, url, lambda bundle: replay(bundle, "onnx"), root_path=root)

        sha = synced().to_release
        store = Store(home / "store")
        assert sha is not None
        path = store.files / store.read_manifest(sha).entry("catalogue.sqlite").sha256
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        phone = opened(home)
        assert "catalogue.sqlite" in phone.recommend().faults[0].text
        report = synced()
    assert (report.status, report.files_fetched, path.read_bytes()) == ("updated", 1, data)
    answer = phone.recommend()
    assert (answer.source, answer.faults) == ("model", ())
    assert all(item.title.startswith("Title") for item in answer.items)
    phone.close()


def test_a_page_of_a_list_never_repeats_across_releases(tiny_release, other, tmp_path):
    phone = opened(tmp_path)
    phone.install(tiny_release)
    one = phone.recommend(page=1)
    phone.install(other)
    two = phone.recommend(page=2, session=one.session)
    ids = [{item.item_id for item in page.items} for page in (one, two)]
    assert two.release == "other" and not ids[0] & ids[1] and all(ids)


def test_models_are_loaded_once_a_release(tiny_release, other, tmp_path, monkeypatch):
    loaded = []
    load = Running._loaded

    def counted(self, bundle):
        loaded.append(bundle.manifest.name)
        return load(self, bundle)

    monkeypatch.setattr(Running, "_loaded", counted)
    phone = opened(tmp_path)
    phone.install(tiny_release)
    for _ in range(3):
        phone.recommend()
        phone.status()
    phone.install(tiny_release)  # the same again: the pointer is written, nothing is new
    phone.recommend()
    Store(tmp_path / "store").install_bundle(other, accept)
    for _ in range(3):
        phone.recommend()
    assert loaded == ["tiny", "other"]


def test_a_release_that_is_killed_while_the_phone_is_open_runs_no_model(tiny_release, tmp_path):
    phone = opened(tmp_path)
    sha = phone.install(tiny_release)
    assert phone.recommend().source == "model"
    blocklist.set_killed(PhoneHome(tmp_path), frozenset({sha}))
    answer = phone.recommend()
    assert (answer.source, len(answer.items)) == ("fallback", 5)
    assert any("its lists answer" in fault.text for fault in phone.status().faults)
    blocklist.set_killed(PhoneHome(tmp_path), frozenset())
    assert phone.recommend().source == "model"


def test_threads_that_share_a_phone_are_answered_by_whole_releases(
    tiny_release, other, tmp_path, monkeypatch
):
    load, is_loading = Running._loaded, Event()

    def slow(self, bundle):
        is_loading.set()
        time.sleep(0.2)  # others ask meanwhile
        return load(self, bundle)

    phone = opened(tmp_path)
    phone.install(tiny_release)
    phone.recommend()
    monkeypatch.setattr(Running, "_loaded", slow)
    Store(tmp_path / "store").install_bundle(other, accept)
    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(phone.recommend)]
        assert is_loading.wait(9)
        asked += [threads.submit(phone.recommend) for _ in range(2)]
        answers = [each.result() for each in asked]
    assert {(one.release, one.source) for one in answers} == {("other", "model")}
    phone.close()


def test_a_phone_with_a_bundle_folder_keeps_it(tiny_release, other, tmp_path):
    phone = Device(tmp_path, engine="onnx", bundle=tiny_release, clock=lambda: NOW)
    phone.install(other)
    assert phone.recommend().release == "tiny"


def test_a_store_that_is_removed_leaves_a_fault_and_comes_back(tiny_release, tmp_path):
    phone = opened(tmp_path)
    phone.install(tiny_release)
    assert phone.recommend().items
    aside = tmp_path / "aside"
    (tmp_path / "store").rename(aside)
    assert [*map(str, phone.recommend().faults)] == ["no release is installed"]
    aside.rename(tmp_path / "store")
    assert phone.recommend().source == "model"


def test_looking_for_another_release_takes_two_calls_of_stat(tiny_release, tmp_path, monkeypatch):
    phone = opened(tmp_path)
    phone.install(tiny_release)
    phone.recommend()
    asked, stat = [], os.stat

    def counted(path, *args, **kwargs):
        asked.append(path)
        return stat(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", counted)
    monkeypatch.setattr(os, "open", None)
    phone._running.refresh()
    assert [Path(path).name for path in asked] == ["active.json", "refused.json"]
