"""The arms of this device: assignment, eligibility, forced arms, winners. Pure functions."""

from collections.abc import Callable
from dataclasses import dataclass

from pocketrec_bundle.settings.app_versions import fits
from pocketrec_bundle.settings.assignment import assigned_arm
from pocketrec_bundle.settings.experiment import INTERLEAVED, OPEN, PAUSED, SHIPPED, Experiment
from pocketrec_bundle.settings.experiment_arms import ALL, NEW, Arm
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_bundle.settings.halted_arms import HaltedArms
from pocketrec_edge.experiments.arm_memory import ArmMemory
from pocketrec_edge.experiments.signed_experiments import DeviceFacts

NO_HALTS = HaltedArms()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """An experiment with the arm of this device.

    Attributes:
        experiment: it runs, or an arm is shipped.
        arm: of this device, or the winner.
        forced: a person chose the arm; the analysis leaves this device out.
    """

    experiment: Experiment
    arm: Arm
    forced: bool = False

    @property
    def interleaves(self) -> bool:
        """Whether slates are merged from both arms, instead of the arm of this device."""
        return self.experiment.interleave and not (self.forced or self.is_shipped)

    @property
    def reported(self) -> str:
        """The arm that is logged and shown."""
        return INTERLEAVED if self.interleaves else self.arm.name

    @property
    def is_shipped(self) -> bool:
        """Whether the arm is a winner that every device gets."""
        return self.experiment.state == SHIPPED


def assigned_arms(
    experiments: Experiments,
    bucket_id: bytes,
    facts: DeviceFacts,
    memory: ArmMemory,
    now_utc: float,
    is_new_user: Callable[[Experiment], bool | None],
    halted: HaltedArms = NO_HALTS,
) -> tuple[Assigned, ...]:
    """Return the arms that apply to this device now: running experiments first, then winners.

    A halted arm applies to no device, as if its experiment were killed. Others go on.

    Args:
        experiments: of the channel.
        bucket_id: of the device.
        facts: of the last sync.
        memory: of the device.
        now_utc: unix seconds by the device's clock.
        is_new_user: whether the user was new when the experiment began; None: unknown, and the
            device is not enrolled now. It is called for enrolled devices only.
        halted: arms that the server halted.
    """
    running, winners = [], []
    for one in experiments.experiments:
        forced = one.arm(memory.forced.get(one.id, ""))
        if forced is not None and one.state in OPEN and now_utc < one.until_utc:
            running.append(Assigned(experiment=one, arm=forced, forced=True))
        elif one.state == SHIPPED and one.winner is not None and _fits(one, facts):
            if (winner := one.arm(one.winner)) is not None:
                winners.append(Assigned(experiment=one, arm=winner))
        elif (arm := assigned_arm(one, experiments.holdout, bucket_id, now_utc)) is not None:
            may_enter = one.state != PAUSED or memory.entered(one)
            if may_enter and _fits(one, facts) and _has_users(one, is_new_user):
                running.append(Assigned(experiment=one, arm=arm))
    return (*(one for one in running if not _is_halted(one, halted)), *winners)


def _is_halted(one: Assigned, halted: HaltedArms) -> bool:
    arms = one.experiment.arms if one.interleaves else (one.arm,)
    return any(halted.reason(one.experiment, arm.name) is not None for arm in arms)


def arm_release(assigned: tuple[Assigned, ...]) -> Assigned | None:
    """Return the first running arm that names a release; None: the rollout policy decides."""
    return next(
        (one for one in assigned if one.arm.release is not None and not one.is_shipped), None
    )


def arm_with_models(assigned: tuple[Assigned, ...]) -> Assigned | None:
    """Return the first arm that names a model set, running or shipped; None: none does."""
    return next((one for one in assigned if one.arm.models is not None), None)


def _fits(experiment: Experiment, facts: DeviceFacts) -> bool:
    eligible = experiment.eligible
    classes = eligible.device_classes
    return fits(eligible.app, facts.app_version) and (not classes or facts.device_class in classes)


def _has_users(experiment: Experiment, is_new_user: Callable[[Experiment], bool | None]) -> bool:
    users = experiment.eligible.users
    return users == ALL or is_new_user(experiment) is (users == NEW)
