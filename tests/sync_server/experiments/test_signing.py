"""Experiments in a real repository: signed beside the policy, kept by every other change."""

import hashlib
import json
import shutil
import time
from functools import partial

import pytest

from pocketrec.publishing import publish as self_tested_publish
from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_server.copies.mirror import Folder, mirror
from pocketrec_server.errors import KeysInvalidError
from pocketrec_server.experiments import signing
from pocketrec_server.repository import state
from pocketrec_server.repository.history import Note, policy_history
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.pruning import prune
from pocketrec_server.repository.publish import (
    change_policy,
    halt,
    publish,
    read_policy,
    refresh,
    set_first_percent,
)
from pocketrec_server.repository.rollout import changed, find
from pocketrec_server.repository.rotation import rotate

PATH = "channels/stable/experiments.json"
RULES = {"version": 1, "depth": 20, "rules": [{"kind": "quality_floor", "relevance": 0.1}]}


def until():
    return int(time.time()) + 28 * 86_400


@pytest.fixture
def soon(plan):
    """Return a function that makes a plan that ends in four weeks."""
    return lambda *words, **more: plan(*words, **{"until_utc": until()} | more)


@pytest.fixture
def resigned(tmp_path):
    """Return a function that copies a bundle and renames its head `like`: the new folder."""

    def make(bundle):
        folder = tmp_path / "renamed"
        shutil.copytree(bundle, folder)
        manifest = json.loads((folder / "manifest.json").read_bytes())
        (entry,) = [file for file in manifest["files"] if file["name"] == "feature_spec.json"]
        spec = json.loads((folder / "files" / entry["sha256"]).read_bytes())
        spec["heads"] = ["love" if head == "like" else head for head in spec["heads"]]
        data = canonical_json(spec)
        entry |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        (folder / "files" / entry["sha256"]).write_bytes(data)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return make


def start(founded, value, **more):
    repo, signers = founded
    return signing.start(repo, signers, "stable", value, **more)


def test_a_channel_has_no_target_before_its_first_experiment(founded):
    repo, _ = founded
    assert PATH not in state.load(repo).targets["stable"].targets
    assert signing.read_experiments(repo, "stable") == Experiments(channel="stable")
    with pytest.raises(InputError, match="no channel 'x'"):
        signing.read_experiments(repo, "x")


def test_an_experiment_is_signed_beside_the_policy_and_recorded(founded, soon):
    repo, _ = founded
    policy = read_policy(repo, "stable")
    made = start(founded, soon(), note=Note(by="alice", reason="try it"))
    assert len(made.salt) == 32
    found = signing.read_experiments(repo, "stable")
    assert found.experiments == (made,)
    assert read_policy(repo, "stable") == policy
    (target,) = (repo / "targets/channels/stable").glob("*.experiments.json")
    assert Experiments.from_bytes(target.read_bytes()) == found
    change = policy_history(repo, "stable")[0]
    assert (change.action, change.subject, change.by) == ("experiment-start", "blend", "alice")
    assert change.after.startswith("running, 100% of default 0..1, control 0.5, treatment 0.5")
    assert change.before == ""
    assert change.after.endswith("no ramp, no guardrails, hypothesis ''")


def test_the_same_again_signs_nothing(founded, soon):
    repo, _ = founded
    plan = soon(percent=10)
    made = start(founded, plan)
    stamp = (repo / "metadata/timestamp.json").read_bytes()
    assert start(founded, plan) == made
    assert (repo / "metadata/timestamp.json").read_bytes() == stamp


def release_1_is(change, policy):
    """The policy with release 1 changed."""
    return changed(policy, find(policy, "1"), **change)


def second_release(founded, named_releases):
    repo, signers = founded
    publish(named_releases[1], repo, signers, "stable", percent=20)


def other_change(founded, named_releases):
    repo, signers = founded
    change_policy(
        repo, signers, "stable", lambda policy: changed(policy, find(policy, "0"), percent=50)
    )


def a_kill(founded, named_releases):
    repo, signers = founded
    change_policy(
        repo, signers, "stable", lambda policy: changed(policy, find(policy, "0"), state="killed")
    )


def a_halt(founded, named_releases):
    repo, signers = founded
    halt(repo, signers, "stable", read_policy(repo, "stable").releases[0].manifest, "bad")


def a_refresh(founded, named_releases):
    assert "stable" in refresh(*founded, everything=True).signed


def a_first_stage(founded, named_releases):
    repo, signers = founded
    set_first_percent(repo, signers, "stable", 5)


def a_rotation(founded, named_releases):
    repo, signers = founded
    rotate(repo, signers, ["stable"])
    rotate(repo, signers, ["targets", "snapshot"])


def a_prune(founded, named_releases):
    assert prune(founded[0], 0.0, now=time.time() + 86_400).files > 0


@pytest.mark.parametrize(
    "change",
    [
        second_release,
        other_change,
        a_kill,
        a_halt,
        a_refresh,
        a_first_stage,
        a_rotation,
        a_prune,
    ],
)
def test_every_other_change_keeps_the_experiments(founded, named_releases, soon, change):
    repo, _ = founded
    start(founded, soon(arm={"rules": RULES}))
    before = signing.read_experiments(repo, "stable")
    change(founded, named_releases)
    assert signing.read_experiments(repo, "stable") == before


def test_a_mirror_has_the_experiments(founded, soon, tmp_path):
    repo, _ = founded
    start(founded, soon())
    mirror(repo, Folder(tmp_path / "copy"))
    assert list((tmp_path / "copy/targets/channels/stable").glob("*.experiments.json"))


def test_an_arm_s_release_stays_in_the_policy(founded, named_releases, soon):
    """It would be dropped after some publishes otherwise, and its devices with it."""
    repo, signers = founded
    start(founded, soon(arm={"release": "0"}))
    used = read_policy(repo, "stable").releases[0].manifest
    for name in "abcdef":
        folder = named_releases[0].parent / f"more-{name}"
        if not folder.exists():
            manifest = json.loads((named_releases[0] / "manifest.json").read_bytes())
            folder.mkdir()
            (folder / "files").symlink_to(named_releases[0] / "files")
            (folder / "manifest.json").write_text(json.dumps(manifest | {"name": name}))
        publish(folder, repo, signers, "stable", keep=0)
    names = [stage.name for stage in read_policy(repo, "stable").releases]
    assert names == ["f", "e", "d", "c", "0"]
    assert read_policy(repo, "stable").releases[-1].manifest == used
    signing.move(repo, signers, "stable", "blend", "stop")
    publish(named_releases[1], repo, signers, "stable", keep=0)
    assert [stage.name for stage in read_policy(repo, "stable").releases] == list("1fed")


def test_an_arm_of_a_release_that_the_channel_lacks_is_refused(founded, named_releases, soon):
    repo, signers = founded
    with pytest.raises(InputError, match="no release 'spring'; known releases: 0"):
        start(founded, soon(arm={"release": "spring"}))
    second_release(founded, named_releases)
    for change in ({"state": "killed"}, {"state": "paused"}):
        change_policy(repo, signers, "stable", partial(release_1_is, change))
        with pytest.raises(InputError, match=f"release 1 is {change['state']}, so no device"):
            start(founded, soon(arm={"release": "1"}))
    change_policy(repo, signers, "stable", lambda p: changed(p, find(p, "1"), state="active"))
    halt(repo, signers, "stable", find(read_policy(repo, "stable"), "1").manifest, "bad")
    with pytest.raises(InputError, match="release 1 is halted"):
        start(founded, soon(arm={"release": "1"}))
    assert signing.read_experiments(repo, "stable").experiments == ()


@pytest.mark.parametrize(
    ("arm", "match"),
    [
        ({"head_weights": {"nobody": 1}}, "does not fit release 0: .*no head nobody"),
        ({"rules": RULES | {"depth": 0}}, "depth must be an integer"),
        ({"rules": RULES | {"rules": [{"kind": "by_moon"}]}}, "unknown kind 'by_moon'"),
        (
            {
                "rules": RULES
                | {"rules": [{"kind": "band_cap", "column": "size", "bounds": [1], "limit": 1}]}
            },
            "column must be one of",
        ),
        ({"campaigns": {"version": 1, "campaigns": [{}]}}, "campaign 1: keys differ"),
    ],
)
def test_an_arm_of_what_the_release_lacks_is_refused(founded, soon, arm, match):
    with pytest.raises(InputError, match=f"blend, arm treatment.*{match}"):
        start(founded, soon(arm=arm))


def test_arms_are_checked_against_every_release_that_is_offered(founded, named_releases, soon):
    repo, signers = founded
    start(founded, soon(arm={"rules": RULES, "head_weights": {"like": 2.0}}))
    change_policy(repo, signers, "stable", lambda p: changed(p, find(p, "0"), state="killed"))
    with pytest.raises(InputError, match="the channel stable offers no release"):
        start(founded, soon("other", arm={"flags": {"small": 1}}, layer="other"))


def test_a_wrong_clock_is_found(founded, soon):
    with pytest.raises(InputError, match="check the clock of this machine"):
        start(founded, soon(), now_utc=time.time() + 100 * 86_400)
    with pytest.raises(InputError, match=r"begins 10\.0 days before now"):
        start(founded, soon(from_utc=int(time.time()) - 10 * 86_400))


def test_a_release_of_the_winner_is_rolled_out_by_the_policy(founded, named_releases, soon):
    repo, signers = founded
    publish(named_releases[1], repo, signers, "stable", percent=0)
    publish(named_releases[2], repo, signers, "stable", percent=0)
    start(founded, soon(arm={"release": "1"}))
    found = signing.ship(repo, signers, "stable", "blend", "treatment")
    assert (found.experiments[0].state, found.experiments[0].winner) == ("shipped", "treatment")
    first = read_policy(repo, "stable").releases[0]
    assert (first.name, first.percent) == ("1", 100.0)
    change = policy_history(repo, "stable")[0]
    assert change.action == "experiment-ship"
    assert "shipped treatment" in change.after and "newest 1" in change.after


def test_a_halted_release_is_not_shipped(founded, named_releases, soon):
    repo, signers = founded
    publish(named_releases[1], repo, signers, "stable", percent=0)
    start(founded, soon(arm={"release": "1"}))
    halt(repo, signers, "stable", find(read_policy(repo, "stable"), "1").manifest, "bad")
    before = read_policy(repo, "stable")
    with pytest.raises(InputError, match="arm treatment: release 1 is halted"):
        signing.ship(repo, signers, "stable", "blend", "treatment")
    assert read_policy(repo, "stable") == before
    assert signing.read_experiments(repo, "stable").experiments[0].state == "running"


def test_ramp_pause_and_holdout_are_signed(founded, soon):
    repo, signers = founded
    signing.set_holdout(repo, signers, "stable", 0.05)
    start(founded, soon(percent=10))
    signing.ramp(repo, signers, "stable", "blend", 50)
    signing.move(repo, signers, "stable", "blend", "pause")
    found = signing.read_experiments(repo, "stable")
    assert found.holdout is not None and found.holdout.share == 0.05
    assert (found.experiments[0].percent, found.experiments[0].state) == (50, "paused")
    changes = [(one.action, one.after) for one in policy_history(repo, "stable")[:4]]
    assert [action for action, _ in changes] == [
        "experiment-pause",
        "experiment-ramp",
        "experiment-start",
        "experiment-holdout",
    ]
    assert [after for _, after in changes[:2]] == ["paused", "50% of default 0..1"]
    assert changes[3][1] == "holdout 0.05"


def test_without_the_channel_s_key_nothing_changes(founded, soon, tmp_path):
    repo, _ = founded
    stamp = (repo / "metadata/timestamp.json").read_bytes()
    online = tmp_path / "online"
    online.mkdir()
    for name in ("snapshot", "timestamp", "brake"):
        (online / f"{name}.pem").write_bytes((tmp_path / "keys" / f"{name}.pem").read_bytes())
    with pytest.raises(KeysInvalidError, match="stable"):
        signing.start(repo, load_signers(online), "stable", soon())
    assert (repo / "metadata/timestamp.json").read_bytes() == stamp


def test_a_publish_names_the_arms_that_do_not_fit_any_more(
    founded, named_releases, soon, tmp_path, resigned
):
    """A new release does not end an experiment; an arm that it cannot use is reported."""
    repo, signers = founded
    start(founded, soon(arm={"head_weights": {"like": 2.0}}))
    warned: list[str] = []
    tell = {"self_test": False, "repo": repo, "signers": signers, "warn": warned.append}
    self_tested_publish(bundle=named_releases[1], **tell)
    assert warned == []
    self_tested_publish(bundle=resigned(named_releases[2]), **tell)
    (text,) = warned
    assert "blend, arm treatment: does not fit release evil: " in text
    assert "no head like; it has engage, love" in text
    assert text.endswith("; devices of this arm answer as control")
    assert signing.read_experiments(repo, "stable").experiments[0].state == "running"
