"""One flipped byte in any file of a phone's store: a slate comes, and the fault has its name."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pocketrec.cli import main
from pocketrec_bundle.manifest import Manifest
from pocketrec_edge.device import Device
from pocketrec_edge.errors import RequestInvalidError
from pocketrec_edge.recommend import popular_list
from pocketrec_edge.recommend.filters import Filters
from pocketrec_edge.releases.selftest import replay
from pocketrec_edge.releases.store import Store

NOW = 1_700_000_000
SLATE = 5  # of the tiny release


@pytest.fixture
def folder(tiny_release) -> Path:
    """A bundle with every file that a release can have."""
    return tiny_release


@pytest.fixture
def home(folder, tmp_path) -> Path:
    phone = opened(tmp_path / "phone")
    phone.install(folder)
    phone.close()
    return tmp_path / "phone"


def opened(home: Path) -> Device:
    return Device(home, engine="onnx", clock=lambda: NOW, rng=np.random.default_rng(1))


def renamed(folder: Path, to: Path) -> Path:
    """The same release under another name: both share all files."""
    shutil.copytree(folder, to)
    manifest = json.loads((to / "manifest.json").read_bytes())
    (to / "manifest.json").write_text(json.dumps(manifest | {"name": "next"}))
    return to


def flip(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    data[int((len(data) - 1) * at)] ^= 1
    path.write_bytes(data)


def blob(home: Path, name: str) -> Path:
    return Store(home / "store").files / manifest(home).entry(name).sha256


def manifest(home: Path) -> Manifest:
    store = Store(home / "store")
    active, _ = store.active()
    assert active is not None
    return store.read_manifest(active)


def expected_source(name: str) -> str:
    if name in ("catalogue.sqlite", "model_card.json") or name.startswith("golden"):
        return "model"
    return "retrieval" if name.startswith("models/ranker") else "fallback"


def test_a_flipped_byte_in_any_file_of_the_only_release_leaves_a_slate_and_is_named(home):
    files = manifest(home).files
    names = [entry.name for entry in files]
    assert len(names) > 15 and {"catalogue.sqlite", "rules.json", "campaigns.json"} <= {*names}
    for name in names:
        path = blob(home, name)
        sound = path.read_bytes()
        for at in (0.0, 0.5, 1.0):
            flip(path, at)
            phone = opened(home)
            answer, status = phone.recommend(), phone.status()
            phone.close()
            path.write_bytes(sound)
            assert len(answer.items) == SLATE, name
            assert all(item.item_id and item.title for item in answer.items)
            same = [entry.name for entry in files if entry.sha256 == path.name]
            said = answer.faults[0].text.partition(": ")[2]
            assert said.startswith(tuple(f"{each}: its SHA-256 differs" for each in same))
            assert answer.faults[0].code == "release_damaged"
            assert answer.faults[0] in status.faults
            assert answer.source == expected_source(name), name
    phone = opened(home)
    assert phone.recommend().faults == ()


@pytest.mark.parametrize("name", ["active.json", "releases"])
@pytest.mark.parametrize("at", [0.0, 0.3])
def test_a_flipped_byte_in_what_names_the_release_leaves_a_slate(home, name, at):
    path = home / "store" / name
    path = next(path.iterdir()) if path.is_dir() else path
    flip(path, at)
    answer = opened(home).recommend()
    assert (len(answer.items), answer.source) == (SLATE, "fallback")
    assert "damaged" in answer.faults[0].text or "manifest" in answer.faults[0].text


def test_the_slate_without_texts_is_the_models_own_with_ids_for_titles(home, folder, runner):
    before = opened(home).recommend(log_impressions=False)
    flip(blob(home, "catalogue.sqlite"), 0.5)
    answer = opened(home).recommend(log_impressions=False)  # neither has sponsored places
    assert answer.source == "model"
    ids = [item.item_id for item in answer.items]
    assert ids == [item.item_id for item in before.items]
    assert [item.title for item in answer.items] == ids
    words = ["device", "recommend", "--home", str(home), "--engine", "onnx"]
    told = runner.invoke(main, words)
    assert all(item.title == item.item_id for item in answer.items)
    assert len(told.stdout.splitlines()) == SLATE and "Title" not in told.stdout
    assert "fault: release" in told.stderr and "catalogue.sqlite" in told.stderr
    status = runner.invoke(main, ["device", "status", *words[2:]])
    assert "catalogue.sqlite: its SHA-256 differs" in status.stderr


def test_a_previous_release_that_shares_the_damaged_catalogue_is_not_opened(home, folder, tmp_path):
    phone = opened(home)
    phone.install(renamed(folder, tmp_path / "next"))
    phone.close()
    flip(blob(home, "catalogue.sqlite"), 0.5)
    answer = opened(home).recommend()
    assert (answer.release, answer.source) == ("next", "model")


@pytest.mark.parametrize("name", ["golden_edges.json", "golden_rules.json", "golden/pair"])
def test_a_damaged_proof_that_two_releases_share_costs_neither_its_models(
    home, folder, tmp_path, name
):
    phone = opened(home)
    phone.install(renamed(folder, tmp_path / "next"))
    phone.close()
    flip(blob(home, name), 0.5)
    answer = opened(home).recommend()
    assert (answer.release, answer.source) == ("next", "model")
    assert f"{name}: its SHA-256 differs" in answer.faults[0].text


def test_a_large_catalogue_found_damaged_late_leaves_the_release_with_ids_for_titles(
    home, monkeypatch
):
    monkeypatch.setattr("pocketrec_bundle.reader.LARGE_BYTES", 1)
    flip(blob(home, "catalogue.sqlite"), 1.0)  # in a page that no title stands in
    phone = opened(home)
    first = phone.recommend()
    assert phone._running.integrity_check is not None
    phone._running.integrity_check.wait()
    answer = phone.recommend()
    phone.close()
    assert first.faults == ()
    assert (answer.source, answer.release) == ("model", first.release)
    assert all(item.title == item.item_id for item in answer.items)
    assert "catalogue.sqlite: its SHA-256 differs" in answer.faults[0].text


def test_an_install_brings_a_damaged_file_again_and_the_open_phone_uses_it(home, folder):
    for name in ("catalogue.sqlite", "index/rows", "models/ranker.onnx.fp32"):
        flip(blob(home, name), 0.5)
    phone = opened(home)
    assert phone.recommend().source == "fallback"
    phone.install(folder)
    answer = phone.recommend()
    assert (answer.source, answer.faults) == ("model", ())
    assert all(item.title.startswith("Title") for item in answer.items)


def test_a_damaged_spare_model_is_removed_by_the_next_install(home, folder, monkeypatch):
    name = "models/ranker.onnx.fp32"
    path = blob(home, name)
    store = Store(home / "store")
    entry = manifest(home).entry(name)
    flip(path, 0.5)
    monkeypatch.setattr("pocketrec_edge.releases.store.needed_files", lambda manifest: [])
    monkeypatch.setattr("pocketrec_edge.releases.store.spare_files", lambda manifest: [entry])
    store.install_bundle(folder, lambda bundle: None)
    assert not path.exists()


def test_the_list_of_the_last_resort_turns_pages_and_shows_nothing_that_filters_may_forbid(home):
    flip(blob(home, "policy.json"), 0.5)
    phone = opened(home)
    one = phone.recommend(page=1)
    two = phone.recommend(page=2, session=one.session)
    ids = [item.item_id for item in (*one.items, *two.items)]
    assert (len(ids), len({*ids}), two.session) == (6, 6, one.session)
    assert len(phone.recommend(3).items) == 3
    assert phone.recommend(filters=Filters(max_age_rating=6)).items == ()
    found = phone.recommend(scene="search", results=["b", "a"])
    assert (found.items, found.unranked) == ((), ("b", "a"))
    assert phone.recommend(page=3, session=one.session).items == ()
    assert phone.status().plain()["events"] == (2 + 6) + (1 + 3)  # requests and impressions


def test_events_of_a_damaged_release_are_checked_by_the_names_that_were_noted(home):
    flip(blob(home, "feature_spec.json"), 0.5)
    phone = opened(home)
    shown = phone.recommend().items[0].item_id
    phone.feedback(shown, "like")
    with pytest.raises(RequestInvalidError, match="rating, like"):
        phone.feedback(shown, "cough")
    assert phone.status().plain()["interactions"] == 1


def test_a_damaged_list_of_the_last_resort_is_not_shown_and_is_written_again(home, folder):
    path = home / "store" / popular_list.FILE_NAME
    listed = popular_list.read(home / "store")
    assert listed is not None and listed.release == "tiny"
    for at in (0.1, 0.5, 0.9):
        flip(path, at)
        assert popular_list.read(home / "store") is None
        phone = opened(home)
        phone.recommend()
        phone.close()
        assert popular_list.read(home / "store") == listed


def test_a_phone_of_an_earlier_version_gets_its_list_with_its_first_slate(home):
    (home / "store" / popular_list.FILE_NAME).unlink()
    phone = opened(home)
    phone.recommend()
    phone.close()
    flip(blob(home, "policy.json"), 0.5)
    assert len(opened(home).recommend().items) == SLATE


def test_the_self_test_still_asks_for_every_file(home, folder, tmp_path):
    broken = renamed(folder, tmp_path / "broken")
    golden = json.loads((broken / "manifest.json").read_bytes())["files"]
    sha = next(entry["sha256"] for entry in golden if entry["name"] == "golden.json")
    flip(broken / "files" / sha, 0.5)
    store = Store(tmp_path / "other")
    with pytest.raises(Exception, match=r"golden\.json: its SHA-256 differs"):
        store.install_bundle(broken, lambda bundle: replay(bundle, "onnx"))
