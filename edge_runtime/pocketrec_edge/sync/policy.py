"""What the publisher signed for a channel, and which of its releases this device is to have."""

from dataclasses import dataclass, replace
from hashlib import sha256

from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.manifest import MAX_MANIFEST_BYTES
from pocketrec_bundle.settings.halts import MAX_BYTES as MAX_HALTS_BYTES
from pocketrec_bundle.settings.halts import Halts
from pocketrec_bundle.settings.rollout import KILLED, MAX_BYTES, RolloutPolicy
from pocketrec_edge.errors import SyncError
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import write_private
from pocketrec_edge.sync.metadata import TrustedMetadata
from pocketrec_edge.sync.rollout import Choice, DeviceInfo, DeviceState, choose


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseChoice:
    """What a device chose, and from what."""

    policy: RolloutPolicy
    halts: Halts
    choice: Choice

    @property
    def killed(self) -> frozenset[str]:
        """Releases that no device may have."""
        return frozenset(s.manifest for s in self.policy.releases if s.state == KILLED)

    def name(self, manifest: str) -> str:
        """The name of a release that the policy lists."""
        return next(s.name for s in self.policy.releases if s.manifest == manifest)


def choose_release(
    trusted: TrustedMetadata, channel: str, info: DeviceInfo, state: DeviceState, now_utc: int
) -> ReleaseChoice:
    """Read policy and halts, and choose.

    Raises:
        BundleTooNewError: what is signed is of a form that only newer apps read.
        BundleInvalidError: what is signed is not of a form that is known.
        SyncError: the channel has no policy, or that of another.
    """
    told = trusted.read(f"channels/{channel}/policy.json", MAX_BYTES)
    if told is None:
        raise SyncError(f"channel {channel!r} has no release there.")
    policy = RolloutPolicy.from_bytes(told)
    if policy.channel != channel:
        raise SyncError(f"the policy of channel {channel!r} is that of {policy.channel!r}.")
    stopped = trusted.read(f"halts/{channel}.json", MAX_HALTS_BYTES)
    halts = Halts() if stopped is None else Halts.from_bytes(stopped)
    choice = choose(policy, halts, info, state, now_utc)
    return ReleaseChoice(policy=policy, halts=halts, choice=choice)


def passing_over(
    selection: ReleaseChoice, info: DeviceInfo, state: DeviceState, now_utc: int
) -> ReleaseChoice:
    """Choose again from the same policy, such as after a release proved too new for the app."""
    return replace(
        selection, choice=choose(selection.policy, selection.halts, info, state, now_utc)
    )


def unread(home: PhoneHome, channel: str, why: str) -> ReleaseChoice:
    """Return the choice of a device that cannot read the channel's policy: all stays as it was."""
    policy = remembered(home, channel)
    return ReleaseChoice(policy=policy, halts=Halts(), choice=Choice(manifest=None, why=why))


def manifest_of(trusted: TrustedMetadata, channel: str, sha: str) -> bytes:
    """Bring the manifest of a chosen release.

    Raises:
        SyncError: the policy names it, and it is not signed.
    """
    manifest = trusted.read(f"channels/{channel}/{sha}.json", MAX_MANIFEST_BYTES)
    if manifest is None or sha256(manifest).hexdigest() != sha:
        raise SyncError(f"release {sha[:12]} is named and not signed.")
    return manifest


def remember(home: PhoneHome, policy: RolloutPolicy) -> None:
    """Keep a policy for the time until the next sync.

    Raises:
        PocketRecError: it cannot be written.
    """
    if remembered(home, policy.channel) != policy:
        write_private(home.policy, policy.to_bytes())


def remembered(home: PhoneHome, channel: str) -> RolloutPolicy:
    """Return the policy as it was last; one of defaults before the first sync of a channel."""
    try:
        policy = RolloutPolicy.from_bytes(home.policy.read_bytes())
    except (OSError, BundleInvalidError):
        return RolloutPolicy(channel=channel)
    return policy if policy.channel == channel else RolloutPolicy(channel=channel)
