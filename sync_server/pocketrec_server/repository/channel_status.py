"""Read the status of each channel: its releases as devices see them, and their download sizes."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tuf.api.metadata import TargetFile

from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.manifest import Manifest, parse_manifest
from pocketrec_bundle.settings.halts import Halts
from pocketrec_bundle.settings.rollout import RolloutPolicy, Stage
from pocketrec_server.repository import deltas, state
from pocketrec_server.repository.channel import Channel
from pocketrec_server.repository.halts import halts_in
from pocketrec_server.repository.roles import CHANNELS, TARGETS, channels_of
from pocketrec_server.repository.rollout import offered
from pocketrec_server.repository.standing import Standing, standings


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One live release.

    Attributes:
        stage: the release in the policy.
        standing: whether devices that sync now get it.
        percent: share of the devices that are offered it now, 0..100.
        data_until_utc: time of the newest event in its training data.
        built_utc: time of the build; None if unknown.
        published_utc: time of the first publish on the channel; None if unknown.
        full_bytes: size of all its files.
        update_bytes: download size for a device with the previous release; None if there is no
            previous release, or if this release is no longer offered.
        halted: reason of the halt; None if it is not halted.
    """

    stage: Stage
    standing: Standing
    percent: float
    data_until_utc: int
    built_utc: int | None
    published_utc: int | None
    full_bytes: int
    update_bytes: int | None
    halted: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveChannel:
    """Status of a channel.

    Attributes:
        policy: the rollout policy.
        version: version of the policy and the halts, see `version_of`.
        releases: live releases, newest first.
        expires_utc: time at which the channel's metadata expires.
    """

    policy: RolloutPolicy
    version: str
    releases: tuple[Release, ...]
    expires_utc: int


def live(repo: Path) -> list[LiveChannel]:
    """Read the status of all channels, stable first, and check their signatures.

    Returns:
        The channels; empty before the repository exists.

    Raises:
        RepositoryInvalidError: the repository is damaged.
    """
    if not state.exists(repo):
        return []
    current = state.load(repo)
    names = channels_of(current.targets[TARGETS])
    known = [name for name in CHANNELS if name in names]
    others = sorted(set(names) - set(known))
    return [_channel(repo, current, name) for name in [*known, *others]]


def version_of(policy: RolloutPolicy, halts: Halts) -> str:
    """Return a version that changes with the policy or the halts, but not with a renewal."""
    return sha256(policy.to_bytes() + halts.to_bytes()).hexdigest()[:16]


def name_of(repo: Path, channel: str, manifest: str) -> str:
    """Return the name of a release, live or not; the first digits of its hash if unknown."""
    path = repo / "targets" / "channels" / channel / f"{manifest}.{manifest}.json"
    try:
        data = path.read_bytes()
        if sha256(data).hexdigest() == manifest:
            return parse_manifest(data).name
    except (OSError, BundleInvalidError):
        pass
    return manifest[:12]


def _channel(repo: Path, current: state.State, name: str) -> LiveChannel:
    channel = Channel(repo, current, name)
    policy, halts = channel.policy(), halts_in(repo, current, name)
    manifests = [channel.manifest(stage) for stage in policy.releases]
    before = [*manifests[1:], None][: len(manifests)]
    known, taken = deltas.named(channel.targets.values()), offered(policy)
    now = time.time()
    stands = standings(policy, {halt.manifest for halt in halts.halted}, now)
    releases = []
    for n, (stage, manifest, old) in enumerate(
        zip(policy.releases, manifests, before, strict=True)
    ):
        times = channel.times(stage.manifest)
        releases.append(
            Release(
                stage=stage,
                standing=stands[n],
                percent=stage.percent_at(now),
                data_until_utc=manifest.created_utc,
                built_utc=times.get("built_utc"),
                published_utc=times.get("published_utc"),
                full_bytes=manifest.total_bytes(),
                update_bytes=(
                    _update_bytes(manifest, old, known) if old and stage in taken else None
                ),
                halted=halts.reason(stage.manifest),
            )
        )
    return LiveChannel(
        policy=policy,
        version=version_of(policy, halts),
        releases=tuple(releases),
        expires_utc=int(current.targets[name].expires.timestamp()),
    )


def _update_bytes(new: Manifest, old: Manifest, known: Mapping[str, TargetFile]) -> int:
    """Return the download size of an update: deltas where they exist, no unchanged files."""
    sizes = {entry.sha256: entry.bytes for entry in new.files}
    for entry in old.files:
        sizes.pop(entry.sha256, None)
    for name, (_, entry) in deltas.pairs(new, [old]).items():
        if entry.sha256 in sizes and name in known:
            sizes[entry.sha256] = min(sizes[entry.sha256], known[name].length)
    return sum(sizes.values())
