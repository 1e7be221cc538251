"""The experiments of a channel: signed by the publisher, assigned on the device.

FORMAT.md, "Experiments". They are a target of their own, beside `policy.json`: an app that does not
know them reads the policy as before. `assignment.py` has the arm of a device.
"""

import re
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.strict_json import (
    MAX_UTC,
    is_integer,
    is_number,
    is_text,
    parse_json,
    refuse_newer,
    shown,
)
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.settings.experiment_arms import (
    ARM,
    FILE,
    FORMAT,
    Arm,
    Eligible,
    Guardrail,
    arm_of,
    eligible_of,
    guardrail_of,
    insist,
    keyed,
    matches,
)
from pocketrec_bundle.settings.rollout import CHANNEL, RAMP_FORM, is_ramp, percent_at

MAX_BYTES = 256 << 10
MAX_EXPERIMENTS = 16
MIN_ARMS, MAX_ARMS = 2, 8
MAX_GUARDRAILS = 8
MAX_HYPOTHESIS = 500
MIN_PAUSE_S, MAX_PAUSE_S = 60, 86_400
SESSION_PAUSE_S = 1800
SHARES_WITHIN = 1e-9
"""The shares of all arms add up to 1, within this."""
RUNNING, PAUSED, STOPPED, KILLED, SHIPPED = STATES = (
    "running",
    "paused",
    "stopped",
    "killed",
    "shipped",
)
OPEN = (RUNNING, PAUSED)
"""States in which an experiment has devices in its arms."""
ID = LAYER = ARM
SALT = re.compile(r"[0-9a-f]{32}")


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
class Experiment:
    """One experiment.

    Attributes:
        id: name, unique in the channel.
        hypothesis: what is expected, for people.
        salt: 32 hex digits; another salt draws all arms again.
        layer: experiments of one layer exclude each other; those of two layers are independent.
        segment: (from, until) part of the layer's unit interval, until exclusive.
        state: one of `STATES`.
        from_utc: unix seconds; it begins here.
        until_utc: unix seconds; it is over from here on.
        percent: percentage of the segment that is enrolled before the first step of the ramp.
        ramp: (unix seconds, percent) steps, both increasing.
        eligible: devices that it enrols.
        arms: 2..8; the first one is control.
        guardrails: when the server halts it.
        winner: the shipped arm's name; None unless the state is `SHIPPED`.
    """

    id: str
    hypothesis: str
    salt: str
    layer: str
    segment: tuple[float, float]
    state: str
    from_utc: int
    until_utc: int
    arms: tuple[Arm, ...]
    percent: float = 100.0
    ramp: tuple[tuple[int, float], ...] = ()
    eligible: Eligible = field(default_factory=Eligible)
    guardrails: tuple[Guardrail, ...] = ()
    winner: str | None = None

    @property
    def control(self) -> Arm:
        """The first arm."""
        return self.arms[0]

    def arm(self, name: str) -> Arm | None:
        """Return the arm of a name; None without one."""
        return next((arm for arm in self.arms if arm.name == name), None)

    def percent_at(self, now_utc: float) -> float:
        """Return the enrolled percentage of the segment at a time."""
        return percent_at(self.ramp, self.percent, now_utc)

    def runs(self, now_utc: float) -> bool:
        """Whether devices are in its arms at a time."""
        return self.state in OPEN and self.from_utc <= now_utc < self.until_utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiments:
    """All experiments of a channel.

    Attributes:
        channel: its name.
        session_pause_s: an app session ends after this many seconds without a request or event.
        holdout: devices that no experiment enrols; None: there are no such devices.
        experiments: the newest first.
        format: of `experiments.json`.
    """

    channel: str
    session_pause_s: int = SESSION_PAUSE_S
    holdout: Holdout | None = None
    experiments: tuple[Experiment, ...] = ()
    format: int = FORMAT

    def find(self, name: str) -> Experiment | None:
        """Return the experiment of an id; None without one."""
        return next((each for each in self.experiments if each.id == name), None)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        value = asdict(self)
        value["experiments"] = list(value["experiments"])
        for one in value["experiments"]:
            one["segment"] = list(one["segment"])
            one["ramp"] = [list(step) for step in one["ramp"]]
            one["arms"], one["guardrails"] = list(one["arms"]), list(one["guardrails"])
            one["eligible"]["device_classes"] = list(one["eligible"]["device_classes"])
        return value

    def to_bytes(self) -> bytes:
        """Encode for signing; equal experiments give equal bytes.

        Raises:
            BundleInvalidError: a device would refuse it.
        """
        data = canonical_json(self.to_json())
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
        if not isinstance(value, dict) or not is_integer(value.get("format"), FORMAT, FORMAT):
            raise BundleInvalidError(f"{FILE}: of another format than {FORMAT}", code="experiments")
        fields = keyed(FILE, value, cls)
        insist(FILE, "channel", "a channel's name", matches(CHANNEL, fields["channel"]))
        pause = fields["session_pause_s"]
        wanted = f"an integer {MIN_PAUSE_S}..{MAX_PAUSE_S}"
        insist(FILE, "session_pause_s", wanted, is_integer(pause, MIN_PAUSE_S, MAX_PAUSE_S))
        listed = fields["experiments"]
        wanted = f"a list of at most {MAX_EXPERIMENTS}"
        sound = isinstance(listed, list) and len(listed) <= MAX_EXPERIMENTS
        insist(FILE, "experiments", wanted, sound)
        found = tuple(
            _experiment(f"{FILE}: experiment {number}", one) for number, one in enumerate(listed, 1)
        )
        holdout = _holdout(fields["holdout"])
        _check_together(found, holdout)
        return cls(
            channel=fields["channel"], session_pause_s=pause, holdout=holdout, experiments=found
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


def _holdout(value: object) -> Holdout | None:
    if value is None:
        return None
    where = f"{FILE}: holdout"
    fields = keyed(where, value, Holdout)
    insist(where, "salt", "32 hex digits", matches(SALT, fields["salt"]))
    insist(where, "share", "a number 0..1", is_number(fields["share"], 0, 1))
    return Holdout(**fields)


def _experiment(where: str, value: object) -> Experiment:
    fields = keyed(where, value, Experiment)
    insist(where, "id", "1..32 of a-z 0-9 -", matches(ID, fields["id"]))
    where = f"{where}, {fields['id']}"
    wanted = f"a text of at most {MAX_HYPOTHESIS} characters"
    insist(where, "hypothesis", wanted, is_text(fields["hypothesis"], MAX_HYPOTHESIS))
    insist(where, "salt", "32 hex digits", matches(SALT, fields["salt"]))
    insist(where, "layer", "1..32 of a-z 0-9 -", matches(LAYER, fields["layer"]))
    part = fields["segment"]
    sound = isinstance(part, list) and len(part) == 2 and all(is_number(end, 0, 1) for end in part)
    insist(where, "segment", "two rising numbers 0..1", sound and part[0] < part[1])
    insist(where, "state", f"one of {', '.join(STATES)}", fields["state"] in STATES)
    begins, ends = fields["from_utc"], fields["until_utc"]
    insist(where, "from_utc", f"an integer 0..{MAX_UTC}", is_integer(begins, 0, MAX_UTC))
    insist(where, "until_utc", "later than from_utc", is_integer(ends, begins + 1, MAX_UTC))
    insist(where, "percent", "a number 0..100", is_number(fields["percent"], 0, 100))
    insist(where, "ramp", RAMP_FORM, is_ramp(fields["ramp"], fields["percent"]))
    arms = _arms(where, fields["arms"])
    rails = fields["guardrails"]
    sound = isinstance(rails, list) and len(rails) <= MAX_GUARDRAILS
    insist(where, "guardrails", f"a list of at most {MAX_GUARDRAILS}", sound)
    names, winner = [arm.name for arm in arms], fields["winner"]
    right = winner in names if fields["state"] == SHIPPED else winner is None
    insist(where, "winner", "an arm's name if the state is shipped, else null", right)
    return Experiment(
        **fields
        | {
            "segment": (part[0], part[1]),
            "ramp": tuple((second, percent) for second, percent in fields["ramp"]),
            "eligible": eligible_of(f"{where}: eligible", fields["eligible"]),
            "arms": arms,
            "guardrails": tuple(
                guardrail_of(f"{where}: guardrail {number}", one)
                for number, one in enumerate(rails, 1)
            ),
        }
    )


def _arms(where: str, listed: Any) -> tuple[Arm, ...]:
    some = isinstance(listed, list) and MIN_ARMS <= len(listed) <= MAX_ARMS
    insist(where, "arms", f"a list of {MIN_ARMS}..{MAX_ARMS}", some)
    arms = tuple(arm_of(f"{where}: arm {number}", one) for number, one in enumerate(listed, 1))
    if len({arm.name for arm in arms}) < len(arms):
        raise BundleInvalidError(f"{where}: an arm's name stands twice", code="experiments")
    total = sum(arm.share for arm in arms)
    if abs(total - 1) > SHARES_WITHIN:
        raise BundleInvalidError(
            f"{where}: the shares of the arms add up to {shown(total)}, not 1", code="experiments"
        )
    return arms


def _shown(segment: tuple[float, float]) -> str:
    return f"{segment[0]:g}..{segment[1]:g}"
