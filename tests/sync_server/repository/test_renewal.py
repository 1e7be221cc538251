"""Metadata is signed again before it expires: by a command, by the server, and nothing else is."""

import json
import shutil
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from pocketrec.cli import main
from pocketrec_server.errors import KeysInvalidError, RepositoryInvalidError
from pocketrec_server.repository import state
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.renewal import (
    DUE,
    EXPIRED,
    OK,
    is_due,
    keep_fresh,
    refresh,
    status,
)
from pocketrec_server.repository.roles import lifetime
from pocketrec_server.repository.rotation import rotate

DAYS = {"root": 365, "targets": 365, "stable": 180, "snapshot": 30, "brake": 30, "timestamp": 7}
ONLINE = ("snapshot", "timestamp", "brake")


@pytest.fixture
def online(founded, tmp_path):
    """A folder with the keys that lie on a server."""
    folder = tmp_path / "online"
    folder.mkdir()
    for name in ONLINE:
        shutil.copy(tmp_path / "keys" / f"{name}.pem", folder)
    return folder


def in_days(days):
    return datetime.now(UTC) + timedelta(days=days)


def expiry(repo):
    return {role: signed.expires for role, signed in state.load(repo).signed().items()}


@pytest.mark.parametrize("role", DAYS)
def test_a_role_is_due_once_half_of_its_lifetime_is_over(founded, role):
    assert lifetime(role) == timedelta(days=DAYS[role])
    signed = state.load(founded[0]).signed()[role]
    assert not is_due(role, signed, in_days(DAYS[role] / 2 - 0.1))
    assert is_due(role, signed, in_days(DAYS[role] / 2 + 0.1))


def test_a_refresh_signs_what_is_due_as_far_as_its_keys_are_here(founded, online):
    repo, signers = founded
    server = load_signers(online)
    before = expiry(repo)
    assert refresh(repo, server).signed == []
    assert refresh(repo, server, now=in_days(4)).signed == ["timestamp"]
    assert expiry(repo) | {"timestamp": before["timestamp"]} == before
    late = refresh(repo, server, now=in_days(16))
    assert (set(late.signed), late.due) == (set(ONLINE), [])
    late = refresh(repo, server, now=in_days(100))
    assert (set(late.signed), set(late.due)) == (set(ONLINE), {"stable", "beta", "canary"})
    late = refresh(repo, signers, now=in_days(200))
    assert (set(late.signed), late.due) == ({"root", *state.load(repo).targets, *ONLINE}, [])
    assert state.load(repo).root.version == 2


@pytest.mark.parametrize(("name", "days"), [("brake", 16), ("stable", 91)])
def test_an_old_key_on_the_server_does_not_let_the_others_expire(
    founded, online, tmp_path, name, days
):
    shutil.copy(tmp_path / "keys" / f"{name}.pem", online)
    rotate(founded[0], load_signers(tmp_path / "keys"), [name])
    late = refresh(founded[0], load_signers(online), now=in_days(days))
    assert {"snapshot", "timestamp"} <= set(late.signed)
    assert name in late.due


def test_a_refresh_that_cannot_sign_changes_nothing(founded, tmp_path):
    repo, _ = founded
    before = (repo / "metadata" / "timestamp.json").read_bytes()
    (tmp_path / "none").mkdir()
    with pytest.raises(KeysInvalidError):
        shutil.copy(tmp_path / "keys" / "snapshot.pem", tmp_path / "none")
        refresh(repo, load_signers(tmp_path / "none"), everything=True)
    with pytest.raises(RepositoryInvalidError, match="nothing is published"):
        refresh(tmp_path / "empty", load_signers(tmp_path / "keys"))
    assert (repo / "metadata" / "timestamp.json").read_bytes() == before


def test_status_tells_what_is_due_and_what_to_do(founded, online):
    refresh(*founded, everything=True)  # the repository is a copy of one founded earlier
    rows = {row.role: row for row in status(founded[0], load_signers(online), in_days(16))}
    assert [rows[role].state for role in ("timestamp", "snapshot", "stable")] == [EXPIRED, DUE, OK]
    assert rows["timestamp"].left_s == pytest.approx(-9 * 86_400, abs=60)
    assert (rows["timestamp"].here, rows["stable"].here) == (["timestamp"], [])
    assert "pocketrec serve --keys" in rows["snapshot"].remedy
    assert "2 keys of root" in rows["root"].remedy
    assert (rows["root"].threshold, len(rows["root"].keyids)) == (2, 3)


def test_the_command_fails_when_something_has_expired(founded, runner):
    repo, signers = founded
    words = ["keys", "status", "--repo", str(repo)]
    assert json.loads(runner.invoke(main, [*words, "--json"]).stdout)["expired"] == []
    refresh(repo, signers, everything=True, now=in_days(-40))
    done = runner.invoke(main, words)
    assert (done.exit_code, "timestamp is expired" in done.stderr) == (1, True)
    done = runner.invoke(main, [*words, "--json"])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["expired"]) == (1, ["timestamp", "snapshot", "brake"])
    refresh(repo, signers)
    assert runner.invoke(main, words).exit_code == 0


def wait_until(holds):
    end = time.monotonic() + 30
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return holds()


def test_the_thread_waits_for_a_repository_and_a_publisher_and_goes_on(founded, online, tmp_path):
    repo, signers = founded
    refresh(repo, signers, everything=True, now=in_days(-6))
    before = expiry(repo)["timestamp"]
    shutil.move(repo, tmp_path / "away")
    stop = threading.Event()
    thread = keep_fresh(repo, load_signers(online), stop, every_s=0.02)
    try:
        with state.writing(tmp_path / "away"):
            shutil.move(tmp_path / "away", repo)  # its lock with it
            time.sleep(0.1)
            assert expiry(repo)["timestamp"] == before
        assert wait_until(lambda: expiry(repo)["timestamp"] > before)
    finally:
        stop.set()
        thread.join()


def test_a_server_renews_by_itself_and_says_so(founded, online, start_server, tmp_path):
    repo, signers = founded
    refresh(repo, signers, everything=True, now=in_days(-100))
    before = expiry(repo)
    start_server(repo, "--keys", online)
    assert wait_until(lambda: expiry(repo)["timestamp"] > before["timestamp"])
    assert expiry(repo)["stable"] == before["stable"]
    log = tmp_path / "server.log"
    assert wait_until(
        lambda: "stable expires soon; its key is not on this server" in log.read_text()
    )
    assert "signed timestamp again" in log.read_text()


def test_a_server_refuses_keys_that_do_not_open(founded, online):
    (online / "timestamp.pem").unlink()
    words = [sys.executable, "-m", "pocketrec", "serve", "--repo", str(founded[0])]
    words += ["--port", "0", "--keys", str(online)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no timestamp.pem" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_takes_keys_that_came_while_it_runs(founded, online, tmp_path):
    repo, signers = founded
    refresh(repo, signers, everything=True, now=in_days(-6))
    stop = threading.Event()
    server = load_signers(online)
    assert server["timestamp"].public_key.keyid == signers["timestamp"].public_key.keyid
    rotate(repo, signers, ["timestamp"])
    refresh(repo, load_signers(tmp_path / "keys"), everything=True, now=in_days(-6))
    before = expiry(repo)["timestamp"]
    thread = keep_fresh(repo, server, stop, every_s=0.02)
    try:
        time.sleep(0.1)
        assert expiry(repo)["timestamp"] == before
        shutil.copy(tmp_path / "keys" / "timestamp.pem", online)
        assert wait_until(lambda: expiry(repo)["timestamp"] > before)
    finally:
        stop.set()
        thread.join()


def test_by_the_command(founded, online, runner):
    repo, signers = founded
    where = ["refresh", "--repo", str(repo), "--keys", str(online)]
    assert "nothing was due" in runner.invoke(main, where).stdout
    refresh(repo, signers, everything=True, now=in_days(-100))
    done = runner.invoke(main, where)
    assert "due, but their keys are missing: beta, canary, stable" in done.stderr
    found = json.loads(runner.invoke(main, [*where, "--all", "--json"]).stdout)
    assert set(found["signed"]) == set(ONLINE)
