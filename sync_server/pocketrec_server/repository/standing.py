"""Compute the standing of each release: the share of devices that get it now; no I/O.

The device decides in `pocketrec_edge.sync.rollout`, from its own bucket. Buckets of different
releases are independent, so the shares follow from the policy. A test compares both.
"""

from collections.abc import Collection
from dataclasses import dataclass

from pocketrec_bundle.settings.rollout import KILLED, PAUSED, RolloutPolicy, Stage

LIVE, KEPT, HALTED = "live", "kept for rollback", "halted"
WAITING, ENDED, UNOFFERED = "scheduled", "ended", "offered to 0%"
STANDINGS = (LIVE, KEPT, PAUSED, HALTED, KILLED, WAITING, ENDED, UNOFFERED)
_NOBODY = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Standing of one release.

    Attributes:
        state: one of STANDINGS.
        share: share of the devices without a release that get this one if they sync now, 0..1. For
            a release restricted to app versions or device classes: the share of those devices.
    """

    state: str
    share: float


def standings(
    policy: RolloutPolicy, halted: Collection[str], now_utc: float
) -> tuple[Standing, ...]:
    """Return the standing of each release of a policy, in the policy's order.

    Args:
        policy: policy of the channel.
        halted: manifests of the halted releases.
        now_utc: current time, unix seconds.
    """
    rows, left = [], 1.0
    for stage in policy.releases:
        stopped = _why_closed(stage, stage.manifest in halted, now_utc)
        share = 0.0 if stopped else left * stage.percent_at(now_utc) / 100
        state = stopped or (LIVE if share > 0 else KEPT if left == 0 else UNOFFERED)
        rows.append(Standing(state=state, share=share))
        if not is_restricted(stage):
            left = max(0.0, left - share)
            left = left if left > _NOBODY else 0.0
    return tuple(rows)


def is_restricted(stage: Stage) -> bool:
    """Return whether a release is restricted to app versions or device classes."""
    return bool(stage.app.least or stage.app.below or stage.device_classes)


def _why_closed(stage: Stage, is_halted: bool, now_utc: float) -> str:
    """Return why a release is no longer offered, one of STANDINGS; "" if it is offered."""
    if stage.state == KILLED:
        return KILLED
    if is_halted:
        return HALTED
    if stage.state == PAUSED:
        return PAUSED
    if now_utc < stage.from_utc:
        return WAITING
    return ENDED if stage.until_utc is not None and now_utc >= stage.until_utc else ""
