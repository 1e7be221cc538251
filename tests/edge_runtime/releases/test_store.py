import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pocketrec_bundle.features import History
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.engines import select as engines
from pocketrec_edge.errors import EngineError, StoreError
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.releases.selftest import replay
from pocketrec_edge.releases.store import Store

MODELS = ("ranker", "user_tower")


def only(monkeypatch, engine: str, version: str = "") -> None:
    """Be a phone with one runtime."""
    modules = {"litert": "ai_edge_litert", "onnx": "onnxruntime"}
    monkeypatch.setattr(engines, "runtime", lambda e: modules[e] if e == engine else "")
    monkeypatch.setattr(engines, "runtime_version", lambda _engine: version)


def here(store: Store) -> list[str]:
    """Names of the active release's model files that are in the store."""
    bundle, fault = store.open_active()
    assert bundle is not None and fault is None
    models = [entry.name for entry in bundle.manifest.files if entry.kind == "model"]
    return [name for name in models if bundle.has(name)]


@pytest.mark.parametrize(
    ("engine", "version", "variant"),
    [("litert", "", "dynamic"), ("onnx", "", "dynamic"), ("litert", "2.14.0", "fp16")],
)
def test_a_phone_stores_the_models_that_its_runtime_runs_and_no_others(
    monkeypatch, quantized_release, tmp_path, engine, version, variant
):
    only(monkeypatch, engine, version)
    store = Store(tmp_path)
    sha = store.install_bundle(quantized_release, lambda bundle: replay(bundle, engine))
    assert here(store) == [f"models/{model}.{engine}.{variant}" for model in MODELS]
    assert store.lacks(sha) == []
    others = {e.name for e in open_bundle(quantized_release).manifest.files if e.kind != "model"}
    bundle, _ = store.open_active()
    assert bundle is not None
    assert all(bundle.has(name) for name in others)


def test_after_a_change_of_runtime_the_missing_files_are_known_and_answers_go_on(
    monkeypatch, quantized_release, tmp_path
):
    only(monkeypatch, "litert")
    store = Store(tmp_path)
    sha = store.install_bundle(quantized_release, replay)
    only(monkeypatch, "onnx")
    assert store.lacks(sha) == [f"models/{model}.onnx.dynamic" for model in MODELS]
    bundle, fault = store.open_active()
    assert bundle is not None and fault is None
    slate = Recommender(bundle).recommend(Query(History.empty(), 1_600_000_000))
    assert slate.source == "fallback"
    assert "not on this device" in slate.faults[0].text
    store.install_bundle(quantized_release, replay)
    assert store.lacks(sha) == []
    assert store.active() == (sha, None)


def test_spare_files_come_if_the_needed_ones_fail_the_self_test(
    monkeypatch, quantized_release, tmp_path
):
    only(monkeypatch, "litert")
    real, dynamic = engines.open_engine, open_bundle(quantized_release).manifest
    refused = {dynamic.entry(f"models/{model}.litert.dynamic").sha256 for model in MODELS}

    def refuse(path, engine, threads=1):
        if path.name in refused:
            raise EngineError("refused on purpose")
        return real(path, engine, threads)

    monkeypatch.setattr(engines, "open_engine", refuse)
    store = Store(tmp_path)
    store.install_bundle(quantized_release, replay)
    assert here(store) == [
        f"models/{model}.litert.{variant}"
        for model in MODELS
        for variant in ("dynamic", "fp16", "fp32")
    ]
    bundle, _ = store.open_active()
    assert bundle is not None
    slate = Recommender(bundle).recommend(Query(History.empty(), 1_600_000_000))
    assert (slate.source, slate.faults) == ("model", ())


def test_a_release_that_fails_with_every_file_is_not_activated(
    monkeypatch, quantized_release, tmp_path
):
    only(monkeypatch, "litert")
    asked = []

    def fail(bundle):
        asked.append(len([e for e in bundle.manifest.files if bundle.has(e.name)]))
        raise EngineError("never right")

    store = Store(tmp_path)
    with pytest.raises(EngineError, match="never right"):
        store.install_bundle(quantized_release, fail)
    assert asked[1] - asked[0] == 4  # two more variants of two models
    assert store.active() == (None, None)


def test_a_release_that_just_fits_its_limit_is_installed_and_a_byte_less_refuses_it(
    small_release, tmp_path
):
    needed = engines.needed_files(open_bundle(small_release).manifest)
    n_bytes = sum({entry.sha256: entry.bytes for entry in needed}.values())
    with pytest.raises(StoreError, match=f"{n_bytes:,} bytes; the limit is {n_bytes - 1:,}"):
        Store(tmp_path / "less", limit_bytes=n_bytes - 1).install_bundle(
            small_release, lambda bundle: None
        )
    assert Store(tmp_path / "less").active() == (None, None)
    store = Store(tmp_path / "fits", limit_bytes=n_bytes)
    sha = store.install_bundle(small_release, lambda bundle: None)
    assert store.install_bundle(small_release, lambda bundle: None) == sha  # nothing comes twice


def variant(bundle: Path, to: Path, name: str, padding: bytes = b"") -> Path:
    """The same release under another name, with a file of its own if padding is given."""
    shutil.copytree(bundle, to)
    manifest = json.loads((to / "manifest.json").read_bytes()) | {"name": name}
    if padding:
        sha = hashlib.sha256(padding).hexdigest()
        (to / "files" / sha).write_bytes(padding)
        entry = {"name": "extra", "sha256": sha, "bytes": len(padding), "kind": "x", "meta": {}}
        manifest["files"] = sorted([*manifest["files"], entry], key=lambda each: each["name"])
    (to / "manifest.json").write_text(json.dumps(manifest))
    return to


def accept(bundle) -> None:
    """A self-test that all pass."""


def total(store: Store) -> int:
    return sum(path.stat().st_size for path in store.files.iterdir())


def test_within_the_limit_the_previous_release_goes_before_an_update_is_refused(
    tiny_release, tmp_path
):
    releases = [
        variant(tiny_release, tmp_path / name, name, name.encode() * 50_000) for name in "abc"
    ]
    first = Store(tmp_path / "store")
    _, b = (first.install_bundle(each, accept) for each in releases[:2])
    for_two = total(first)
    c = Store(tmp_path / "store", limit_bytes=for_two).install_bundle(releases[2], accept)
    assert first.active() == (c, b)  # a was gone before c came: there was room for two
    for_one = for_two - 50_000
    refused = Store(tmp_path / "store", limit_bytes=for_one)
    with pytest.raises(StoreError, match=f"the limit is {for_one:,}"):
        refused.install_bundle(releases[0], accept)
    assert first.active() == (c, None)  # b went, and still it was too much
    assert first.open_active()[1] is None
    assert total(first) == for_one


def test_an_install_finds_what_a_killed_one_brought_though_the_limit_is_short(
    tiny_release, tmp_path
):
    a = variant(tiny_release, tmp_path / "a", "a", b"a" * 50_000)
    b = variant(tiny_release, tmp_path / "b", "b", b"b" * 50_000)
    store = Store(tmp_path / "store")
    store.install_bundle(a, accept)
    brought = hashlib.sha256(b"b" * 50_000).hexdigest()
    shutil.copy(b / "files" / brought, store.files / brought)
    orphan = store.files / ("0" * 64)
    orphan.write_bytes(b"x" * 1000)
    needed = total(store) - 1000
    tight, asked = Store(tmp_path / "store", limit_bytes=needed), []

    def fetch(entry, path):
        asked.append(entry.name)

    tight.install((b / "manifest.json").read_bytes(), fetch, accept)
    assert asked == []
    assert not orphan.exists()


def test_partial_transfers_are_kept_for_some_days_and_go_with_the_next_install(
    tiny_release, tmp_path
):
    now = 1_700_000_000
    store = Store(tmp_path / "store", clock=lambda: now)
    a = variant(tiny_release, tmp_path / "a", "a", b"a" * 999)
    store.install_bundle(a, accept)
    wanted, young, old = (store.files / f".{letter * 64}.part" for letter in "abc")
    own = hashlib.sha256(b"b" * 999).hexdigest()
    wanted = store.files / f".{own}.part"
    for path, age in ((wanted, 30), (young, 6), (old, 8)):
        path.write_bytes(b"half")
        os.utime(path, (now - age * 86_400,) * 2)
    b = variant(tiny_release, tmp_path / "b", "b", b"b" * 999)

    def broken(entry, path):
        raise StoreError("the network is gone")

    with pytest.raises(StoreError, match="gone"):
        store.install((b / "manifest.json").read_bytes(), broken, accept)
    assert (wanted.exists(), young.exists(), old.exists()) == (True, True, False)
    store.install_bundle(b, accept)
    assert [path.name for path in store.files.glob(".*")] == []


def test_partial_transfers_count_within_the_limit(tiny_release, tmp_path):
    store = Store(tmp_path / "store")
    store.install_bundle(tiny_release, accept)
    limit = total(store) + 999
    (store.files / f".{'0' * 64}.part").write_bytes(b"x" * 5000)
    b = variant(tiny_release, tmp_path / "b", "b", b"b" * 999)
    Store(tmp_path / "store", limit_bytes=limit).install_bundle(b, accept)
    assert total(store) == limit


def test_what_an_install_brings_is_on_the_disk_before_its_name_is(
    tiny_release, tmp_path, monkeypatch
):
    """Each file, the manifest and the pointer are synced before the rename that shows them."""
    synced, shown = set(), []
    fsync, replace = os.fsync, Path.replace

    def noted(handle):
        synced.add(os.fstat(handle).st_ino)
        fsync(handle)

    def checked(self, target):
        assert self.stat().st_ino in synced, target
        shown.append(Path(target).name)
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "replace", checked)
    store = Store(tmp_path / "store")

    def fetch(entry, path):
        shutil.copyfile(tiny_release / "files" / entry.sha256, path)

    sha = store.install((tiny_release / "manifest.json").read_bytes(), fetch, accept)
    assert shown[-3:] == [f"{sha}.json", "active.json", "popular.json"]
    assert {path.name for path in store.files.iterdir()} == set(shown[:-3])
    folders = {store.files.stat().st_ino, store.releases.stat().st_ino, store.root.stat().st_ino}
    assert folders <= synced


def test_readers_in_other_processes_never_wait_for_installs_and_always_answer(
    tiny_release, tmp_path
):
    releases = [variant(tiny_release, tmp_path / name, name, name.encode() * 9) for name in "abcd"]
    home = tmp_path / "home"
    store = Store(home / "store")
    store.install_bundle(releases[0], accept)
    busy, reading = store.root / "busy", tmp_path / "reading"
    readers = []
    for _ in range(2):
        words = [sys.executable, "-c", READER, str(home), str(busy), str(reading)]
        readers.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
    wait_for(lambda: reading.exists())

    def slow(bundle):  # the lock is held until both readers have answered during it
        busy.write_bytes(b"")
        wait_for(lambda: len(list(store.root.glob("answered-*"))) == len(readers))
        busy.unlink()
        for path in store.root.glob("answered-*"):
            path.unlink()

    for n in range(12):
        store.install_bundle(releases[(n + 1) % 4], slow)
    (home / "stop").write_bytes(b"")
    for reader in readers:
        told = reader.communicate(timeout=60)[0]
        assert reader.returncode == 0, told
        answers = json.loads(told)
        assert answers["faults"] == []
        assert answers["during"] >= 12
        assert set(answers["releases"]) == set("abcd")


def wait_for(holds) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


READER = """
import json, os, sys
from pathlib import Path
from pocketrec_edge.device import Device
home, busy, reading = map(Path, sys.argv[1:])
during, releases, faults = 0, set(), []
while not (home / "stop").exists():
    before = busy.exists()
    phone = Device(home, engine="onnx")
    answer = phone.recommend(log_impressions=False)
    phone.close()
    releases.add(answer.release)
    faults += map(str, answer.faults) if answer.source == "model" else [answer.source]
    reading.write_bytes(b"")
    if before and busy.exists():
        during += 1
        (busy.parent / f"answered-{os.getpid()}").write_bytes(b"")
print(json.dumps({"during": during, "releases": sorted(releases), "faults": faults}))
"""
