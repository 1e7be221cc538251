"""Choose a device's release by the rollout policy (FORMAT.md, "Rollout policy"). Pure functions."""

import hashlib
from dataclasses import dataclass, field, replace

from pocketrec_bundle.settings.app_versions import fits
from pocketrec_bundle.settings.halts import Halts
from pocketrec_bundle.settings.rollout import KILLED, PAUSED, RolloutPolicy, Stage

_BUCKET_BYTES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """Properties of a device.

    Attributes:
        bucket_id: random bytes, see `bucket_id.py`.
        app_version: version of the app; None: unknown.
        device_class: the publisher's name of the device class; None: unknown.
    """

    bucket_id: bytes
    app_version: str | None = None
    device_class: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """Releases of a device, by manifest hash.

    Attributes:
        active: the active release.
        refused: releases that failed on this device.
        too_new: releases that need a newer app.
        by_arm: the active release if only an arm of an experiment brought it; the device does not
            keep it for being active.
    """

    active: str | None = None
    refused: frozenset[str] = field(default_factory=frozenset)
    too_new: frozenset[str] = field(default_factory=frozenset)
    by_arm: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferred:
    """The release that an arm of an experiment names, the device's first choice.

    Attributes:
        manifest: its manifest hash.
        why: the arm, for people.
    """

    manifest: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The chosen release.

    Attributes:
        manifest: its manifest hash; None: keep the installed release.
        why: the reason, for people.
        stopped: the active release is killed and has no replacement, so its models must not run.
        by_arm: only an arm of an experiment brings it; False if the device had it already by the
            policy.
    """

    manifest: str | None
    why: str
    stopped: bool = False
    by_arm: bool = False


def choose(
    policy: RolloutPolicy,
    halts: Halts,
    info: DeviceInfo,
    state: DeviceState,
    now_utc: int,
    preferred: Preferred | None = None,
) -> Choice:
    """Return the release of the device's arm, or the policy's first that it may install.

    Only its percentage does not count for the release of an arm.
    """
    passed_over: list[str] = []
    for stage in policy.releases:
        if preferred is not None and stage.manifest == preferred.manifest:
            why = why_not(replace(stage, percent=100.0, ramp=()), halts, info, state, now_utc)
            if why is None:
                told = f"{stage.name}: {preferred.why}"
                had = stage.manifest == state.active != state.by_arm  # by the policy, before
                return Choice(manifest=stage.manifest, why=told, by_arm=not had)
            passed_over.append(f"{preferred.why}: {why}")
    for stage in policy.releases:
        why = why_not(stage, halts, info, state, now_utc)
        if why is None:
            decision = "kept" if stage.manifest == state.active else "chosen"
            return Choice(
                manifest=stage.manifest, why="; ".join([*passed_over, f"{stage.name}: {decision}"])
            )
        passed_over.append(f"{stage.name}: {why}")
    killed = {stage.manifest for stage in policy.releases if stage.state == KILLED}
    reasons = "; ".join(passed_over) or "nothing is published"
    return Choice(manifest=None, why=reasons, stopped=state.active in killed)


def why_not(
    stage: Stage, halts: Halts, info: DeviceInfo, state: DeviceState, now_utc: int
) -> str | None:
    """Return why a device may not install a release; None if it may."""
    if stage.state == KILLED:
        return "killed"
    if stage.manifest in state.refused:
        return "it failed on this device"
    if stage.manifest in state.too_new:
        return "it needs a newer app"
    if now_utc < stage.from_utc:
        return "it begins later"
    if stage.until_utc is not None and now_utc >= stage.until_utc:
        return "its time is over"
    if not fits(stage.app, info.app_version):
        return f"not for version {info.app_version or 'unknown'} of the app"
    if stage.device_classes and info.device_class not in stage.device_classes:
        return f"not for device class {info.device_class or 'unknown'}"
    if stage.manifest == state.active != state.by_arm:
        return None
    if stage.state == PAUSED:
        return "paused"
    if (reason := halts.reason(stage.manifest)) is not None:
        return f"halted ({reason})"
    percent = stage.percent_at(now_utc)
    if bucket(info.bucket_id, stage.manifest) >= percent / 100:
        return f"for {percent:g}% of devices, not this one"
    return None


def bucket(bucket_id: bytes, manifest: str) -> float:
    """Return the device's position in 0..1 for a release; it is offered below the rollout share."""
    digest = hashlib.sha256(bucket_id + bytes.fromhex(manifest)).digest()
    return int.from_bytes(digest[:_BUCKET_BYTES], "big") / (1 << 8 * _BUCKET_BYTES)
