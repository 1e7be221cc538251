"""What is live: each channel's releases as devices see them, with what they weigh."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tuf.api.metadata import TargetFile

from bundle.errors import BundleInvalid
from bundle.manifest import Manifest, parse_manifest
from bundle.rollout import KILLED, RolloutPolicy, Stage
from sync_server import deltas, state
from sync_server.channel import Channel
from sync_server.halts import halts_in
from sync_server.roles import CHANNELS, TARGETS, channels_of
from sync_server.stages import offered

HALTED = "halted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One live release.

    percent: of the devices, at the moment; update_bytes: what a device downloads that has the
    release before it; None: there is none, or no device takes this one any more.
    """

    stage: Stage
    percent: float
    created_utc: int
    full_bytes: int
    update_bytes: int | None
    halted: str | None

    @property
    def state(self) -> str:
        """Its stage's state, or that it is halted."""
        return (
            HALTED if self.halted is not None and self.stage.state != KILLED else self.stage.state
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveChannel:
    """A channel's policy and its releases, the newest first."""

    policy: RolloutPolicy
    releases: tuple[Release, ...]
    expires_utc: int


def live(repo: Path) -> list[LiveChannel]:
    """Read all channels, proved by their signatures, stable first; none before the first publish.

    Raises:
        RepositoryInvalid: the repository is damaged.
    """
    if not state.exists(repo):
        return []
    found = state.load(repo)
    names = channels_of(found.targets[TARGETS])
    known = [name for name in CHANNELS if name in names]
    others = sorted(set(names) - set(known))
    return [_channel(repo, found, name) for name in [*known, *others]]


def name_of(repo: Path, channel: str, manifest: str) -> str:
    """Name of a release that may be live no more; digits of its hash if nothing is known of it."""
    path = repo / "targets" / "channels" / channel / f"{manifest}.{manifest}.json"
    try:
        data = path.read_bytes()
        if sha256(data).hexdigest() == manifest:
            return parse_manifest(data).name
    except (OSError, BundleInvalid):
        pass
    return manifest[:12]


def _channel(repo: Path, found: state.State, name: str) -> LiveChannel:
    channel = Channel(repo, found, name)
    policy, halts = channel.policy(), halts_in(repo, found, name)
    manifests = [channel.manifest(stage) for stage in policy.releases]
    before = [*manifests[1:], None][: len(manifests)]
    known, taken = deltas.named(channel.targets.values()), offered(policy)
    releases = tuple(
        Release(
            stage=stage,
            percent=stage.percent_at(time.time()),
            created_utc=manifest.created_utc,
            full_bytes=sum(entry.bytes for entry in manifest.files),
            update_bytes=_update_bytes(manifest, old, known) if old and stage in taken else None,
            halted=halts.reason(stage.manifest),
        )
        for stage, manifest, old in zip(policy.releases, manifests, before, strict=True)
    )
    expires = int(found.targets[name].expires.timestamp())
    return LiveChannel(policy=policy, releases=releases, expires_utc=expires)


def _update_bytes(new: Manifest, old: Manifest, known: Mapping[str, TargetFile]) -> int:
    """Bytes from one release to the next: nothing for files that stay, deltas where there are."""
    sizes = {entry.sha256: entry.bytes for entry in new.files}
    for entry in old.files:
        sizes.pop(entry.sha256, None)
    for name, (_, entry) in deltas.pairs(new, [old]).items():
        if entry.sha256 in sizes and name in known:
            sizes[entry.sha256] = min(sizes[entry.sha256], known[name].length)
    return sum(sizes.values())
