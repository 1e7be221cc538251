"""The part of experiments in a sync: keep what was verified, find the release of an arm."""

from collections.abc import Callable
from dataclasses import replace

from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_bundle.settings.halted_arms import HaltedArms
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.experiments.assigned import Assigned, arm_release, arm_with_models
from pocketrec_edge.experiments.device_experiments import DeviceExperiments
from pocketrec_edge.experiments.signed_experiments import (
    keep_experiments,
    keep_facts,
    read_experiments,
    read_facts,
)
from pocketrec_edge.phone_home import PhoneHome


def accept(
    home: PhoneHome,
    channel: str,
    data: bytes | None,
    halted: bytes | None = None,
    *,
    stay: bool = False,
    app_version: str | None,
    device_class: str | None,
) -> str | None:
    """Keep the experiments of this sync; return why they cannot be used, or None.

    Experiments or halted arms that cannot be used do not end a sync: the device has no experiments
    until the next one.

    Args:
        home: the phone's folder.
        channel: that the device follows.
        data: verified bytes of the target; None: the channel has no experiments.
        halted: verified bytes of the halted arms; None: no arm is halted.
        stay: the target could not be fetched now; those of this channel stay.
        app_version: of the app, for eligibility.
        device_class: the publisher's name of the device class.

    Raises:
        PocketRecError: they cannot be written.
        OSError: an earlier file cannot be removed.
    """
    fault = None
    if data is not None:
        try:
            if (found := Experiments.from_bytes(data)).channel != channel:
                fault = f"experiments of channel {channel!r} belong to channel {found.channel!r}"
            if halted is not None:
                HaltedArms.from_bytes(halted)
        except BundleInvalidError as err:
            fault = str(err)
    if not (stay and _channel_here(home) == channel):
        keep_experiments(home, *((None, None) if fault else (data, halted)))
    facts = replace(read_facts(home), app_version=app_version, device_class=device_class)
    keep_facts(home, facts)
    return fault


def _channel_here(home: PhoneHome) -> str | None:
    """Return the channel of the stored experiments; None if there are none that can be read."""
    try:
        found = read_experiments(home)
    except (BundleInvalidError, OSError):
        return None
    return None if found is None else found.channel


def arm_of_sync(
    home: PhoneHome, bucket_id: bytes, log: Callable[[], EventLog | None], now_utc: float
) -> Assigned | None:
    """Return the arm that names the release of this device; None: the rollout policy decides.

    Args:
        home: the phone's folder.
        bucket_id: of the device.
        log: returns the event log, None if the phone has none; raises EventLogError.
        now_utc: unix seconds.
    """
    return arm_release(_assigned(home, bucket_id, log, now_utc))


def set_of_sync(
    home: PhoneHome, bucket_id: bytes, log: Callable[[], EventLog | None], now_utc: float
) -> Assigned | None:
    """Return the arm that names a model set; None: no arm does. Arguments as `arm_of_sync`."""
    return arm_with_models(_assigned(home, bucket_id, log, now_utc))


def _assigned(
    home: PhoneHome, bucket_id: bytes, log: Callable[[], EventLog | None], now_utc: float
) -> tuple[Assigned, ...]:
    def first_event() -> int | None:
        found = log()
        return None if found is None else found.first_event()

    arms = DeviceExperiments(home, bucket_id=lambda: bucket_id, first_event=first_event)
    return arms.assigned(now_utc)


def note_choice(home: PhoneHome, manifest: str | None, *, by_arm: bool) -> None:
    """Note whether an arm or the policy chose the release that is active now.

    Args:
        home: the phone's folder.
        manifest: of the chosen release; None: the device kept what it had, for the same reason.
        by_arm: only an arm brings it, see `rollout.Choice`.

    Raises:
        PocketRecError: it cannot be written.
    """
    if manifest is not None:
        keep_facts(home, replace(read_facts(home), arm_release=manifest if by_arm else None))
