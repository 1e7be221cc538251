"""The audit trail: every change by whom, signed, private, bounded, and never in a phone's way."""

import json
from dataclasses import asdict, replace

import pytest
from tuf.api.metadata import Metadata, Targets

from pocketrec.cli import main
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.rollout import SyncPolicy
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync.client import sync
from pocketrec_server.copies.inventory import take
from pocketrec_server.copies.mirror import mirror, place_of
from pocketrec_server.repository import history, state
from pocketrec_server.repository.history import (
    LOST,
    Note,
    key_history,
    policy_history,
    whole_history,
)
from pocketrec_server.repository.pruning import prune
from pocketrec_server.repository.publish import change_policy, halt, publish, roll_back, unhalt
from pocketrec_server.repository.rollout import changed
from pocketrec_server.repository.rotation import add_channel, revoke, rotate

ALICE = Note(by="alice@build", reason="spring sale")


def staged(repo, signers, percent, note=ALICE):
    return change_policy(
        repo,
        signers,
        "stable",
        lambda policy: changed(policy, policy.releases[0], percent=percent),
        note,
        "stage",
    )


def told(changes):
    return [(each.action, each.subject, each.before, each.after) for each in changes]


def test_each_change_of_a_channel_says_who_what_when_and_why(founded, named_releases):
    repo, signers = founded
    publish(named_releases[1], repo, signers, "stable", percent=5, note=ALICE)
    staged(repo, signers, 50)
    manifest = state_of(repo).releases[0].manifest
    halt(repo, signers, "stable", manifest, "odd slates", by="server")
    unhalt(repo, signers, "stable", manifest, note=Note(by="bob", reason="a false alarm"))
    roll_back(repo, signers, "stable", "0", note=Note(by="bob"))
    newest, *_ = changes = policy_history(repo, "stable")
    assert told(changes) == [
        ("rollback", "0", "newest 1", "newest 0"),
        ("unhalt", "1", "halted", "offered"),
        ("halt", "1", "offered", "halted"),
        ("stage", "1", "percent 5", "percent 50"),
        ("publish", "1", "newest 0", "newest 1; percent 5, state active"),
        ("publish", "0", "", "newest 0; percent 100, state active"),
    ]
    assert [each.by for each in changes] == ["bob", "bob", "server", *["alice@build"] * 2, ""]
    assert [each.reason for each in changes][1:5] == [
        "a false alarm",
        "odd slates",
        *["spring sale"] * 2,
    ]
    found = state.load(repo)
    assert (newest.role, newest.version) == ("stable", found.versions["timestamp"])
    assert abs(newest.when_utc - found.timestamp.expires.timestamp()) < 8 * 86_400
    assert policy_history(repo, "beta") == []


def test_when_devices_sync_is_told_by_the_options_of_its_command(founded):
    repo, signers = founded
    night = SyncPolicy(charging=True, quiet_hours=(22, 7), every_s=3600)
    change_policy(repo, signers, "stable", lambda p: replace(p, sync=night), ALICE, "when")
    (newest, *_) = policy_history(repo, "stable")
    assert (newest.before, newest.after) == (
        "charging no, quiet-hours unset, every-s 86400",
        "charging yes, quiet-hours 22-7, every-s 3600",
    )


def state_of(repo):
    from pocketrec_server.repository.publish import read_policy

    return read_policy(repo, "stable")


def test_keys_that_change_are_in_the_history_of_who_vouches_for_them(founded):
    repo, signers = founded
    before = state.load(repo).root.roles["timestamp"].keyids[0]
    rotate(repo, signers, ["stable"], note=ALICE)
    revoke(repo, signers, ["timestamp"], note=Note(by="bob", reason="laptop stolen"))
    add_channel(repo, signers, "night", note=ALICE)
    changes = key_history(repo)
    assert sorted((each.action, each.subject, each.role) for each in changes) == [
        ("add-channel", "night", "targets"),
        ("init", "", "targets"),
        ("revoke", "snapshot", "root"),
        ("revoke", "timestamp", "root"),
        ("rotate", "stable", "targets"),
    ]
    (stolen,) = [each for each in changes if each.subject == "timestamp"]
    assert stolen.reason == "laptop stolen"
    assert stolen.before == f"key {before[:12]}"
    assert state.load(repo).root.roles["timestamp"].keyids[0][:12] in stolen.after
    assert [each.subject for each in policy_history(repo, "stable")] == ["stable", "0"]
    assert len(whole_history(repo)) == 6


def test_the_trail_is_not_served_or_mirrored_and_a_backup_has_it(founded, tmp_path):
    repo, signers = founded
    staged(repo, signers, 50)
    signed = b"".join(path.read_bytes() for path in (repo / "metadata").iterdir())
    assert b"alice" not in signed
    assert b"x-pocketrec-history" in signed
    mirror(repo, place_of(str(tmp_path / "copy"), None), lambda *_: None)
    assert not (tmp_path / "copy" / "history").exists()
    files = take(repo, history=True).files
    assert {name.partition(".")[2] for name in files if name.startswith("history/")} == {
        "targets.json",
        "stable.json",
    }


def test_a_trail_that_was_changed_or_removed_is_named_and_stops_no_change(founded):
    repo, signers = founded
    (path,) = (repo / "history").glob("*.stable.json")
    value = json.loads(path.read_bytes())
    value["changes"][0]["by"] = "mallory"
    path.write_text(json.dumps(value))
    (lost,) = policy_history(repo, "stable")
    assert (lost.action, lost.by) == (LOST, "")
    assert path.name in lost.after
    path.unlink()
    staged(repo, signers, 50)
    newest, lost = policy_history(repo, "stable")
    assert (newest.action, lost.action) == ("stage", LOST)


@pytest.mark.parametrize("limit", [("MAX_CHANGES", 6), ("MAX_BYTES", 8000)])
def test_a_trail_keeps_its_newest_changes_and_counts_the_others(founded, monkeypatch, limit):
    repo, signers = founded
    monkeypatch.setattr(history, *limit)
    found, long = state.load(repo), Note(by="é" * 200, reason="漢" * 200)
    for n in range(20):
        told = {"channel": "stable", "after": f"{n}" + "漢" * 500}
        history.record(repo, found, "stable", long, "stage", **told)
    found.edit("stable")
    found.write(repo, signers)
    numbers = [int(each.after[:2].strip("漢")) for each in policy_history(repo, "stable")]
    assert sorted(numbers) == list(range(20))[-len(numbers) :]
    assert 2 <= len(numbers) <= 6
    (newest,) = history.named(repo, state.load(repo))[-1:]
    assert json.loads(newest.read_bytes())["dropped"] == 21 - len(numbers)
    assert newest.stat().st_size <= history.MAX_BYTES


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[2Jcleared", "x" * 201, "\u202eabc"])
def test_a_text_that_would_deceive_its_reader_is_refused(text):
    with pytest.raises(InputError, match="one line of at most 200 printable"):
        Note(by="alice", reason=text)


def test_prune_leaves_the_newest_trail_of_each_role(founded):
    repo, signers = founded
    for percent in (10, 20, 30):
        staged(repo, signers, percent)
    before = policy_history(repo, "stable")
    assert prune(repo, days=-1).files > 3
    assert policy_history(repo, "stable") == before
    assert len(list((repo / "history").iterdir())) == 2


def test_phones_of_today_take_metadata_with_a_trail(founded, static_of, tmp_path):
    """The policy itself has no key that earlier phones would refuse."""
    repo, signers = founded
    staged(repo, signers, 100)
    (policy, *_) = sorted(
        (repo / "targets" / "channels" / "stable").glob("*.policy.json"),
        key=lambda each: each.stat().st_mtime,
    )
    value = json.loads(policy.read_bytes())
    assert value.keys() == {"channel", "releases", "sync", "format"}
    root = repo / "metadata" / "1.root.json"
    sync(tmp_path / "phone", static_of(repo), lambda _: None, root_path=root)
    assert Store(tmp_path / "phone" / "store").active()[0] is not None
    signed = Metadata[Targets].from_file(str(repo / "metadata" / "2.stable.json")).signed
    assert signed.unrecognized_fields[history.FIELD].keys() == {"length", "sha256"}


def test_the_commands_note_who_and_why(tiny_repo, tmp_path, runner):
    words = ["--repo", str(tiny_repo), "--keys", str(tmp_path / "keys")]
    by = ["--by", "carol", "--reason", "two weeks without a complaint"]
    done = runner.invoke(main, ["rollout", "stage", "tiny", "--percent", "50", *words, *by])
    assert done.exit_code == 0, done.stderr
    done = runner.invoke(main, ["rollout", "pause", "tiny", *words])
    assert done.exit_code == 0, done.stderr
    done = runner.invoke(main, ["rollout", "history", *words[:2], "--json"])
    paused, stage, published = json.loads(done.stdout)["changes"]
    assert "@" in paused["by"]
    assert (stage["by"], stage["reason"]) == ("carol", "two weeks without a complaint")
    assert published == asdict(policy_history(tiny_repo, "stable")[-1])
    text = runner.invoke(main, ["repo", "history", *words[:2]]).stdout.splitlines()
    assert len(text) == 4
    assert "carol  stable stage tiny: percent 100 -> percent 50 (two weeks" in text[1]
    refused = runner.invoke(main, ["rollout", "resume", "tiny", *words, "--reason", "a\nb"])
    assert (refused.exit_code, "one line" in refused.stderr) == (2, True)
