"""Read a channel's signed policy and choose this device's release."""

from dataclasses import dataclass, replace
from hashlib import sha256

from tuf.api.exceptions import DownloadError, RepositoryError

from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.manifest import MAX_MANIFEST_BYTES
from pocketrec_bundle.settings.experiments import MAX_BYTES as MAX_EXPERIMENTS_BYTES
from pocketrec_bundle.settings.halted_arms import MAX_BYTES as MAX_HALTED_ARMS_BYTES
from pocketrec_bundle.settings.halts import MAX_BYTES as MAX_HALTS_BYTES
from pocketrec_bundle.settings.halts import Halts
from pocketrec_bundle.settings.rollout import KILLED, MAX_BYTES, RolloutPolicy
from pocketrec_edge.errors import SyncError
from pocketrec_edge.experiments import at_sync
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import write_private
from pocketrec_edge.sync.metadata import TrustedMetadata
from pocketrec_edge.sync.rollout import Choice, DeviceInfo, DeviceState, Preferred, choose
from pocketrec_edge.sync.sync_log import SyncLog
from pocketrec_edge.sync.transfer import BusyError, NotReachedError


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    """What a channel signs for its devices, besides releases.

    Attributes:
        policy: its rollout policy.
        halts: its halted releases.
        experiments: bytes of its experiments, not parsed; None: the channel has none.
        halted_arms: bytes of their halted arms, not parsed; None: no arm is halted.
        experiments_fault: why the experiments could not be fetched, or None.
        experiments_stay: the network failed or the server is busy, so that those of the last sync
            stay.
    """

    policy: RolloutPolicy
    halts: Halts
    experiments: bytes | None = None
    halted_arms: bytes | None = None
    experiments_fault: str | None = None
    experiments_stay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseChoice:
    """A device's choice, with the policy and halts that it was made from."""

    policy: RolloutPolicy
    halts: Halts
    choice: Choice
    preferred: Preferred | None = None

    @property
    def killed(self) -> frozenset[str]:
        """Manifest hashes of killed releases."""
        return frozenset(s.manifest for s in self.policy.releases if s.state == KILLED)

    def name(self, manifest: str) -> str:
        """Return the name of a release of the policy."""
        return next(s.name for s in self.policy.releases if s.manifest == manifest)


def read_settings(trusted: TrustedMetadata, channel: str) -> ChannelSettings:
    """Read policy, halts and experiments with their halted arms.

    Experiments or halted arms that a server or mirror does not deliver as signed are a fault, and
    the device then has no experiments: kills and halts must reach it all the same. If the network
    fails or the server is busy, the device keeps those of the last sync.

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
    try:
        signed = trusted.read(f"channels/{channel}/experiments.json", MAX_EXPERIMENTS_BYTES)
        arms = None
        if signed is not None:
            arms = trusted.read(f"halts/{channel}.experiments.json", MAX_HALTED_ARMS_BYTES)
        return ChannelSettings(policy=policy, halts=halts, experiments=signed, halted_arms=arms)
    except (RepositoryError, DownloadError) as err:
        stay = isinstance(err, (NotReachedError, BusyError))
        return ChannelSettings(
            policy=policy,
            halts=halts,
            experiments_fault=f"experiments: {err}",
            experiments_stay=stay,
        )


def choose_with_arm(
    home: PhoneHome,
    log: SyncLog,
    settings: ChannelSettings,
    info: DeviceInfo,
    state: DeviceState,
    now: int,
) -> tuple[ReleaseChoice, str | None]:
    """Keep the experiments, then choose a release by this device's arm or by the policy.

    Returns:
        The choice, and why the experiments cannot be used, or None.

    Raises:
        PocketRecError: the experiments cannot be stored.
    """
    fault = at_sync.accept(
        home,
        settings.policy.channel,
        settings.experiments,
        settings.halted_arms,
        stay=settings.experiments_stay,
        app_version=info.app_version,
        device_class=info.device_class,
    )
    found = at_sync.arm_of_sync(home, info.bucket_id, log.existing, now)
    preferred = None
    if found is not None and found.arm.release is not None:
        why = f"arm {found.arm.name} of experiment {found.experiment.id}"
        preferred = Preferred(manifest=found.arm.release, why=why)
    selection = choose_release(settings, info, state, now, preferred)
    return selection, settings.experiments_fault or fault


def choose_release(
    settings: ChannelSettings,
    info: DeviceInfo,
    state: DeviceState,
    now_utc: int,
    preferred: Preferred | None = None,
) -> ReleaseChoice:
    """Choose a release; preferred: that of the device's arm in an experiment."""
    choice = choose(settings.policy, settings.halts, info, state, now_utc, preferred)
    return ReleaseChoice(
        policy=settings.policy, halts=settings.halts, choice=choice, preferred=preferred
    )


def choose_again(
    selection: ReleaseChoice, info: DeviceInfo, state: DeviceState, now_utc: int
) -> ReleaseChoice:
    """Choose again from the same policy, for example after a release needed a newer app."""
    policy, halts, preferred = selection.policy, selection.halts, selection.preferred
    return replace(selection, choice=choose(policy, halts, info, state, now_utc, preferred))


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
