"""New keys take the place of old ones, and phones that pinned the first root follow."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from pocketrec.cli import main
from pocketrec_bundle.errors import InputError
from pocketrec_edge.sync.client import sync
from pocketrec_server.errors import KeysInvalidError, RepositoryInvalidError
from pocketrec_server.repository import state
from pocketrec_server.repository.keys import load_signers, make_key
from pocketrec_server.repository.publish import halt, publish, read_halts
from pocketrec_server.repository.rotation import add_channel, revoke, rotate

NAMES = ["root-1", "targets", "snapshot", "timestamp", "brake", "stable", "beta"]


class Go:
    """Syncs a phone, which pinned the first root."""

    def __init__(self, folder, url):
        self.folder, self.url = folder, url

    def __call__(self, home="phone"):
        root = self.folder / "1.root.json"
        return sync(self.folder / home, self.url, lambda _: None, root_path=root)


@pytest.fixture
def go(founded, static_server, tmp_path):
    """Return a function that syncs a phone, which pinned the first root."""
    root = tmp_path / "1.root.json"
    shutil.copy(founded[0] / "metadata" / "1.root.json", root)
    with static_server(founded[0]) as url:
        yield Go(tmp_path, url)


def keyids(repo, name):
    found = state.load(repo)
    top = name.startswith("root") or name in ("targets", "snapshot", "timestamp")
    by = found.root if top else found.targets["targets"]
    return set(by.get_delegated_role(name.partition("-")[0]).keyids)


@pytest.mark.parametrize("change", [rotate, revoke])
@pytest.mark.parametrize("name", NAMES)
def test_phones_old_and_new_follow_a_new_key(founded, go, tmp_path, named_releases, name, change):
    repo, signers = founded
    go()
    before, old = keyids(repo, name), signers[name].public_key.keyid
    shutil.copytree(tmp_path / "keys", tmp_path / "stolen")
    done = change(repo, signers, [name])
    new = load_signers(tmp_path / "keys")[name].public_key.keyid
    assert keyids(repo, name) == before - {old} | {new} != before
    assert done.root_version == (2 if name in ("root-1", "targets", "snapshot", "timestamp") else 1)
    assert sorted(path.name for path in (tmp_path / "keys").glob(f"{name}.*")) == [
        f"{name}.pem",
        f"{name}.pem.{old[:12]}",
    ]
    assert publish(named_releases[1], repo, load_signers(tmp_path / "keys"), "stable").changed
    assert (go().status, go("new").status) == ("updated", "updated")
    if name in ("stable", "snapshot", "timestamp"):
        with pytest.raises(RepositoryInvalidError, match="not this repository's"):
            publish(named_releases[0], repo, load_signers(tmp_path / "stolen"), "stable")


def test_all_keys_are_changed_one_after_another_and_a_phone_follows_at_the_end(
    founded, go, tmp_path
):
    repo, _ = founded
    go()
    for name in ("root-1", "root-2", "root-3", *NAMES[1:]):
        rotate(repo, load_signers(tmp_path / "keys"), [name])
    first = json.loads((repo / "metadata" / "1.root.json").read_bytes())["signed"]
    assert not set(first["keys"]) & set(state.load(repo).root.keys)
    assert go().status == "current"


def test_several_keys_change_in_one_root(founded, go, tmp_path):
    repo, signers = founded
    done = revoke(repo, signers, ["root-2", "timestamp", "stable"])
    assert (done.root_version, set(done.keys)) == (
        2,
        {"root-2", "timestamp", "stable", "snapshot"},
    )
    assert {"root", "targets", "stable", "snapshot", "timestamp"} == set(done.signed)
    assert go().status == "updated"


def test_a_lost_key_of_root_is_replaced_by_the_other_two(founded, go, tmp_path):
    repo, signers = founded
    lost = signers["root-2"].public_key.keyid
    (tmp_path / "keys" / "root-2.pem").unlink()
    rotate(repo, load_signers(tmp_path / "keys"), ["root-2"])
    assert lost not in keyids(repo, "root-2")
    assert go().status == "updated"
    (tmp_path / "keys" / "root-1.pem").unlink()
    (tmp_path / "keys" / "root-2.pem").unlink()
    with pytest.raises(
        InputError, match="2 root keys are missing, so it is not clear which one it is"
    ):
        rotate(repo, load_signers(tmp_path / "keys"), ["root-2"])


def test_what_needs_more_keys_says_so_and_changes_nothing(founded, tmp_path):
    repo, _ = founded
    folder = tmp_path / "keys"
    (folder / "root-2.pem").unlink()
    (folder / "root-3.pem").unlink()
    before = sorted((repo / "metadata").iterdir())
    with pytest.raises(RepositoryInvalidError, match="2 root keys have to sign, and 1 of them"):
        rotate(repo, load_signers(folder), ["timestamp"])
    (folder / "targets.pem").rename(tmp_path / "targets.pem")
    with pytest.raises(KeysInvalidError, match=r"no targets\.pem"):
        rotate(repo, load_signers(folder), ["stable"])
    with pytest.raises(KeysInvalidError, match=r"no targets\.pem"):
        add_channel(repo, load_signers(folder), "night")
    with pytest.raises(InputError, match="no key 'root'"):
        rotate(repo, load_signers(folder), ["root"])
    assert sorted((repo / "metadata").iterdir()) == before
    assert not (folder / "night.pem").exists()


@pytest.mark.parametrize("name", ["root-1", "timestamp", "stable"])
def test_killed_at_any_step_a_change_is_run_again_and_phones_converge(
    founded, go, repository, tmp_path, name
):
    child = repository / "tests" / "sync_server" / "repository" / "killed_rotation_child.py"
    done = subprocess.run(
        [sys.executable, child, tmp_path, name, go.url],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["killed"] >= 8
    assert set(facts["phones"]) == {"updated"}
    assert set(facts["left"]) == {name}


def test_a_key_of_a_service_takes_the_place_of_a_file(founded, go, tmp_path):
    repo, signers = founded
    away = make_key(tmp_path / "safe", "timestamp")
    key = load_signers(tmp_path / "safe")["timestamp"].public_key
    told = {"uri": f"file2:{away}", "key": {"keyid": key.keyid, **key.to_dict()}}
    (tmp_path / "keys" / "timestamp.next.uri").write_text(json.dumps(told))
    done = rotate(repo, signers, ["timestamp"])
    assert done.keys == {"timestamp": str(tmp_path / "keys" / "timestamp.uri")}
    assert keyids(repo, "timestamp") == {key.keyid}
    assert go().status == "updated"


def test_a_channel_is_added_once_with_a_key_of_its_own(founded, go, tmp_path, named_releases):
    repo, signers = founded
    go()
    made = add_channel(repo, signers, "night")
    assert made == tmp_path / "keys" / "night.pem"
    with pytest.raises(InputError, match="has a channel 'night' already"):
        add_channel(repo, signers, "night")
    for name in ("targets", "root-4", "../x", "Night"):
        with pytest.raises(InputError):
            add_channel(repo, signers, name)
    assert publish(named_releases[0], repo, load_signers(tmp_path / "keys"), "night").changed
    named = "no channel 'day'; known channels: stable, beta, canary, night"
    with pytest.raises(InputError, match=named):
        publish(named_releases[0], repo, signers, "day")
    assert go().status == "current"


def test_a_revoked_brake_keeps_what_it_halted(founded, tmp_path):
    repo, signers = founded
    assert halt(repo, signers, "stable", "0" * 64, "too many failures")
    assert not halt(repo, signers, "stable", "0" * 64, "again")
    revoke(repo, signers, ["brake"])
    assert read_halts(repo, "stable").reason("0" * 64) == "too many failures"


def test_by_the_commands(founded, tmp_path, runner, monkeypatch):
    monkeypatch.delenv("POCKETREC_KEY_PASSPHRASE", raising=False)
    repo = founded[0]
    where = ["--repo", str(repo), "--keys", str(tmp_path / "keys"), "--json"]

    def run(*words):
        done = runner.invoke(main, ["keys", *words, *where])
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    assert runner.invoke(main, ["keys", "rotate", "stable", *where]).exit_code == 2
    assert run("rotate", "stable", "--plain")["keys"].keys() == {"stable"}
    assert run("revoke", "timestamp", "--plain")["root_version"] == 2
    assert run("add-channel", "night", "--plain")["channel"] == "night"
    rows = {row["role"]: row for row in run("status")["roles"]}
    assert {row["state"] for row in rows.values()} == {"ok"}
    assert (rows["root"]["version"], rows["root"]["threshold"]) == (2, 2)
    assert rows["root"]["here"] == ["root-1", "root-2", "root-3"]
    assert rows["night"]["here"] == ["night"]
    shown = runner.invoke(main, ["keys", "status", "--repo", str(repo)])
    assert shown.exit_code == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["role", *rows]
