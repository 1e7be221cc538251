"""Put releases on a channel: what is published, and how a channel's policy changes.

A change writes blobs, then the channel's metadata, then snapshot, and last the timestamp by one
rename: until then devices see what they saw, and a killed change is simply run again.
"""

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
from pocketrec_bundle.release_name import check_release_name
from pocketrec_bundle.settings.halts import Halts
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
from pocketrec_server.repository.rollout import find, rolled_back
from pocketrec_server.repository.stages import with_newest
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


def found_repository(
    repo: Path, signers: Signers, channels: Sequence[str] = (), note: Note = NOBODY
) -> list[str]:
    """Found a repository without a release; all its keys sign.

    Args:
        repo: its folder, which is made; the server's database may lie in it already.
        signers: at least two keys of root, and those of targets, snapshot, timestamp, brake and of
            each channel.
        channels: their names; by default stable, beta and canary, as far as their keys are here.
        note: who and why.

    Returns:
        The channels.

    Raises:
        InputError: there is a repository already or its remains, the folder holds something else,
            or a channel's name is not fit.
        KeysInvalidError: keys are missing; the text names all of them.
    """
    for name in channels:
        check_channel(name)
    if state.exists(repo):
        raise InputError(f"{repo}: is a repository already. Put a release on it by publish.")
    check_place(repo)
    _check_no_remains(repo)
    names = list(dict.fromkeys(channels or (each for each in CHANNELS if each in signers)))
    roots = signers.root_names()
    wanted = [f"{ROOT}-{n + 1}" for n in range(THRESHOLD)] if len(roots) < THRESHOLD else roots
    signers.require([*wanted, TARGETS, *(names or CHANNELS[:1]), SNAPSHOT, TIMESTAMP, BRAKE])
    keys = {role: [signers[role].public_key] for role in (TARGETS, SNAPSHOT, TIMESTAMP)}
    made = State(first_root(keys | {ROOT: [signers[name].public_key for name in roots]}))
    made.targets[TARGETS] = first_targets()
    for role in (*names, BRAKE):
        delegate(made.targets[TARGETS], role, signers[role].public_key)
        made.targets[role] = Targets()
    made.changed |= {ROOT, *made.targets}
    with state.writing(repo, founds=True):
        if state.exists(repo):
            raise InputError(f"{repo}: another command has founded a repository here.")
        record(repo, made, TARGETS, note, "init", after=f"channels {', '.join(names)}")
        made.write(repo, signers)
    return names


def _check_no_remains(repo: Path) -> None:
    """Refuse a repository that lost its timestamp: a new root would lock out its phones.

    A `found_repository` that was cut short leaves version 1 of roles, and may be run again.

    Raises:
        InputError: the folder has metadata of more than one version.
    """
    for path in sorted((repo / "metadata").glob("*.json")):
        number = path.name.partition(".")[0]
        if number.isdecimal() and int(number) > 1:
            raise InputError(
                f"{path}: is of a repository that has lost its timestamp.json. Restore it from a "
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
    note: Note = NOBODY,
    tell: deltas.Tell = lambda _done, _total, _name: None,
) -> PublishReport:
    """Verify a bundle, store its files, and make it the newest release of a channel.

    Takes the keys of the channel, snapshot and timestamp.

    Args:
        bundle_dir: the bundle.
        repo: the repository, see `found_repository`.
        signers: those that are here.
        channel: its name.
        percent: of the devices, which may take it; the others stay with what was there before.
            None: the channel's first stage, see `Channel.first_percent`. A new release with less
            than 100 makes this the channel's first stage.
        keep: make deltas from so many releases before this one; 0 makes none.
        name: of the release, in place of the bundle's own.
        older: also if its data ends before that of the newest release.
        note: who and why.
        tell: see `deltas.make_missing`.

    Raises:
        BundleInvalidError: the bundle fails its checks, or no phone could answer from it.
        InputError: there is no such channel, the name is not fit or taken, the release is halted,
            or its data is older.
        KeysInvalidError: keys that have to sign are missing.
        RepositoryInvalidError: there is no repository, the keys are not its own, or another publish
            is running.
        PocketRecError: the disk is full; devices still see the old release.

    Example:
        >>> from pocketrec_server.repository.keys import load_signers, make_keys
        >>> key_files = make_keys(Path("keys"))
        >>> signers = load_signers(Path("keys"))
        >>> channels = found_repository(Path("repo"), signers)
        >>> report = publish(Path("bundle"), Path("repo"), signers, "stable", percent=50)
        >>> report.changed, report.percent
        (True, 50)
        >>> publish(Path("bundle"), Path("repo"), signers, "stable", percent=50).changed
        False
    """
    check_channel(channel)
    bundle = open_bundle(bundle_dir)
    check_answers(bundle)
    manifest, data = bundle.manifest, (bundle_dir / "manifest.json").read_bytes()
    if name is not None and name != manifest.name:
        manifest = replace(manifest, name=check_release_name(name))
        data = manifest_bytes(manifest)
    with state.writing(repo):
        found = state.load(repo)
        place, sha = Channel(repo, found, channel), sha256(data).hexdigest()
        signers.require([channel, SNAPSHOT, TIMESTAMP])
        for role in (channel, SNAPSHOT, TIMESTAMP):  # before the work, which may take minutes
            found.signer(role, signers)
        before, metadata = place.policy(), found.targets[channel]
        _check_release(place, before, halts_in(repo, found, channel), sha, manifest, name, older)
        share = place.first_percent if percent is None else percent
        policy = with_newest(before, sha, manifest.name, share, max(keep, KEEP))
        if policy == before and not is_due(channel, metadata):
            return _report(manifest, channel, share, metadata, [], {}, changed=False)
        try:
            added = blobs.store_files(repo, bundle_dir, manifest)
            built_utc = int((bundle_dir / "manifest.json").stat().st_mtime)
            place.add_manifest(sha, data, built_utc)
            wanted = place.pairs(policy, policy.releases[0], keep)
            known = [target for each in found.targets.values() for target in each.targets.values()]
            made = deltas.make_missing(repo, channel, wanted, deltas.named(known), tell)
        except OSError as err:
            raise write_failed(repo, err) from err
        if 0 < share < 100 and all(stage.manifest != sha for stage in before.releases):
            place.first_percent = share
        place.set_policy(policy, made)
        _record_policy(repo, found, note, "publish", before, policy)
        found.write(repo, signers)
        deltas.remove_others(repo, channel, place.targets)
        return _report(manifest, channel, share, metadata, added, made, changed=True)


def read_policy(repo: Path, channel: str) -> RolloutPolicy:
    """Read a channel's rollout policy; it names no release before the first publish.

    Raises:
        InputError: there is no such channel.
        RepositoryInvalidError: the repository is damaged, or nothing was published.
    """
    return Channel(repo, state.load(repo), channel).policy()


def read_first_percent(repo: Path, channel: str) -> float:
    """Read the share at which releases of a channel start; raises as `read_policy` does."""
    return Channel(repo, state.load(repo), channel).first_percent


def change_policy(
    repo: Path,
    signers: Signers,
    channel: str,
    change: Callable[[RolloutPolicy], RolloutPolicy],
    note: Note = NOBODY,
    action: str = "change",
) -> RolloutPolicy:
    """Change a channel's rollout policy and sign it again; returns the new one.

    Args:
        repo: the repository.
        signers: those that are here.
        channel: its name.
        change: makes the new policy of the old one.
        note: who and why.
        action: what the history calls it.

    Raises:
        InputError: there is no such channel, or a release was never published there.
        BundleInvalidError: devices would refuse the policy.
        KeysInvalidError: keys that have to sign are missing.
        RepositoryInvalidError: there is no repository, or it is damaged or being written.
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
    """Make an older release of a channel its newest again; returns the new policy.

    Args and errors as of `rollout.rolled_back` and `change_policy`.
    """

    def change(policy: RolloutPolicy, halts: Halts) -> RolloutPolicy:
        return rolled_back(policy, find(policy, release), percent, kill=kill, halts=halts)

    return _change(repo, signers, channel, change, note, "rollback")


def set_first_percent(
    repo: Path, signers: Signers, channel: str, percent: float, note: Note = NOBODY
) -> None:
    """Set the share at which releases of a channel start; raises as `change_policy` does."""
    with state.writing(repo):
        found = state.load(repo)
        place = Channel(repo, found, channel)
        before = place.first_percent
        if percent == before:
            return
        place.first_percent = percent
        told = {"before": f"first stage {before:g}", "after": f"first stage {percent:g}"}
        record(repo, found, channel, note, "first-stage", channel=channel, **told)
        found.write(repo, signers)


def _change(
    repo: Path,
    signers: Signers,
    channel: str,
    change: Callable[[RolloutPolicy, Halts], RolloutPolicy],
    note: Note,
    action: str,
) -> RolloutPolicy:
    with state.writing(repo):
        found = state.load(repo)
        place = Channel(repo, found, channel)
        before = place.policy()
        policy = change(before, halts_in(repo, found, channel))
        if policy != before:
            place.set_policy(policy, {})
            _record_policy(repo, found, note, action, before, policy)
            found.write(repo, signers)
            deltas.remove_others(repo, channel, place.targets)
        return policy


def _record_policy(
    repo: Path, found: State, note: Note, action: str, before: RolloutPolicy, after: RolloutPolicy
) -> None:
    facts = asdict(difference(before, after))
    record(repo, found, after.channel, note, action, channel=after.channel, **facts)


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
            f"{manifest.name}: is halted on {policy.channel} ({why}), so no device would take it. "
            f"Let it go on first: pocketrec rollout unhalt {sha[:12]}"
        )
    others = [stage for stage in policy.releases if stage.manifest != sha]
    taken = next((stage for stage in others if name is not None and stage.name == name), None)
    if taken:
        raise InputError(
            f"--name {name!r}: is the name of another release of {policy.channel} "
            f"({taken.manifest[:12]}). Choose another."
        )
    below = next((stage for stage in policy.releases if stage.state != KILLED), None)
    if below and not older:
        with suppress(
            RepositoryInvalidError
        ):  # its manifest is gone; deltas are passed over then, too
            check_not_older(manifest, place.manifest(below))


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
