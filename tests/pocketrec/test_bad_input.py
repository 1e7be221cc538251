"""Bad input at the command line: one clear message, exit code 1 or 2, nothing half-written."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.support import command_line
from pocketrec.cli import main
from pocketrec_bundle.manifest import FORMAT_VERSION
from pocketrec_edge.device import Device
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish

RECIPE = """
name = "bad"
[data]
interactions = "i.csv"
items = "p.csv"
[columns]
user = "user"
item = "item"
timestamp = "time"
timestamp_unit = "s"
value = "stars"
item_id = "item"
title = "title"
price = "price"
"""
HEAD, ITEMS = "user,item,time,stars\n", "item,title,price\nx,Xylophone,5\n"
GOOD = HEAD + "a,x,1,5\nb,y,2,3\n"


def refused(runner, words, exit_code: int) -> str:
    """Run a command that must fail; its one message."""
    done = runner.invoke(main, [str(word) for word in words])
    assert done.exit_code == exit_code, (done.stderr, done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


@pytest.mark.parametrize(
    ("interactions", "items", "told"),
    [
        pytest.param("user,item,stars\na,x,5\n", ITEMS, "'time'", id="column missing"),
        pytest.param(GOOD.replace("user", "usr"), ITEMS, 'columns.user = "usr"', id="misnamed"),
        pytest.param(GOOD, "sku,title,price\nx,X,5\n", "columns.item_id", id="items misnamed"),
        pytest.param("", ITEMS, "i.csv", id="empty file"),
        pytest.param(HEAD, ITEMS, "no rows", id="empty table"),
        pytest.param(HEAD + "a,x,1,5\na,y,2,3\n", ITEMS, "1 user", id="one user"),
        pytest.param(HEAD + "a,x,1,5\nb,x,2,3\n", ITEMS, "1 item", id="one item"),
        pytest.param(HEAD + "a,x,1,good\nb,y,2,3\n", ITEMS, "value is not a number", id="value"),
        pytest.param(HEAD + "a,x,soon,5\nb,y,2,3\n", ITEMS, "timestamp unreadable", id="time"),
        pytest.param(GOOD, ITEMS + ",Y,5\n", "item id missing", id="no item id"),
        pytest.param(GOOD, "item,title,price\nz,Z,5\n", "0 of 2 items", id="join"),
        pytest.param(None, ITEMS, "no such file", id="file missing"),
        pytest.param(b"PAR1 \xff\xfe\x00 no text", ITEMS, "i.csv", id="not text"),
    ],
)
def test_tables(runner, tmp_path, interactions, items, told):
    (tmp_path / "r.toml").write_text(RECIPE)
    (tmp_path / "p.csv").write_text(items)
    if interactions is not None:
        raw = interactions if isinstance(interactions, bytes) else interactions.encode()
        (tmp_path / "i.csv").write_bytes(raw)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("kept")
    before = sorted(tmp_path.rglob("*"))
    words = ["data", tmp_path / "r.toml", "--source", tmp_path, "--out", tmp_path / "out"]
    assert told in refused(runner, words, 2)
    assert sorted(tmp_path.rglob("*")) == before


def truncated(bundle: Path) -> None:
    largest = max((bundle / "files").iterdir(), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])


def changed(bundle: Path) -> None:
    largest = max((bundle / "files").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)


def file_lost(bundle: Path) -> None:
    next((bundle / "files").iterdir()).unlink()


def of_a_newer_format(bundle: Path) -> None:
    value = json.loads((bundle / "manifest.json").read_bytes())
    (bundle / "manifest.json").write_text(
        json.dumps(value | {"format_version": FORMAT_VERSION + 1})
    )


def foreign(bundle: Path) -> None:
    (bundle / "manifest.json").write_text('{"name": "a web app", "icons": []}')


def no_manifest(bundle: Path) -> None:
    (bundle / "manifest.json").unlink()


@pytest.fixture(scope="module")
def served(small_release, tmp_path_factory) -> Path:
    """Keys, a repository and a phone that holds the small release."""
    folder = tmp_path_factory.mktemp("served")
    make_keys(folder / "keys")
    found_repository(folder / "repo", load_signers(folder / "keys"))
    publish(small_release, folder / "repo", load_signers(folder / "keys"), "stable")
    phone = Device(folder / "phone")
    phone.install(small_release)
    phone.close()
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name.partition(".")[0] not in ("events", "trial")  # each start
    }


def assert_answers(runner, home: Path) -> None:
    done = runner.invoke(main, ["device", "recommend", "--home", str(home), "--json"])
    answer = json.loads(done.stdout)
    assert (answer["release"], answer["source"], answer["faults"]) == ("small", "model", [])
    assert len(answer["items"]) == 10


@pytest.mark.parametrize(
    "damage", [truncated, changed, file_lost, of_a_newer_format, foreign, no_manifest]
)
def test_bundles(runner, served, small_release, tmp_path, damage):
    """Refused by every command that takes one; the phone goes on with the release it has."""
    bundle = Path(shutil.copytree(small_release, tmp_path / "bundle"))
    value = json.loads((bundle / "manifest.json").read_bytes())
    (bundle / "manifest.json").write_text(json.dumps(value | {"name": "next"}))
    damage(bundle)
    home = Path(shutil.copytree(served / "phone", tmp_path / "phone"))
    before = snapshot(home) | snapshot(served / "repo")
    keys = ("--repo", served / "repo", "--keys", served / "keys")
    refused(runner, ["inspect", bundle], 1)
    refused(runner, ["publish", bundle, *keys], 1)
    refused(runner, ["device", "recommend", "--home", home, "--bundle", bundle], 1)
    if damage not in (truncated, changed, file_lost):  # files the phone has are not read again
        refused(runner, ["device", "install", "--home", home, bundle], 1)
    refused(runner, ["device", "install", "--home", tmp_path / "new", bundle], 1)
    assert snapshot(home) | snapshot(served / "repo") == before
    assert not (tmp_path / "new" / "store" / "active.json").exists()
    assert_answers(runner, home)


def test_wrong_signature(runner, served, small_release, tmp_path):
    """A phone that trusts one publisher takes nothing from another, at first sync or later."""
    make_keys(tmp_path / "keys")
    other = tmp_path / "other"
    found_repository(other, load_signers(tmp_path / "keys"))
    publish(small_release, other, load_signers(tmp_path / "keys"), "stable")
    home = Path(shutil.copytree(served / "phone", tmp_path / "phone"))
    ours = served / "repo" / "metadata" / "1.root.json"
    with command_line.server(other, tmp_path) as url:
        words = ["device", "sync", "--home", home, "--server", url, "--root", ours]
        assert "not to be trusted" in refused(runner, words, 1)
        assert "not to be trusted" in refused(runner, words, 1)
    assert_answers(runner, home)
