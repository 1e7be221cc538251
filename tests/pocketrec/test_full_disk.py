"""A full disk, as a real file system of a few pages: one message, exit code 1, all as before."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from benchmarks.support import command_line
from pocketrec_bundle.disk.files import sha256_file
from pocketrec_edge.device import Device
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish

RECIPE = """
name = "full"
[data]
interactions = "i.csv"
[retrieval]
dim = 16
blocks = 1
max_history = 4
epochs = 1
[ranker]
candidates = 10
"""


def contents(folder: Path) -> dict[str, str]:
    """Files of a folder with their SHA-256."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_told(ran: tuple[int, str, str]) -> None:
    """One clear message, exit code 1, no result."""
    code, stderr, stdout = ran
    assert code == 1, stderr
    assert (stdout, stderr.count("Error: ")) == ("", 1)
    assert "Traceback" not in stderr
    assert "no space left" in stderr.lower()


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Path:
    """A recipe, its file of interactions, and a disk that holds what an earlier run wrote."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "r.toml").write_text(RECIPE)
    rows = [f"u{n % 40},i{n * 7 % 500},{1_600_000_000 + n * 31}" for n in range(4000)]
    (folder / "i.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    for name in ("data", "run"):
        (folder / "disk" / name).mkdir(parents=True)
        (folder / "disk" / name / "old").write_text("kept")
    return folder


def test_data(tiny_disk, tables):
    words = ["data", tables / "r.toml", "--source", tables, "--out", "{disk}/data"]
    [((ran,), files)] = tiny_disk([words], tables / "disk", 8)
    assert_told(ran)
    assert files == contents(tables / "disk")


def test_train(tiny_disk, tables, runner):
    from pocketrec_training.data.ingest import build_tables
    from pocketrec_training.recipe.load import load_recipe

    build_tables(load_recipe(tables / "r.toml"), tables / "data", tables)
    words = ["train", tables / "r.toml", "--data", tables / "data", "--out", "{disk}/run"]
    [((ran,), files)] = tiny_disk([words], tables / "disk", 16, uncompiled=True)
    assert_told(ran)
    claim = files.pop(".run.work/claim")  # the next try goes on from there
    assert claim
    del files["run.log"]  # lines of progress, beside the run
    assert files == contents(tables / "disk")


@pytest.fixture(scope="module")
def repository_and_phone(small_release, tmp_path_factory) -> Path:
    """Keys, a disk with a repository, and one with a phone; both hold the small release."""
    folder = tmp_path_factory.mktemp("served")
    make_keys(folder / "keys")
    found_repository(folder / "server" / "repo", load_signers(folder / "keys"))
    publish(small_release, folder / "server" / "repo", load_signers(folder / "keys"), "stable")
    phone = Device(folder / "device" / "phone")
    phone.install(small_release)
    phone.feedback("item-3", "like")
    phone.close()
    return folder


def test_publish(tiny_disk, repository_and_phone, quantized_release):
    folder = repository_and_phone
    words = ["publish", quantized_release, "--repo", "{disk}/repo", "--keys", folder / "keys"]
    [((ran,), files)] = tiny_disk([words], folder / "server", 64)
    assert_told(ran)
    before = contents(folder / "server")
    assert files.items() >= before.items()
    for name, sha256 in files.items() - before.items():  # whole files, for the next try
        assert name == f"repo/targets/files/{sha256}.{sha256}"


def test_device(tiny_disk, repository_and_phone, quantized_release, tmp_path):
    """Install, sync and feedback fail; the phone answers as before, from all it had."""
    folder, home = repository_and_phone, ("--home", "{disk}/phone")
    repo = Path(shutil.copytree(folder / "server" / "repo", tmp_path / "repo"))
    publish(quantized_release, repo, load_signers(folder / "keys"), "stable")
    with command_line.server(repo, tmp_path) as url:
        sync = ["device", "sync", *home, "--server", url]
        sync += ["--root", str(repo / "metadata" / "1.root.json")]
        [(ran, files)] = tiny_disk(
            [
                ["device", "install", *home, quantized_release],
                sync,
                ["device", "recommend", *home, "--json"],
            ],
            folder / "device",
            64,
        )
    assert_told(ran[0])
    assert_told(ran[1])
    answer = json.loads(ran[2][2])
    assert (answer["release"], answer["source"], answer["history"]) == ("small", "model", 1)
    assert len(answer["items"]) == 10
    before = contents(folder / "device")
    kept = {name for name in before if name.startswith("phone/store/")}
    assert {name: files[name] for name in kept} == {name: before[name] for name in kept}
    for name, sha256 in files.items():
        if name.startswith("phone/store/files/"):
            assert name == f"phone/store/files/{sha256}"


@pytest.mark.parametrize("free", [0, 100])
def test_a_sync_goes_on_once_there_is_room(
    tiny_disk, repository_and_phone, small_release, quantized_release, tmp_path, free
):
    folder, home = repository_and_phone, ("--home", "{disk}/phone")
    repo = Path(shutil.copytree(folder / "server" / "repo", tmp_path / "repo"))
    publish(quantized_release, repo, load_signers(folder / "keys"), "stable")
    with command_line.server(repo, tmp_path) as url:
        sync = ["device", "sync", *home, "--server", url, "--json"]
        sync += ["--root", str(repo / "metadata" / "1.root.json")]
        look = ["device", "recommend", *home, "--json"]
        [(ran, _)] = tiny_disk([sync, look, ["grow"], sync, look], folder / "device", free)
    assert_told(ran[0])
    report = json.loads(ran[2][2])
    assert report["status"] == "updated"
    assert report["from_release"] == sha256_file(small_release / "manifest.json")
    assert report["to_release"] == sha256_file(quantized_release / "manifest.json")
    for each in (ran[1], ran[3]):
        answer = json.loads(each[2])
        assert (answer["source"], answer["history"], len(answer["items"])) == ("model", 1, 10)


def test_feedback(tiny_disk, repository_and_phone):
    home = ("--home", "{disk}/phone")
    [(ran, _)] = tiny_disk(
        [
            ["device", "feedback", *home, "item-5", "--event", "like"],
            ["device", "recommend", *home, "--json"],
            ["device", "status", *home, "--json"],
            ["device", "consent", *home, "--grant"],
        ],
        repository_and_phone / "device",
        0,
    )
    assert_told(ran[0])
    assert ran[1][0] == 0
    answer = json.loads(ran[1][2])
    assert (answer["release"], answer["source"], len(answer["items"])) == ("small", "model", 10)
    assert answer["history"] == 1
    assert len(answer["faults"]) == 1
    assert "no space left" in answer["faults"][0]
    status = json.loads(ran[2][2])
    assert (status["events"], status["consent"]["state"]) == (1, "unknown")
    assert status["faults"] == answer["faults"]
    assert_told(ran[3])
