"""Halted arms of experiments, signed by the brake key, which can end an arm and cannot start one.

FORMAT.md, "Halted arms". A device in a halted arm uses its release as it is.
"""

from dataclasses import dataclass

from pocketrec_bundle.encoding.strict_json import matches
from pocketrec_bundle.settings import halts
from pocketrec_bundle.settings.experiment import ID, SALT, Experiment
from pocketrec_bundle.settings.experiment_arms import ARM
from pocketrec_bundle.settings.halts import WHY_AND_WHEN, HaltsForm

MAX_BYTES, MAX_HALTED = halts.MAX_BYTES, halts.MAX_HALTS


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltedArm:
    """One halted arm.

    Attributes:
        experiment: id of the experiment.
        salt: of the experiment; a new salt is a new experiment, whose arms are not halted.
        arm: its name.
        reason: short text for people.
        since_utc: unix seconds.
    """

    experiment: str
    salt: str
    arm: str
    reason: str
    since_utc: int

    @property
    def key(self) -> tuple[str, str, str]:
        """Experiment, salt and arm: what is halted."""
        return self.experiment, self.salt, self.arm


_NAME = "1..32 of a-z 0-9 -"
_FORM = HaltsForm(
    file="halted arms",
    entry="arm",
    what="an arm",
    kind=HaltedArm,
    keys={
        "experiment": (_NAME, lambda value: matches(ID, value)),
        "salt": ("32 hex digits", lambda value: matches(SALT, value)),
        "arm": (_NAME, lambda value: matches(ARM, value)),
        **WHY_AND_WHEN,
    },
    key_of=lambda halted: halted.key,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltedArms:
    """All halted arms of a channel, the newest first."""

    halted: tuple[HaltedArm, ...] = ()

    def reason(self, experiment: Experiment, arm: str) -> str | None:
        """Return why an arm is halted; None: it is not halted."""
        key = (experiment.id, experiment.salt, arm)
        return next((each.reason for each in self.halted if each.key == key), None)

    def to_bytes(self) -> bytes:
        """Encode for signing; see `HaltsForm.to_bytes`."""
        return _FORM.to_bytes(self.halted)

    @classmethod
    def from_bytes(cls, data: bytes) -> "HaltedArms":
        """Check and build halted arms from the bytes of their file; see `HaltsForm.read`."""
        return cls(halted=_FORM.read(data))
