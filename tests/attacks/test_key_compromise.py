"""Key compromise: a thief has one key, or all of the server's, and owns the server too."""

from hashlib import sha256

import pytest

from pocketrec_bundle.encoding.strict_json import MAX_UTC
from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_bundle.settings.experiments import MAX_BYTES, Experiments
from pocketrec_bundle.settings.rollout import RolloutPolicy, Stage
from pocketrec_edge.errors import SyncError
from pocketrec_server.repository import blobs
from pocketrec_server.repository.channel import Channel
from pocketrec_server.repository.roles import TOP_LEVEL
from pocketrec_server.repository.rotation import revoke

ONE = ["root-1", "targets", "snapshot", "timestamp", "stable", "beta", "brake"]


def evil(site, channel):
    """A change that makes the thief's release the newest of a channel."""

    def change(found):
        place = Channel(site.repo, found, channel)
        bundle = site.releases[2]
        data = (bundle / "manifest.json").read_bytes()
        sha = sha256(data).hexdigest()
        place.add_manifest(sha, data)
        stage = Stage(manifest=sha, name="evil", percent=100.0)
        place.set_policy(RolloutPolicy(channel=channel, releases=(stage,)), {})

    return change


def with_root(site, thief, change):
    """The same, under a root and targets that name the thief's keys beside the stolen one."""

    def changed(found):
        root = found.next_root()
        for role in TOP_LEVEL:
            names = thief.root_names() if role == "root" else [role]
            for name in names:
                key = thief[name].public_key
                if key.keyid not in root.roles[role].keyids:
                    root.add_key(key, role)
        targets = found.edit("targets")
        for role in ("stable", "beta", "canary", "brake"):
            key = thief[role].public_key
            if key.keyid not in targets.get_delegated_role(role).keyids:
                targets.add_key(key, role)
        found.changed |= set(found.targets)
        change(found)

    return changed


@pytest.mark.parametrize("stolen", ONE)
def test_one_stolen_key_installs_nothing(site, stolen):
    site.forge(site.thief(stolen), evil(site, "stable"))
    with pytest.raises(SyncError, match="not to be trusted"):
        site.sync()
    assert site.release_of() == "0"


@pytest.mark.parametrize("stolen", ["root-1", "root-3"])
def test_one_stolen_key_of_root_makes_no_root(site, stolen):
    thief = site.thief(stolen)
    site.forge(thief, with_root(site, thief, evil(site, "stable")))
    assert site.metadata("2.root.json").exists()
    with pytest.raises(SyncError, match="not to be trusted"):
        site.sync()
    assert site.release_of() == "0"


def test_all_keys_of_the_server_publish_nothing(site):
    thief = site.thief("snapshot", "timestamp", "brake")
    site.forge(thief, evil(site, "stable"))
    with pytest.raises(SyncError, match="not to be trusted"):
        site.sync()
    assert site.release_of() == "0"


@pytest.mark.parametrize("stolen", ["beta", "stable"])
def test_a_thief_of_a_channel_and_the_server_has_that_channel_until_it_is_revoked(site, stolen):
    """No other channel, and not for ever."""
    names, honest = (stolen, "snapshot", "timestamp", "brake"), site.noted()
    other = "stable" if stolen == "beta" else "beta"
    for channel in (stolen, other):
        site.sync(channel, channel)
    thief = site.thief(*names)
    site.forge(thief, evil(site, stolen))
    assert site.sync(stolen, stolen).status == "updated"
    assert site.release_of(stolen) == "evil"
    assert site.sync(other, other).status == "current"
    site.serve(honest)
    site.publish(1, stolen)
    revoke(site.repo, site.signers, names)
    site.sync(stolen, stolen)
    assert site.release_of(stolen) == "1"
    site.forge(thief, evil(site, stolen))
    with pytest.raises(SyncError, match="not to be trusted"):
        site.sync(stolen, stolen)
    assert [site.release_of(each) for each in (stolen, other)] == ["1", "0"]


def test_a_thief_of_the_timestamp_who_owns_the_server_can_only_freeze(site):
    """And only until the snapshot expires; the revoked key ends it."""
    thief, frozen = site.thief("timestamp"), site.noted()
    site.publish(1)
    honest = site.noted()
    site.serve(frozen)
    site.forge(thief, lambda found: None, versions=1000)
    assert site.sync().status == "current"
    assert site.release_of() == "0"
    site.serve(honest)
    revoke(site.repo, site.signers, ["timestamp"])
    assert site.sync().status == "updated"
    assert site.release_of() == "1"


@pytest.mark.parametrize("hashed", ["../../../escaped", "", None])
def test_a_thief_of_a_channel_makes_a_phone_write_nowhere_else(site, hashed):
    """A hash becomes a file's name on the phone, so it has to be one."""

    def change(found):
        target = found.edit("stable").targets["channels/stable/policy.json"]
        target.hashes = {"sha256": hashed} if hashed is not None else {"sha512": "0" * 128}

    before = sorted(site.folder.rglob("*escaped*"))
    site.forge(site.thief("stable", "snapshot", "timestamp"), change)
    with pytest.raises(SyncError):
        site.sync()
    assert sorted(site.folder.rglob("*escaped*")) == before == []
    assert site.release_of() == "0"


def test_a_thief_of_a_channel_cannot_fill_a_phone_with_a_policy(site):
    def change(found):
        data = b" " * (64 << 10) + b"{}"
        path = "channels/stable/policy.json"
        found.edit("stable").targets[path] = blobs.store(site.repo, path, data)

    site.forge(site.thief("stable", "snapshot", "timestamp"), change)
    with pytest.raises(SyncError, match="exceed"):
        site.sync()
    assert site.release_of() == "0"


def experiments_of(site, hostile=b""):
    arms = tuple(Arm(name=name, share=0.5, release="ab" * 32) for name in "ab")
    one = Experiment(
        id="evil",
        hypothesis="",
        salt="0" * 32,
        layer="evil",
        segment=(0, 1),
        state="running",
        from_utc=0,
        until_utc=MAX_UTC,
        arms=arms,
    )
    data = Experiments(channel="stable", experiments=(one,)).to_bytes() + hostile
    path = "channels/stable/experiments.json"
    return path, blobs.store(site.repo, path, data)


def test_all_keys_of_the_server_start_no_experiment(site):
    """The brake's role may sign halts only; a target of another path counts for nothing."""

    def change(found):
        path, target = experiments_of(site)
        found.edit("brake").targets[path] = target

    site.forge(site.thief("snapshot", "timestamp", "brake"), change)
    assert site.sync().experiments_fault is None
    assert not (site.folder / "phone" / "experiments.json").exists()


def test_a_thief_of_a_channel_cannot_fill_a_phone_with_experiments(site):
    def change(found):
        path, target = experiments_of(site, b" " * MAX_BYTES)
        found.edit("stable").targets[path] = target

    site.forge(site.thief("stable", "snapshot", "timestamp"), change)
    report = site.sync()
    assert "exceed" in str(report.experiments_fault)
    assert (report.status, report.bytes_down < 20_000) == ("current", True)
    assert not (site.folder / "phone" / "experiments.json").exists()
