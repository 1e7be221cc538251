"""One experiment of a channel: arms, times, part of a layer (FORMAT.md, "Experiments")."""

import re
from dataclasses import dataclass, field
from typing import Any

from pocketrec_bundle.encoding.strict_json import (
    MAX_UTC,
    is_integer,
    is_number,
    is_text,
    matches,
    shown,
)
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.settings.experiment_arms import (
    ARM,
    FORMAT,
    Arm,
    Eligible,
    Guardrail,
    arm_of,
    eligible_of,
    guardrail_of,
    insist,
    keyed,
)
from pocketrec_bundle.settings.rollout import RAMP_FORM, is_ramp, percent_at

MIN_ARMS, MAX_ARMS = 2, 8
MAX_GUARDRAILS = 8
MAX_HYPOTHESIS = 500
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
INTERLEAVED = "interleaved"
"""The arm that a device reports for a slate that is merged from both arms."""
ID = LAYER = ARM
SALT = re.compile(r"[0-9a-f]{32}")


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
        interleave: merge the slates of both arms into one, see `pocketrec_edge.experiments`.
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
    interleave: bool = False

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


def experiment_of(where: str, value: object, format_: int = FORMAT) -> Experiment:
    """Check and build an experiment from parsed JSON of a format.

    Raises:
        BundleInvalidError: a key is missing, unknown, of the wrong type or out of bounds, or the
            shares of its arms do not add up to 1.
    """
    fields = keyed(where, value, Experiment, format_)
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
    arms = _arms(where, fields["arms"], format_)
    insist(where, "interleave", "true or false", type(fields["interleave"]) is bool)
    if fields["interleave"]:
        wanted = f"two that name rules and head_weights only, none of them {INTERLEAVED}"
        insist(where, "arms of an interleaved experiment", wanted, _can_interleave(arms))
    rails = _guardrails(where, fields["guardrails"])
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
            "guardrails": rails,
        }
    )


def _can_interleave(arms: tuple[Arm, ...]) -> bool:
    return len(arms) == 2 and not any(
        arm.release or arm.campaigns or arm.flags or arm.models or arm.name == INTERLEAVED
        for arm in arms
    )


def _guardrails(where: str, listed: Any) -> tuple[Guardrail, ...]:
    sound = isinstance(listed, list) and len(listed) <= MAX_GUARDRAILS
    insist(where, "guardrails", f"a list of at most {MAX_GUARDRAILS}", sound)
    rails = tuple(
        guardrail_of(f"{where}: guardrail {number}", one) for number, one in enumerate(listed, 1)
    )
    if len({(rail.metric, rail.worse_by) for rail in rails}) < len(rails):
        raise BundleInvalidError(
            f"{where}: two guardrails have the same metric and worse_by; keep one of them",
            code="experiments",
        )
    return rails


def _arms(where: str, listed: Any, format_: int) -> tuple[Arm, ...]:
    some = isinstance(listed, list) and MIN_ARMS <= len(listed) <= MAX_ARMS
    insist(where, "arms", f"a list of {MIN_ARMS}..{MAX_ARMS}", some)
    arms = tuple(
        arm_of(f"{where}: arm {number}", one, format_) for number, one in enumerate(listed, 1)
    )
    if len({arm.name for arm in arms}) < len(arms):
        raise BundleInvalidError(f"{where}: an arm's name stands twice", code="experiments")
    total = sum(arm.share for arm in arms)
    if abs(total - 1) > SHARES_WITHIN:
        raise BundleInvalidError(
            f"{where}: the shares of the arms add up to {shown(total)}, not 1", code="experiments"
        )
    return arms
