"""The true click-through rates of an experiment's arms, known from the user model."""

from collections.abc import Iterable
from dataclasses import dataclass

from pocketrec_edge.simulator.session_result import SessionResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmTruth:
    """One arm.

    Attributes:
        arm: name.
        devices: phones that saw a slate of the arm.
        left: of these phones, those that left the arm before the end, as after a halt.
        shown: impressions of these phones since their first slate of the arm. Slates after a halt
            count too, as in the report (intention to treat).
        clicks: of these impressions.
        ctr: mean click probability of these impressions by the user model: the click-through rate
            without the chance of the clicks. None without impressions.
    """

    arm: str
    devices: int
    left: int
    shown: int
    clicks: int
    ctr: float | None


def arm_truths(results: Iterable[SessionResult], arms: Iterable[str]) -> list[ArmTruth]:
    """Return the truth of each arm, in their order.

    Args:
        results: of all phones.
        arms: names, control first.
    """
    by_arm: dict[str, list[SessionResult]] = {arm: [] for arm in arms}
    for result in results:
        if result.arm in by_arm:
            by_arm[result.arm].append(result)
    return [_truth(arm, found) for arm, found in by_arm.items()]


def lift(truth: ArmTruth, control: ArmTruth) -> float | None:
    """Return the true relative change of the click-through rate; None if it cannot be known."""
    if truth.ctr is None or not control.ctr:
        return None
    return truth.ctr / control.ctr - 1


def _truth(arm: str, results: list[SessionResult]) -> ArmTruth:
    shown = sum(result.shown for result in results)
    return ArmTruth(
        arm=arm,
        devices=len(results),
        left=sum(result.left_arm for result in results),
        shown=shown,
        clicks=sum(result.clicks for result in results),
        ctr=sum(result.expected_clicks for result in results) / shown if shown else None,
    )
