"""Publish releases on a channel, and change the channel's rollout policy.

A change writes in this order: blobs, the channel's metadata, snapshot, timestamp. Renaming the
timestamp into place makes the change visible. If the process is killed before that, devices see the
old state; run the change again.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

from tuf.api.metadata import TargetFile, Targets

from pocketrec_bundle.disk.files import write_failed
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.manifest import Manifest, manifest_bytes
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.settings.halts import Halts
from pocketrec_bundle.settings.release_name import check_release_name
from pocketrec_bundle.settings.rollout import KILLED, RolloutPolicy
from pocketrec_server.errors import RepositoryInvalidError
from pocketrec_server.repository import blobs, deltas, state
from pocketrec_server.repository.channel import Channel
from pocketrec_server.repository.halts import halt, halts_in, read_halts, unhalt
from pocketrec_server.repository.history import NOBODY, Note, record
from pocketrec_server.repository.keys import Signers
from pocketrec_server.repository.place import check_place
from pocketrec_server.repository.policy_changes import difference
from pocketrec_server.repository.publishable import check_answers, check_not_older
from pocketrec_server.repository.renewal import is_due, refresh
from pocketrec_server.repository.roles import (
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
from pocketrec_server.repository.rollout import find, least_app, rolled_back, with_newest
from pocketrec_server.repository.state import State

__all__ = [
    "PublishReport",
    "change_policy",
    "found_repository",
    "halt",
    "publish",
    "read_first_percent",
    "read_halts",
    "read_policy",
    "refresh",
    "roll_back",
    "set_first_percent",
    "unhalt",
]

KEEP = 3
"""Default number of previous releases from which deltas are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishReport:
    """Result of a publish.

    Attributes:
        release: name of the release.
        channel: name of the channel.
        version: version of the channel's metadata.
        percent: share of the devices that are offered the release, 0..100.
        changed: whether the publish changed the repository.
        new_files: files that the repository did not have.
        new_bytes: size of these files.
        deltas: deltas that lead from previous releases to this one.
        delta_bytes: size of these deltas.

    Example:
        >>> report = PublishReport(release="shop-1", channel="stable", version=2, percent=50.0,
        ...     changed=True, new_files=9, new_bytes=81_920, deltas=0, delta_bytes=0)
        >>> f"{report.release} on {report.channel} for {report.percent:g}%"
        'shop-1 on stable for 50%'
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


def found_repository(
    repo: Path, signers: Signers, channels: Sequence[str] = (), note: Note = NOBODY
) -> list[str]:
    """Create a repository without a release, signed by all its keys.

    Args:
        repo: folder of the repository. It is created if it does not exist. It may already hold the
            server's database.
        signers: at least two root keys, and the keys of targets, snapshot, timestamp, brake and
            each channel.
        channels: names of the channels. The default is those of stable, beta and canary whose keys
            are in `signers`.
        note: who makes the change, and why.

    Returns:
        Names of the channels.

    Raises:
        InputError: the folder holds a repository, the remains of one, or other files; or a channel
            name is not valid.
        KeysInvalidError: keys are missing; the message names all of them.

    Example:
        >>> from pocketrec import load_signers, make_keys
        >>> files = make_keys(Path("shop-keys"))
        >>> found_repository(Path("shop-repo"), load_signers(Path("shop-keys")), ["stable"])
        ['stable']
    """
    for name in channels:
        check_channel(name)
    if state.exists(repo):
        raise InputError(f"{repo}: is a repository already. Add a release with `publish`.")
    check_place(repo)
    _check_no_remains(repo)
    names = list(dict.fromkeys(channels or (name for name in CHANNELS if name in signers)))
    roots = signers.root_names()
    root_names = [f"{ROOT}-{n + 1}" for n in range(THRESHOLD)] if len(roots) < THRESHOLD else roots
    signers.require([*root_names, TARGETS, *(names or CHANNELS[:1]), SNAPSHOT, TIMESTAMP, BRAKE])
    keys = {role: [signers[role].public_key] for role in (TARGETS, SNAPSHOT, TIMESTAMP)}
    root_state = State(first_root(keys | {ROOT: [signers[name].public_key for name in roots]}))
    root_state.targets[TARGETS] = first_targets()
    for role in (*names, BRAKE):
        delegate(root_state.targets[TARGETS], role, signers[role].public_key)
        root_state.targets[role] = Targets()
    root_state.changed |= {ROOT, *root_state.targets}
    with state.writing(repo, founds=True):
        if state.exists(repo):
            raise InputError(f"{repo}: another command has created a repository here.")
        record(repo, root_state, TARGETS, note, "init", after=f"channels {', '.join(names)}")
        root_state.write(repo, signers)
    return names


def _check_no_remains(repo: Path) -> None:
    """Refuse a repository that lost its timestamp: devices would reject a new root.

    An interrupted `found_repository` leaves only version 1 of the roles, and can be run again.

    Raises:
        InputError: the folder has metadata of a later version than 1.
    """
    for path in sorted((repo / "metadata").glob("*.json")):
        number = path.name.partition(".")[0]
        if number.isdecimal() and int(number) > 1:
            raise InputError(
                f"{path}: belongs to a repository without timestamp.json. Restore it from a "
                "backup, or choose another --repo."
            )


def publish(
    bundle_dir: Path,
    repo: Path,
    signers: Signers,
    channel: str,
    *,
    percent: float | None = None,
    keep: int = KEEP,
    name: str | None = None,
    older: bool = False,
    app_least: str | None = None,
    note: Note = NOBODY,
    tell: deltas.Tell = lambda _done, _total, _name: None,
) -> PublishReport:
    """Verify a bundle, store its files, and make it the newest release of a channel.

    The keys of the channel, snapshot and timestamp sign. `pocketrec.publish` runs the models first;
    this function cannot, because the server imports no engine.

    Args:
        bundle_dir: folder of the bundle.
        repo: folder of the repository, see `found_repository`.
        signers: the available signers.
        channel: name of the channel.
        percent: share of the devices that are offered the release, 0..100. The other devices keep
            the previous releases. None: the channel's first stage, see `Channel.first_percent`. A
            new release with less than 100 sets the channel's first stage to this share.
        keep: number of previous releases from which deltas are made; 0 makes no deltas.
        name: name of the release. The default is the name in the bundle.
        older: publish the release even if its data ends before the data of the newest release.
        app_least: minimum version of the app, such as "2.10". A release of bundle format 3 needs
            one, or gets that of the channel's newest release that has one.
        note: who makes the change, and why.
        tell: progress callback, see `deltas.make_missing`.

    Raises:
        BundleInvalidError: the bundle fails its checks, or no device could use it.
        InputError: the channel is unknown, the name is invalid or taken, the release is halted, its
            data is older, or it is of bundle format 3 and no minimum version of the app is named.
        KeysInvalidError: keys that have to sign are missing.
        RepositoryInvalidError: the repository is missing, the keys are not its own, or another
            publish is running.
        PocketRecError: the disk is full; devices still see the old release.
    """
    check_channel(channel)
    bundle = open_bundle(bundle_dir)
    check_answers(bundle)
    manifest, data = bundle.manifest, (bundle_dir / "manifest.json").read_bytes()
    if name is not None and name != manifest.name:
        manifest = replace(manifest, name=check_release_name(name))
        data = manifest_bytes(manifest)
    with state.writing(repo):
        current = state.load(repo)
        place, sha = Channel(repo, current, channel), sha256(data).hexdigest()
        signers.require([channel, SNAPSHOT, TIMESTAMP])
        for role in (channel, SNAPSHOT, TIMESTAMP):  # before the work, which may take minutes
            current.signer(role, signers)
        before, metadata = place.policy(), current.targets[channel]
        _check_release(place, before, halts_in(repo, current, channel), sha, manifest, name, older)
        share = place.first_percent if percent is None else percent
        used = place.experiments().releases(time.time())
        least = least_app(before, sha, manifest, app_least)
        policy = with_newest(before, sha, manifest.name, share, max(keep, KEEP), used, least)
        if policy == before and not is_due(channel, metadata):
            return _report(manifest, channel, share, metadata, [], {}, changed=False)
        try:
            added = blobs.store_files(repo, bundle_dir, manifest)
            built_utc = int((bundle_dir / "manifest.json").stat().st_mtime)
            place.add_manifest(sha, data, built_utc)
            pairs = place.pairs(policy, policy.releases[0], keep)
            known = [
                target for signed in current.targets.values() for target in signed.targets.values()
            ]
            new_deltas = deltas.make_missing(repo, channel, pairs, deltas.named(known), tell)
        except OSError as err:
            raise write_failed(repo, err) from err
        if 0 < share < 100 and all(stage.manifest != sha for stage in before.releases):
            place.first_percent = share
        place.set_policy(policy, new_deltas)
        _record_policy(repo, current, note, "publish", before, policy)
        current.write(repo, signers)
        deltas.remove_others(repo, channel, place.targets)
        return _report(manifest, channel, share, metadata, added, new_deltas, changed=True)


def read_policy(repo: Path, channel: str) -> RolloutPolicy:
    """Read the rollout policy of a channel. Before the first publish it has no releases.

    Raises:
        InputError: the channel is unknown.
        RepositoryInvalidError: the repository is missing or damaged.
    """
    return Channel(repo, state.load(repo), channel).policy()


def read_first_percent(repo: Path, channel: str) -> float:
    """Read the share at which releases of a channel start. Raises the errors of `read_policy`."""
    return Channel(repo, state.load(repo), channel).first_percent


def change_policy(
    repo: Path,
    signers: Signers,
    channel: str,
    change: Callable[[RolloutPolicy], RolloutPolicy],
    note: Note = NOBODY,
    action: str = "change",
) -> RolloutPolicy:
    """Change a channel's rollout policy, sign it, and return the new policy.

    Args:
        repo: folder of the repository.
        signers: the available signers.
        channel: name of the channel.
        change: function that returns the new policy for the old one.
        note: who makes the change, and why.
        action: name of the action in the history.

    Raises:
        InputError: the channel is unknown, or the new policy has a release that was never published
            on it.
        BundleInvalidError: devices would reject the policy.
        KeysInvalidError: keys that have to sign are missing.
        RepositoryInvalidError: the repository is missing, damaged or being written.
    """
    return _change(repo, signers, channel, lambda policy, _: change(policy), note, action)


def roll_back(
    repo: Path,
    signers: Signers,
    channel: str,
    release: str,
    percent: float = 100.0,
    *,
    kill: bool = False,
    note: Note = NOBODY,
) -> RolloutPolicy:
    """Roll a channel back to an older release, and return the new policy.

    Arguments and errors are those of `rollout.rolled_back` and `change_policy`.
    """

    def change(policy: RolloutPolicy, halts: Halts) -> RolloutPolicy:
        return rolled_back(policy, find(policy, release), percent, kill=kill, halts=halts)

    return _change(repo, signers, channel, change, note, "rollback")


def set_first_percent(
    repo: Path, signers: Signers, channel: str, percent: float, note: Note = NOBODY
) -> None:
    """Set the share at which releases of a channel start. Raises the errors of `change_policy`."""
    with state.writing(repo):
        current = state.load(repo)
        place = Channel(repo, current, channel)
        before = place.first_percent
        if percent == before:
            return
        place.first_percent = percent
        facts = {"before": f"first stage {before:g}", "after": f"first stage {percent:g}"}
        record(repo, current, channel, note, "first-stage", channel=channel, **facts)
        current.write(repo, signers)


def _change(
    repo: Path,
    signers: Signers,
    channel: str,
    change: Callable[[RolloutPolicy, Halts], RolloutPolicy],
    note: Note,
    action: str,
) -> RolloutPolicy:
    with state.writing(repo):
        current = state.load(repo)
        place = Channel(repo, current, channel)
        before = place.policy()
        policy = change(before, halts_in(repo, current, channel))
        if policy != before:
            place.set_policy(policy, {})
            _record_policy(repo, current, note, action, before, policy)
            current.write(repo, signers)
            deltas.remove_others(repo, channel, place.targets)
        return policy


def _record_policy(
    repo: Path, current: State, note: Note, action: str, before: RolloutPolicy, after: RolloutPolicy
) -> None:
    facts = asdict(difference(before, after))
    record(repo, current, after.channel, note, action, channel=after.channel, **facts)


def _check_release(
    place: Channel,
    policy: RolloutPolicy,
    halts: Halts,
    sha: str,
    manifest: Manifest,
    name: str | None,
    older: bool,
) -> None:
    """Refuse a release that its channel should not offer."""
    if (why := halts.reason(sha)) is not None:
        raise InputError(
            f"{manifest.name}: is halted on {policy.channel} ({why}), so no device would install "
            f"it. End the halt first: pocketrec rollout unhalt {sha[:12]}"
        )
    others = [stage for stage in policy.releases if stage.manifest != sha]
    taken = next((stage for stage in others if name is not None and stage.name == name), None)
    if taken:
        raise InputError(
            f"--name {name!r}: is the name of another release of {policy.channel} "
            f"({taken.manifest[:12]}). Choose another name."
        )
    below = next((stage for stage in policy.releases if stage.state != KILLED), None)
    if below and not older:
        # If the manifest is missing, skip this check; `deltas` skips such a release too.
        with suppress(RepositoryInvalidError):
            check_not_older(manifest, place.manifest(below))


def _report(
    manifest: Manifest,
    channel: str,
    percent: float,
    metadata: Targets,
    added: list[int],
    new_deltas: dict[str, TargetFile],
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
        deltas=len(new_deltas),
        delta_bytes=sum(target.length for target in new_deltas.values()),
    )
