"""What is live: each channel's releases as devices see them, with what they weigh."""

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
from pocketrec_server.repository.stages import offered
from pocketrec_server.repository.standing import Standing, standings


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One live release.

    Attributes:
        stage: what the policy says.
        standing: what phones that ask now do with it.
        percent: of the devices that may take it, at the moment.
        data_until_utc: the newest event that it was trained on.
        built_utc: when its bundle was written; None: nobody noted it.
        published_utc: when it was first published on the channel; None: nobody noted it.
        full_bytes: of all its files.
        update_bytes: what a device downloads that has the previous release; None: there is no
            previous release, or no device takes this one any more.
        halted: why the brake stopped it; None: it did not.
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
    """A channel's policy and its releases, the newest first; `version` differs after a change."""

    policy: RolloutPolicy
    version: str
    releases: tuple[Release, ...]
    expires_utc: int


def live(repo: Path) -> list[LiveChannel]:
    """Read all channels, proved by their signatures, stable first; none before the first publish.

    Raises:
        RepositoryInvalidError: the repository is damaged.
    """
    if not state.exists(repo):
        return []
    found = state.load(repo)
    names = channels_of(found.targets[TARGETS])
    known = [name for name in CHANNELS if name in names]
    others = sorted(set(names) - set(known))
    return [_channel(repo, found, name) for name in [*known, *others]]


def version_of(policy: RolloutPolicy, halts: Halts) -> str:
    """Return what differs once a channel's policy or halts changed, and not after a renewal."""
    return sha256(policy.to_bytes() + halts.to_bytes()).hexdigest()[:16]


def name_of(repo: Path, channel: str, manifest: str) -> str:
    """Name of a release that may be live no more; digits of its hash if nothing is known of it."""
    path = repo / "targets" / "channels" / channel / f"{manifest}.{manifest}.json"
    try:
        data = path.read_bytes()
        if sha256(data).hexdigest() == manifest:
            return parse_manifest(data).name
    except (OSError, BundleInvalidError):
        pass
    return manifest[:12]


def _channel(repo: Path, found: state.State, name: str) -> LiveChannel:
    channel = Channel(repo, found, name)
    policy, halts = channel.policy(), halts_in(repo, found, name)
    manifests = [channel.manifest(stage) for stage in policy.releases]
    before = [*manifests[1:], None][: len(manifests)]
    known, taken = deltas.named(channel.targets.values()), offered(policy)
    now = time.time()
    stands = standings(policy, {each.manifest for each in halts.halted}, now)
    releases = []
    for at, (stage, manifest, old) in enumerate(
        zip(policy.releases, manifests, before, strict=True)
    ):
        times = channel.times(stage.manifest)
        releases.append(
            Release(
                stage=stage,
                standing=stands[at],
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
        expires_utc=int(found.targets[name].expires.timestamp()),
    )


def _update_bytes(new: Manifest, old: Manifest, known: Mapping[str, TargetFile]) -> int:
    """Bytes from one release to the next: nothing for files that stay, deltas where there are."""
    sizes = {entry.sha256: entry.bytes for entry in new.files}
    for entry in old.files:
        sizes.pop(entry.sha256, None)
    for name, (_, entry) in deltas.pairs(new, [old]).items():
        if entry.sha256 in sizes and name in known:
            sizes[entry.sha256] = min(sizes[entry.sha256], known[name].length)
    return sum(sizes.values())
