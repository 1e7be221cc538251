"""Read a channel's signed policy and choose this device's release."""

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
    """A device's choice, with the policy and halts that it was made from."""

    policy: RolloutPolicy
    halts: Halts
    choice: Choice

    @property
    def killed(self) -> frozenset[str]:
        """Manifest hashes of killed releases."""
        return frozenset(s.manifest for s in self.policy.releases if s.state == KILLED)

    def name(self, manifest: str) -> str:
        """Return the name of a release of the policy."""
        return next(s.name for s in self.policy.releases if s.manifest == manifest)


def choose_release(
    trusted: TrustedMetadata, channel: str, info: DeviceInfo, state: DeviceState, now_utc: int
) -> ReleaseChoice:
    """Read policy and halts, and choose a release.

    Raises:
        BundleTooNewError: the signed format needs a newer app.
        BundleInvalidError: the signed format is invalid.
        SyncError: the channel has no policy, or another channel's.
    """
    data = trusted.read(f"channels/{channel}/policy.json", MAX_BYTES)
    if data is None:
        raise SyncError(f"channel {channel!r} has no release on this server.")
    policy = RolloutPolicy.from_bytes(data)
    if policy.channel != channel:
        raise SyncError(f"the policy of channel {channel!r} belongs to channel {policy.channel!r}.")
    stopped = trusted.read(f"halts/{channel}.json", MAX_HALTS_BYTES)
    halts = Halts() if stopped is None else Halts.from_bytes(stopped)
    choice = choose(policy, halts, info, state, now_utc)
    return ReleaseChoice(policy=policy, halts=halts, choice=choice)


def choose_again(
    selection: ReleaseChoice, info: DeviceInfo, state: DeviceState, now_utc: int
) -> ReleaseChoice:
    """Choose again from the same policy, for example after a release needed a newer app."""
    return replace(
        selection, choice=choose(selection.policy, selection.halts, info, state, now_utc)
    )


def keep_release(home: PhoneHome, channel: str, why: str) -> ReleaseChoice:
    """Return the choice of a device that cannot read the channel's policy: it keeps its release."""
    policy = remembered(home, channel)
    return ReleaseChoice(policy=policy, halts=Halts(), choice=Choice(manifest=None, why=why))


def manifest_of(trusted: TrustedMetadata, channel: str, sha: str) -> bytes:
    """Return the manifest of a chosen release.

    Raises:
        SyncError: the policy names a manifest that is not signed.
    """
    manifest = trusted.read(f"channels/{channel}/{sha}.json", MAX_MANIFEST_BYTES)
    if manifest is None or sha256(manifest).hexdigest() != sha:
        raise SyncError(f"release {sha[:12]} is in the policy but its manifest is not signed.")
    return manifest


def remember(home: PhoneHome, policy: RolloutPolicy) -> None:
    """Store a policy for use until the next sync.

    Raises:
        PocketRecError: it cannot be written.
    """
    if remembered(home, policy.channel) != policy:
        write_private(home.policy, policy.to_bytes())


def remembered(home: PhoneHome, channel: str) -> RolloutPolicy:
    """Return the policy of the last sync; the defaults before a channel's first sync."""
    try:
        policy = RolloutPolicy.from_bytes(home.policy.read_bytes())
    except (OSError, BundleInvalidError):
        return RolloutPolicy(channel=channel)
    return policy if policy.channel == channel else RolloutPolicy(channel=channel)
