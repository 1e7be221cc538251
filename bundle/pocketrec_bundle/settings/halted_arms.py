"""Halted arms of experiments, signed by the brake key, which can end an arm and cannot start one.

FORMAT.md, "Halted arms". A device in a halted arm uses its release as it is.
"""

from dataclasses import asdict, dataclass
from typing import Any

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.strict_json import (
    MAX_TEXT,
    MAX_UTC,
    is_integer,
    is_text,
    matches,
    parse_json,
    refuse_newer,
)
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.settings.experiment import ID, SALT, Experiment
from pocketrec_bundle.settings.experiment_arms import ARM

FILE = "halted arms"
FORMAT = 1
MAX_BYTES = 64 << 10
MAX_HALTED = 64


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


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltedArms:
    """All halted arms of a channel, the newest first."""

    halted: tuple[HaltedArm, ...] = ()
    format: int = FORMAT

    def reason(self, experiment: Experiment, arm: str) -> str | None:
        """Return why an arm is halted; None: it is not halted."""
        key = (experiment.id, experiment.salt, arm)
        return next((each.reason for each in self.halted if each.key == key), None)

    def to_bytes(self) -> bytes:
        """Encode for signing; equal halts give equal bytes.

        Raises:
            BundleInvalidError: a device would refuse the file.
        """
        value = {"format": self.format, "halted": [asdict(each) for each in self.halted]}
        data = canonical_json(value)
        HaltedArms.from_bytes(data)
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> "HaltedArms":
        """Check and build halted arms from the bytes of their file.

        Raises:
            BundleTooNewError: the format is later than this app knows.
            BundleInvalidError: the file is too large or not JSON, a key is missing, unknown, of the
                wrong type or out of bounds, or an arm comes twice.
        """
        value = parse_json(FILE, data, MAX_BYTES)
        refuse_newer(FILE, value, FORMAT, "format")
        if not isinstance(value, dict) or not is_integer(value.get("format"), FORMAT, FORMAT):
            raise _invalid(f"of another format than {FORMAT}")
        if value.keys() != cls.__dataclass_fields__.keys():
            raise _invalid(f"keys differ from format {FORMAT}")
        listed = value["halted"]
        if not isinstance(listed, list) or len(listed) > MAX_HALTED:
            raise _invalid(f"halted must be a list of at most {MAX_HALTED}")
        halted = tuple(_halted(number, one) for number, one in enumerate(listed, 1))
        if len({each.key for each in halted}) < len(halted):
            raise _invalid("an arm stands twice")
        return cls(halted=halted)


def _halted(number: int, value: Any) -> HaltedArm:
    if not isinstance(value, dict) or value.keys() != HaltedArm.__dataclass_fields__.keys():
        raise _invalid(f"arm {number}: keys differ from format {FORMAT}")
    wanted = {
        "experiment": ("1..32 of a-z 0-9 -", matches(ID, value["experiment"])),
        "salt": ("32 hex digits", matches(SALT, value["salt"])),
        "arm": ("1..32 of a-z 0-9 -", matches(ARM, value["arm"])),
        "reason": (f"a text of at most {MAX_TEXT} characters", is_text(value["reason"])),
        "since_utc": (f"an integer 0..{MAX_UTC}", is_integer(value["since_utc"], 0, MAX_UTC)),
    }
    for key, (form, holds) in wanted.items():
        if not holds:
            raise _invalid(f"arm {number}: {key} must be {form}")
    return HaltedArm(**value)


def _invalid(problem: str) -> BundleInvalidError:
    return BundleInvalidError(f"{FILE}: {problem}", code="halts")
