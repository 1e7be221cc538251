"""Put releases on a channel: what is published, and how a channel's policy changes.

A change writes blobs, then the channel's metadata, then snapshot, and last the timestamp by one
rename: until then devices see what they saw, and a killed change is simply run again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tuf.api.metadata import TargetFile, Targets

from bundle.files import write_failed
from bundle.manifest import Manifest
from bundle.reader import open_bundle
from bundle.rollout import RolloutPolicy
from sync_server import blobs, deltas, state
from sync_server.channel import Channel
from sync_server.errors import KeysInvalid
from sync_server.halts import halt, read_halts, unhalt
from sync_server.keys import Signers
from sync_server.renewal import is_due, refresh
from sync_server.roles import (
    BRAKE,
    CHANNELS,
    ROOT,
    SNAPSHOT,
    TARGETS,
    THRESHOLD,
    TIMESTAMP,
    check_channel,
    delegate,
    first_root,
    first_targets,
)
from sync_server.stages import with_newest
from sync_server.state import State

__all__ = [
    "PublishReport",
    "change_policy",
    "halt",
    "publish",
    "read_halts",
    "read_policy",
    "refresh",
    "unhalt",
]

KEEP = 3
"""Releases before the newest from which deltas are made by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishReport:
    """What a publish did; new_bytes are those of files the repository did not have.

    version is the channel's; deltas and delta_bytes count what is there for phones that have a
    release before this one.
    """

    release: str
    channel: str
    version: int
    percent: float
    changed: bool
    new_files: int
    new_bytes: int
    deltas: int
    delta_bytes: int


def publish(
    bundle_dir: Path,
    repo: Path,
    signers: Signers,
    channel: str,
    *,
    percent: float = 100.0,
    keep: int = KEEP,
    tell: deltas.Tell = lambda _done, _total, _name: None,
) -> PublishReport:
    """Verify a bundle, store its files, and make it the newest release of a channel.

    The first publish founds the repository, which takes all keys; later ones take the channel's
    and those of snapshot and timestamp.

    Args:
        bundle_dir: the bundle.
        repo: the repository.
        signers: those that are here.
        channel: its name.
        percent: of the devices, which may take it; the others stay with what was there before.
        keep: make deltas from so many releases before this one; 0 makes none.
        tell: see `deltas.make_missing`.

    Raises:
        BundleInvalid: the bundle fails its checks.
        InputError: there is no such channel.
        KeysInvalid: a key that has to sign is missing.
        RepositoryInvalid: the keys are not this repository's, or another publish is running.
        PocketRecError: the disk is full; devices still see the old release.
    """
    check_channel(channel)
    manifest = open_bundle(bundle_dir).manifest
    data = (bundle_dir / "manifest.json").read_bytes()
    with state.writing(repo):
        found = state.load(repo) if state.exists(repo) else _founded(signers, channel)
        place, sha = Channel(repo, found, channel), sha256(data).hexdigest()
        for role in (channel, SNAPSHOT, TIMESTAMP):  # before the work, which may take minutes
            found.signer(role, signers)
        policy = with_newest(place.policy(), sha, manifest.name, percent, max(keep, KEEP))
        metadata = found.targets[channel]
        if policy == place.policy() and not is_due(channel, metadata):
            return _report(manifest, channel, percent, metadata, [], {}, changed=False)
        try:
            added = blobs.store_files(repo, bundle_dir, manifest)
            built_utc = int((bundle_dir / "manifest.json").stat().st_mtime)
            place.add_manifest(sha, data, built_utc)
            wanted = place.pairs(policy, policy.releases[0], keep)
            known = [target for each in found.targets.values() for target in each.targets.values()]
            made = deltas.make_missing(repo, channel, wanted, deltas.named(known), tell)
        except OSError as err:
            raise write_failed(repo, err) from err
        place.set_policy(policy, made)
        found.write(repo, signers)
        deltas.remove_others(repo, channel, place.targets)
        return _report(manifest, channel, percent, metadata, added, made, changed=True)


def read_policy(repo: Path, channel: str) -> RolloutPolicy:
    """Read a channel's rollout policy; it names no release before the first publish.

    Raises:
        InputError: there is no such channel.
        RepositoryInvalid: the repository is damaged, or nothing was published.
    """
    return Channel(repo, state.load(repo), channel).policy()


def change_policy(
    repo: Path, signers: Signers, channel: str, change: Callable[[RolloutPolicy], RolloutPolicy]
) -> RolloutPolicy:
    """Change a channel's rollout policy and sign it again; returns the new one.

    Raises:
        InputError: there is no such channel, or a release was never published there.
        BundleInvalid: devices would refuse the policy.
        KeysInvalid: a key that has to sign is missing.
        RepositoryInvalid: the repository is damaged or being written.
    """
    with state.writing(repo):
        found = state.load(repo)
        place = Channel(repo, found, channel)
        policy = change(place.policy())
        if policy != place.policy():
            place.set_policy(policy, {})
            found.write(repo, signers)
            deltas.remove_others(repo, channel, place.targets)
        return policy


def _founded(signers: Signers, channel: str) -> State:
    """A new repository with all channels whose keys are here."""
    names = signers.root_names()
    if len(names) < THRESHOLD:
        raise KeysInvalid(
            f"the first publish founds the repository and takes all keys: {THRESHOLD} of root and "
            f"those of the other roles; {len(names)} of root are here."
        )
    keys = {role: [signers[role].public_key] for role in (TARGETS, SNAPSHOT, TIMESTAMP)}
    found = State(first_root(keys | {ROOT: [signers[name].public_key for name in names]}))
    found.targets[TARGETS] = first_targets()
    others = [each for each in CHANNELS if each in signers and each != channel]
    for role in (channel, *others, BRAKE):
        delegate(found.targets[TARGETS], role, signers[role].public_key)
        found.targets[role] = Targets()
    found.changed |= {ROOT, *found.targets}
    return found


def _report(
    manifest: Manifest,
    channel: str,
    percent: float,
    metadata: Targets,
    added: list[int],
    made: dict[str, TargetFile],
    *,
    changed: bool,
) -> PublishReport:
    return PublishReport(
        release=manifest.name,
        channel=channel,
        version=metadata.version,
        percent=percent,
        changed=changed,
        new_files=len(added),
        new_bytes=sum(added),
        deltas=len(made),
        delta_bytes=sum(target.length for target in made.values()),
    )
