"""Which release of a channel this device takes: FORMAT.md, "Rollout policy". Pure decisions."""

import hashlib
import re
from dataclasses import dataclass, field

from pocketrec_bundle.settings.halts import Halts
from pocketrec_bundle.settings.rollout import (
    APP_VERSION,
    KILLED,
    PAUSED,
    AppVersions,
    RolloutPolicy,
    Stage,
    version_of,
)

_BUCKET_BYTES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """What a device is; app_version, device_class: as the app says, None: unknown.

    bucket_id: see `bucket_id.py`.
    """

    bucket_id: bytes
    app_version: str | None = None
    device_class: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """What a device has, by manifest hash.

    Attributes:
        active: the active release.
        refused: those that failed on it.
        too_new: those that its app is too old for.
    """

    active: str | None = None
    refused: frozenset[str] = field(default_factory=frozenset)
    too_new: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The release to have, None: whatever is there; and why, for people.

    stopped: the active one is killed and no other may be had, so that no model of it may run.
    """

    manifest: str | None
    why: str
    stopped: bool = False


def choose(
    policy: RolloutPolicy, halts: Halts, info: DeviceInfo, state: DeviceState, now_utc: int
) -> Choice:
    """Return the first release of the list that this device may have."""
    passed_over: list[str] = []
    for stage in policy.releases:
        why = why_not(stage, halts, info, state, now_utc)
        if why is None:
            said = "kept" if stage.manifest == state.active else "chosen"
            return Choice(
                manifest=stage.manifest, why="; ".join([*passed_over, f"{stage.name}: {said}"])
            )
        passed_over.append(f"{stage.name}: {why}")
    killed = {stage.manifest for stage in policy.releases if stage.state == KILLED}
    told = "; ".join(passed_over) or "nothing is published"
    return Choice(manifest=None, why=told, stopped=state.active in killed)


def why_not(
    stage: Stage, halts: Halts, info: DeviceInfo, state: DeviceState, now_utc: int
) -> str | None:
    """Say why a device may not have a release; None: it may."""
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
    if not _fits(stage.app, info.app_version):
        return f"not for version {info.app_version or 'unknown'} of the app"
    if stage.device_classes and info.device_class not in stage.device_classes:
        return f"not for device class {info.device_class or 'unknown'}"
    if stage.manifest == state.active:
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
    """Return a device's place in 0..1 for one release; it is below the share that may take it."""
    digest = hashlib.sha256(bucket_id + bytes.fromhex(manifest)).digest()
    return int.from_bytes(digest[:_BUCKET_BYTES], "big") / (1 << 8 * _BUCKET_BYTES)


def _fits(app: AppVersions, version: str | None) -> bool:
    if app.least is None and app.below is None:
        return True
    numbers = _numbers(version)
    if numbers is None:
        return False
    if app.least is not None and numbers < version_of(app.least):
        return False
    return app.below is None or numbers < version_of(app.below)


def _numbers(version: str | None) -> tuple[int, ...] | None:
    """The numbers that an app's version begins with, such as 1.2.3-beta or 2.0 (build 7)."""
    found = re.match(APP_VERSION, version or "")
    return version_of(found[0]) if found else None
