"""What version 0.1.0 left on disks still opens, and goes on from there with today's code.

`fixtures/release-0.1` holds a bundle, a phone's folder, a repository with its database, and a run
folder; a JSON file beside each has what 0.1.0 answered from it. They are never written again: if
one of these tests fails, people who installed 0.1.0 have the same failure after an update.
"""

import json
import os
import subprocess
import sys
import tarfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import urllib3

from pocketrec.cli import main
from pocketrec_bundle import open_bundle
from pocketrec_edge import Device

KEPT = Path(__file__).parent / "fixtures" / "release-0.1"
NOW, DAY_S = 1_780_000_000, 86_400
ENGINES = {"litert": "ai_edge_litert", "onnx": "onnxruntime"}


@pytest.fixture
def kept(tmp_path):
    """Return a function: name of a fixture -> its folder, a new copy, and what was answered."""

    def unpack(name: str):
        folder = tmp_path / name
        with tarfile.open(KEPT / f"{name}.tar.gz") as tar:
            tar.extractall(folder, filter="data")
        return folder, json.loads((KEPT / f"{name}.json").read_bytes())

    return unpack


@pytest.fixture
def do(runner):
    """Return a function that runs a command and returns its JSON, or its text if it has none."""

    def run(*words):
        done = runner.invoke(main, [str(word) for word in words])
        assert done.exit_code == 0, (done.output, done.exception)
        return json.loads(done.stdout) if "--json" in words else done.stdout

    return run


@contextmanager
def phone(home, days, engine="litert", **settings):
    """Open a phone whose clock stands some days after NOW."""
    pytest.importorskip(ENGINES[engine])
    device = Device(
        home,
        engine=engine,
        clock=lambda: NOW + days * DAY_S,
        rng=np.random.default_rng(5),
        **settings,
    )
    yield device
    device.close()


@contextmanager
def served(repo, work, *options):
    """Serve a repository by a process of its own: its address."""
    port = work / "port"
    words = ["serve", "--repo", repo, "--port", "0", "--port-file", port, "--no-log", *options]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with (work / "server.log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "pocketrec", *map(str, words)],
            stdout=log,
            stderr=log,
            env=environment,
        )
    try:
        end = time.monotonic() + 60
        while not port.exists() and child.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        assert port.exists(), (work / "server.log").read_text()
        yield f"http://127.0.0.1:{port.read_text()}"
    finally:
        child.terminate()
        child.wait()


def plain(answer):
    """An answer as JSON has it, whether it is a dataclass or plain already."""
    return json.loads(json.dumps(answer if isinstance(answer, dict) else answer.plain()))


def assert_slate(answer, wanted):
    """The same items at the same places, of the same release and way, with the same scores."""
    found = plain(answer)
    assert [item["item_id"] for item in found["items"]] == [item for item, _ in wanted["items"]]
    scores = [item["score"] for item in found["items"]]
    assert scores == pytest.approx([score for _, score in wanted["items"]], abs=1e-4)
    assert (found["release"], found["source"]) == (wanted["release"], wanted["source"])
    assert len(found["faults"]) == len(wanted["faults"])


# A bundle folder


def test_the_bundle_opens_with_every_file_that_it_had(kept, do):
    folder, wanted = kept("bundle")
    bundle = open_bundle(folder)
    assert bundle.manifest.name == "winter"
    assert bundle.item_count == wanted["inspect"]["items"] == 48
    found = do("inspect", folder, "--json")["files"]
    assert [(f["name"], f["sha256"]) for f in found] == [
        (f["name"], f["sha256"]) for f in wanted["inspect"]["files"]
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_bundle_passes_its_self_test_and_gives_the_slate_of_then(kept, do, tmp_path, engine):
    folder, wanted = kept("bundle")
    with phone(tmp_path / "home", 0, engine, bundle=folder) as device:
        for item_id, event in (("a02", "view"), ("a03", "like"), ("a05", "like")):
            device.feedback(item_id, event)
        assert_slate(device.recommend(), wanted["slates"][engine])
    do("inspect", folder, "--replay", engine)


def test_the_bundle_is_proved_on_every_runtime(kept, do):
    folder, _ = kept("bundle")
    for module in ENGINES.values():
        pytest.importorskip(module)
    do("verify", folder)


# A phone's folder


def test_the_phone_answers_as_before_the_update(kept):
    folder, wanted = kept("phone")
    with phone(folder / "home", 4) as device:
        assert_slate(device.recommend(log_impressions=False), wanted["slate"])
        similar = device.recommend(scene="similar", item_id="a12", log_impressions=False)
        assert_slate(similar, wanted["similar"])
        (found,) = plain(device.explain("b00"))["items"]
        (explained,) = wanted["explained"]["items"]
        assert (found["item_id"], found["title"]) == ("b00", explained["title"])


def test_the_phone_turns_back_to_a_page_that_it_showed(kept):
    folder, wanted = kept("phone")
    with phone(folder / "home", 3.001) as device:
        for number, page in enumerate(wanted["pages"], 1):
            again = device.recommend(page=number, session=wanted["session"])
            assert_slate(again, page | {"source": "page"})
        again = plain(device.recommend(page=3, session=wanted["session"]))
        before = {item for page in wanted["pages"] for item, _ in page["items"]}
        assert not before & {item["item_id"] for item in again["items"]}


def test_the_phone_has_its_history_its_consent_and_its_choice(kept, tmp_path):
    folder, wanted = kept("phone")
    with phone(folder / "home", 4) as device:
        status, before = plain(device.status()), wanted["status"]
        for key in ("release", "items", "active", "previous", "refused", "events", "pending"):
            assert status[key] == before[key], key
        assert plain(device.interests())["chosen"] == wanted["interests"] == ["lamps", "clocks"]
        device.export_data(tmp_path / "export.jsonl")
    lines = (tmp_path / "export.jsonl").read_text(encoding="utf-8").splitlines()
    found = list(map(json.loads, lines))
    assert [line["type"] for line in found] == [line["type"] for line in wanted["export"]]
    migrated = found[0].pop("log_bytes"), wanted["export"][0].pop("log_bytes")
    assert min(migrated) > 0  # a table more, and what the migration left in the WAL
    for line, old in zip(found, wanted["export"], strict=True):
        assert line == old


def test_the_phone_logs_on_and_forgets_when_told(kept):
    folder, wanted = kept("phone")
    with phone(folder / "home", 4) as device:
        device.feedback("a20", "like")
        assert plain(device.status())["events"] == wanted["status"]["events"] + 1
        device.set_interests([])
        device.erase()
        status = plain(device.status())
        assert (status["events"], status["release"]) == (0, "summer")
        assert plain(device.recommend())["history"] == 0


# A repository, its database, and the phone that follows it


def test_the_repository_tells_what_it_told(kept, do):
    folder, wanted = kept("repository")
    at = ("--repo", folder / "repo")
    for told in wanted["channels"]:
        found = do("rollout", "show", *at, "--channel", told["channel"], "--json")
        pairs = zip(found["releases"], told["releases"], strict=True)
        shown = [{key: one[key] for key in before} for one, before in pairs]  # later ones add keys
        assert shown == told["releases"]
    assert do("repo", "history", *at, "--json") == wanted["history"]
    assert do("events", "stats", *at, "--json") == wanted["events"]
    assert do("admin", "token", "list", *at, "--json") == wanted["tokens"]
    audit = do("admin", "audit", *at).splitlines()
    assert list(map(json.loads, audit)) == wanted["audit"]
    do("keys", "status", *at, "--keys", folder / "keys")


def test_the_phone_follows_the_repository_and_takes_what_is_published_today(kept, do, tmp_path):
    pytest.importorskip("ai_edge_litert")
    folder, wanted = kept("repository")
    lived, before = kept("phone")
    home, repo = lived / "home", folder / "repo"
    signed = ("--repo", repo, "--keys", folder / "keys")
    with served(repo, tmp_path, "--keys", folder / "keys") as url:
        at = ("--home", home, "--server", url, "--engine", "litert", "--app-version", "1.4")
        sync = ("device", "sync", *at, "--anyway", "--json")
        told = do(*sync, "--now", NOW + 30 * DAY_S)
        assert (told["status"], told["update_app"]) == ("updated", None)  # this app reads it
        assert told["events_sent"] == before["status"]["pending"]
        assert told["full_bytes"] == 0  # the files came when 0.1.0 tried it
        with phone(home, 30) as device:
            slate = plain(device.recommend())
            assert (slate["release"], slate["source"], slate["faults"]) == ("autumn", "model", [])
            assert slate["unknown_items"] == 1  # of another shop
            assert slate["history"] + 1 == before["status"]["interactions"]
        assert do(*sync, "--now", NOW + 31 * DAY_S)["status"] == "current"

        bundle, _ = kept("bundle")
        manifest = json.loads((bundle / "manifest.json").read_bytes())
        (bundle / "manifest.json").write_text(json.dumps(manifest | {"name": "today"}))
        do("publish", bundle, *signed, "--percent", 100, "--json")
        told = do(*sync, "--now", NOW + 32 * DAY_S)
        assert told["status"] == "updated" and told["files_by_delta"] > 0
        with phone(home, 32) as device:
            assert plain(device.recommend())["release"] == "today"
            refused = plain(device.status())["refused"]
            assert refused == before["status"]["refused"] != []

        bearer = {"Authorization": f"Bearer {wanted['alice']}"}
        answer = urllib3.request("GET", f"{url}/v1/admin/channels", headers=bearer)
        (stable,) = (c for c in answer.json()["channels"] if c["channel"] == "stable")
        assert [release["name"] for release in stable["releases"]][:2] == ["today", "autumn"]


def test_the_repository_is_operated_on(kept, do):
    folder, wanted = kept("repository")
    signed = ("--repo", folder / "repo", "--keys", folder / "keys")
    do("rollout", "unhalt", "broken", *signed, "--reason", "to see it")
    do("rollout", "rollback", "spring", *signed, "--kill", "--reason", "prices are wrong")
    do("keys", "rotate", "stable", *signed, "--plain")
    do("refresh", *signed, "--all")
    do("prune", "--repo", folder / "repo", "--days", 0)
    shown = do("rollout", "show", "--repo", folder / "repo", "--json")["releases"]
    assert shown[0]["name"] == "spring"
    changes = do("repo", "history", "--repo", folder / "repo", "--json")["changes"]
    assert changes[-len(wanted["history"]["changes"]) :] == wanted["history"]["changes"]


def test_the_events_of_the_database_are_exported(kept, do, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    folder, wanted = kept("repository")
    out = tmp_path / "events"
    do("events", "export", "--repo", folder / "repo", "--out", out, "--raw-ids")
    rows = sum(parquet.read_metadata(path).num_rows for path in out.rglob("*.parquet"))
    assert rows == wanted["events"]["events"] > 0


# A run folder

OLD_NAMES = pytest.mark.filterwarnings("default")
"""Names of 0.1.0 that changed since may warn; they still work."""


@OLD_NAMES
def test_the_recipe_with_every_key_of_then_is_read(kept, do, tmp_path):
    pytest.importorskip("ibis")
    folder, _ = kept("run")
    raw, out = folder / "raw", tmp_path / "tables"
    do("data", raw / "shop.toml", "--source", raw, "--out", out)
    old = json.loads((folder / "tables" / "data_report.json").read_bytes())
    now = json.loads((out / "data_report.json").read_bytes())
    assert {key: now[key] for key in old} == old  # later versions report more


@OLD_NAMES
def test_the_run_is_evaluated_and_is_as_good_as_it_was(kept, do, tmp_path):
    pytest.importorskip("tensorflow")
    folder, wanted = kept("run")
    out = tmp_path / "report"
    do("evaluate", folder / "run", "--data", folder / "tables", "--out", out)
    found = json.loads((out / "evaluation.json").read_bytes())["figures"]
    for name, value in wanted["figures"].items():
        assert found[name] == pytest.approx(value, abs=1e-5), name
    told = do("compare", folder / "report", out, "--json")
    assert told


@OLD_NAMES
def test_the_run_is_exported_and_its_catalogue_goes_on(kept, do, tmp_path):
    pytest.importorskip("tensorflow")
    folder, wanted = kept("run")
    old, _ = kept("bundle")
    campaigns, change = tmp_path / "campaigns.json", tmp_path / "change.json"
    bundles = {name: tmp_path / name for name in ("today", "next")}
    campaigns.write_text(
        json.dumps({"campaigns": open_bundle(old).json("campaigns.json")["campaigns"]})
    )
    change.write_text(json.dumps(wanted["changes"]))

    do("export", folder / "run", "--out", bundles["today"], "--campaigns", campaigns)
    before, today = open_bundle(old), open_bundle(bundles["today"])
    assert np.array_equal(before.array("index/rows"), today.array("index/rows"))
    for case, again in zip(*(b.json("golden.json")["cases"] for b in (before, today)), strict=True):
        assert again["slate_ids"] == case["slate_ids"]
        for key in ("user_vector", "slate_scores"):
            assert again[key] == pytest.approx(case[key], abs=1e-4)

    words = ("--catalogue", change, "--base", old, "--out", bundles["next"])
    do("export", "--run", folder / "run", *words)
    after = open_bundle(bundles["next"])
    for item_id, vector in wanted["vectors"].items():
        row = after.row_of(item_id)
        found = after.array("index/rows")[row] * after.scales[row]
        assert found == pytest.approx(vector, abs=2 * float(after.scales[row]))
