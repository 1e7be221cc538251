"""The experiments of a channel: signed by the publisher, assigned on the device.

FORMAT.md, "Experiments". They are a target of their own, beside `policy.json`: an app that does not
know them reads the policy as before. `assignment.py` has the arm of a device.
"""

from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.strict_json import (
    is_integer,
    is_number,
    is_text,
    matches,
    parse_json,
    refuse_newer,
)
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.settings.experiment import OPEN, SALT, Experiment, experiment_of
from pocketrec_bundle.settings.experiment_arms import (
    FILE,
    FORMAT,
    OLDEST_FORMAT,
    insist,
    keyed,
)
from pocketrec_bundle.settings.experiment_sums import CONVERSIONS
from pocketrec_bundle.settings.form import oldest_format, plain, since
from pocketrec_bundle.settings.rollout import CHANNEL

MAX_BYTES = 256 << 10
MAX_EXPERIMENTS = 16
MIN_PAUSE_S, MAX_PAUSE_S = 60, 86_400
SESSION_PAUSE_S = 1800
MAX_CONVERSIONS, MAX_EVENT = 8, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdout:
    """Devices that no experiment enrols.

    Attributes:
        salt: 32 hex digits.
        share: of all devices, 0..1.
    """

    salt: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiments:
    """All experiments of a channel.

    Attributes:
        channel: its name.
        session_pause_s: an app session ends after this many seconds without a request or event.
        holdout: devices that no experiment enrols; None: there are no such devices.
        experiments: the newest first.
        conversions: event types that are conversions, for phones, guardrails and the report.
    """

    channel: str
    session_pause_s: int = SESSION_PAUSE_S
    holdout: Holdout | None = None
    experiments: tuple[Experiment, ...] = ()
    conversions: tuple[str, ...] = field(default=CONVERSIONS, metadata=since(2))

    @property
    def format(self) -> int:
        """The oldest format of `experiments.json` that holds them."""
        return oldest_format(self)

    def find(self, name: str) -> Experiment | None:
        """Return the experiment of an id; None without one."""
        return next((each for each in self.experiments if each.id == name), None)

    def releases(self, now_utc: float) -> frozenset[str]:
        """Return the manifests that arms of experiments name, unless these have ended."""
        is_open = [o for o in self.experiments if o.state in OPEN and now_utc < o.until_utc]
        arms = (arm for one in is_open for arm in one.arms)
        return frozenset(arm.release for arm in arms if arm.release is not None)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found: dict[str, Any] = plain(self, self.format)
        return {"format": self.format} | found

    def to_bytes(self) -> bytes:
        """Encode for signing; equal experiments give equal bytes.

        Raises:
            BundleInvalidError: a device would refuse it.
        """
        try:
            data = canonical_json(self.to_json())
        except ValueError as err:  # an infinite number within an arm's rules or campaigns
            raise BundleInvalidError(f"{FILE}: {err}", code="experiments") from err
        Experiments.from_bytes(data)
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> "Experiments":
        """Check and build experiments from the bytes of `experiments.json`.

        Raises:
            BundleTooNewError: the format is later than this app knows.
            BundleInvalidError: the file is too large or not JSON, or see `from_json`.
        """
        return cls.from_json(parse_json(FILE, data, MAX_BYTES))

    @classmethod
    def from_json(cls, value: object) -> "Experiments":
        """Check and build experiments from parsed JSON.

        Raises:
            BundleTooNewError: the format is later than this app knows.
            BundleInvalidError: a key is missing, unknown, of the wrong type or out of bounds; an id
                or a salt comes twice; shares do not add up to 1; or two experiments of a layer have
                devices in common.
        """
        refuse_newer(FILE, value, FORMAT, "format")
        format_: Any = value.get("format") if isinstance(value, dict) else None
        if not is_integer(format_, OLDEST_FORMAT, FORMAT):
            raise BundleInvalidError(
                f"{FILE}: of another format than {OLDEST_FORMAT} to {FORMAT}", code="experiments"
            )
        assert isinstance(value, dict)
        rest = {key: one for key, one in value.items() if key != "format"}
        fields = keyed(FILE, rest, cls, format_)
        insist(FILE, "channel", "a channel's name", matches(CHANNEL, fields["channel"]))
        pause = fields["session_pause_s"]
        wanted = f"an integer {MIN_PAUSE_S}..{MAX_PAUSE_S}"
        insist(FILE, "session_pause_s", wanted, is_integer(pause, MIN_PAUSE_S, MAX_PAUSE_S))
        listed = fields["experiments"]
        wanted = f"a list of at most {MAX_EXPERIMENTS}"
        sound = isinstance(listed, list) and len(listed) <= MAX_EXPERIMENTS
        insist(FILE, "experiments", wanted, sound)
        found = tuple(
            experiment_of(f"{FILE}: experiment {number}", one, format_)
            for number, one in enumerate(listed, 1)
        )
        holdout = _holdout(fields["holdout"])
        _check_together(found, holdout)
        return cls(
            channel=fields["channel"],
            session_pause_s=pause,
            holdout=holdout,
            experiments=found,
            conversions=_conversions(fields["conversions"]),
        )


def overlap(one: Experiment, two: Experiment) -> bool:
    """Whether two experiments of a layer have a part of it, and a time, in common."""
    if one.layer != two.layer or one.state not in OPEN or two.state not in OPEN:
        return False
    times = max(one.from_utc, two.from_utc) < min(one.until_utc, two.until_utc)
    return times and max(one.segment[0], two.segment[0]) < min(one.segment[1], two.segment[1])


def _check_together(found: tuple[Experiment, ...], holdout: Holdout | None) -> None:
    if len({one.id for one in found}) < len(found):
        raise BundleInvalidError(f"{FILE}: an id stands twice", code="experiments")
    salts = [one.salt for one in found] + ([holdout.salt] if holdout else [])
    if len(set(salts)) < len(salts):
        raise BundleInvalidError(f"{FILE}: a salt stands twice", code="experiments")
    for one, two in combinations(found, 2):
        if overlap(one, two):
            raise BundleInvalidError(
                f"{FILE}: experiments {one.id} and {two.id} of layer {one.layer} overlap: segments "
                f"{_shown(one.segment)} and {_shown(two.segment)}. Choose segments that do not "
                "overlap, another layer, or other times.",
                code="experiments",
            )


def _conversions(value: Any) -> tuple[str, ...]:
    some = isinstance(value, list | tuple) and 1 <= len(value) <= MAX_CONVERSIONS
    sound = some and all(one and is_text(one, MAX_EVENT) for one in value)
    sound = sound and len(set(value)) == len(value)
    wanted = f"a list of 1..{MAX_CONVERSIONS} different texts of 1..{MAX_EVENT} characters"
    insist(FILE, "conversions", wanted, sound)
    return tuple(value)


def _holdout(value: object) -> Holdout | None:
    if value is None:
        return None
    where = f"{FILE}: holdout"
    fields = keyed(where, value, Holdout)
    insist(where, "salt", "32 hex digits", matches(SALT, fields["salt"]))
    insist(where, "share", "a number 0..1", is_number(fields["share"], 0, 1))
    return Holdout(**fields)


def _shown(segment: tuple[float, float]) -> str:
    return f"{segment[0]:g}..{segment[1]:g}"
