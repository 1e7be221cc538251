"""How each release of a channel stands: which one a phone gets that asks now; no I/O.

The phone decides in `pocketrec_edge.sync.rollout`, from its own bucket. Buckets of different
releases are independent, so the shares follow from the policy; a test compares them with that code.
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
    """How one release stands.

    Attributes:
        state: one of STANDINGS.
        share: 0..1 of the phones that ask now and have no release get this one; of a release for
            some apps or device classes: of the phones that it is for.
    """

    state: str
    share: float


def standings(
    policy: RolloutPolicy, halted: Collection[str], now_utc: float
) -> tuple[Standing, ...]:
    """Return how each release of a policy stands, in its order.

    Args:
        policy: of the channel.
        halted: manifests that the brake stopped.
        now_utc: unix seconds.
    """
    found, left = [], 1.0
    for stage in policy.releases:
        stopped = _why_closed(stage, stage.manifest in halted, now_utc)
        share = 0.0 if stopped else left * stage.percent_at(now_utc) / 100
        state = stopped or (LIVE if share > 0 else KEPT if left == 0 else UNOFFERED)
        found.append(Standing(state=state, share=share))
        if not is_restricted(stage):
            left = max(0.0, left - share)
            left = left if left > _NOBODY else 0.0
    return tuple(found)


def is_restricted(stage: Stage) -> bool:
    """Whether a release is for some versions of the app or some device classes only."""
    return bool(stage.app.least or stage.app.below or stage.device_classes)


def _why_closed(stage: Stage, is_halted: bool, now_utc: float) -> str:
    """Return the state of a release that no further phone may take; "": phones may."""
    if stage.state == KILLED:
        return KILLED
    if is_halted:
        return HALTED
    if stage.state == PAUSED:
        return PAUSED
    if now_utc < stage.from_utc:
        return WAITING
    return ENDED if stage.until_utc is not None and now_utc >= stage.until_utc else ""
