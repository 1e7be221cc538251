"""Actions on an experiment: which are possible, their effect, and the command for each; no I/O."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pocketrec_bundle.settings.experiment import KILLED, OPEN, SHIPPED, Experiment
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_server.admin.operations import EDIT, HALT, UNHALT
from pocketrec_server.experiments import changes

PAUSE, RESUME, STOP, KILL, SHIP = "pause", "resume", "stop", "kill", "ship"
OF_ARM = (SHIP, HALT, UNHALT)
DANGERS = (KILL, STOP, HALT)
_STATES = {"running": (PAUSE, STOP, KILL), "paused": (RESUME, STOP, KILL), SHIPPED: (STOP, KILL)}
LABELS = {
    PAUSE: "Pause",
    RESUME: "Resume",
    STOP: "Stop",
    KILL: "Kill",
    SHIP: "Ship",
    HALT: "Halt",
    UNHALT: "End the halt of",
}
_EFFECTS = {
    PAUSE: "No more devices enter the experiment. Devices with an exposure keep their arm.",
    RESUME: "Devices enter the experiment again.",
    STOP: "The experiment ends without a winner. Devices use their release as it is from their "
    "next sync on.",
    KILL: "The experiment ends. Devices use their release as it is from their next sync on. None "
    "of its arms can be shipped later.",
    SHIP: "The experiment ends, and every device uses this arm from its next sync on. Its flags, "
    "rules, weights and campaigns apply until the experiment is stopped.",
    HALT: "Devices in this arm use their release as it is from their next sync on. The other arms "
    "go on. Devices and the report show the reason.",
    UNHALT: "Devices in this arm use it again from their next sync on. The next daily look at its "
    "guardrails can halt it again.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An action on an experiment.

    Attributes:
        channel: name of the channel.
        experiment: id of the experiment.
        action: a key of LABELS.
        arm: name of the arm for OF_ARM, else "".
    """

    channel: str
    experiment: str
    action: str
    arm: str = ""

    @property
    def key(self) -> str:
        """Action whose keys the server needs, see `Operations.may`."""
        return self.action if self.action in (HALT, UNHALT) else EDIT

    @property
    def subject(self) -> str:
        """Subject of the signed change and, after the channel, of the entry in the audit log."""
        return f"{self.experiment} {self.arm}" if self.key != EDIT else self.experiment

    def command(self, reason: str) -> str:
        """Return the equivalent command, to run where the keys are."""
        words = ["pocketrec", "experiment", self.action, self.experiment]
        words += [self.arm] if self.arm else []
        words += ["--reason", reason or "TEXT", "--channel", self.channel]
        return shlex.join([*words, "--repo", "repo/", "--keys", "keys/"])

    def states(self, found: Experiments, halted: Mapping[str, str]) -> tuple[str, str]:
        """Return short texts of the state before and after the action; equal: nothing changes.

        Args:
            found: experiments of the channel.
            halted: reason by halted arm of the experiment.

        Raises:
            InputError: the experiment or arm is unknown, or the state does not allow the action.
        """
        if self.key != EDIT:
            changes.find_arm(found, self.experiment, self.arm)
            why = halted.get(self.arm)
            before = "not halted" if why is None else f"halted: {why}"
            keeps = (why is None) == (self.action == UNHALT)
            other = "halted" if self.action == HALT else "not halted"
            return before, before if keeps else other
        if self.action == SHIP:
            after = changes.shipped(found, self.experiment, self.arm)[0]
        else:
            after = changes.moved(found, self.experiment, self.action)
        return _state(found, self.experiment), _state(after, self.experiment)

    @property
    def effect(self) -> str:
        """The effect on devices, in words."""
        return _EFFECTS[self.action]


def steps(channel: str, one: Experiment, halted: Mapping[str, str]) -> list[Step]:
    """Return the possible actions on an experiment: those on all arms first."""
    found = [(action, "") for action in _STATES.get(one.state, ())]
    for arm in one.arms:
        if one.state != KILLED and arm.name != one.winner:
            found.append((SHIP, arm.name))
        if arm.name in halted:
            found.append((UNHALT, arm.name))
        elif one.state in OPEN and arm is not one.control:
            found.append((HALT, arm.name))
    return [
        Step(channel=channel, experiment=one.id, action=action, arm=arm) for action, arm in found
    ]


def version_of(one: Experiment, halted: Mapping[str, str]) -> str:
    """Return a text that changes with the experiment and the halts of its arms."""
    text = json.dumps([asdict(one), dict(halted)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _state(found: Experiments, name: str) -> str:
    one = changes.find(found, name)
    return f"{one.state} {one.winner}" if one.winner else one.state
