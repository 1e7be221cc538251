"""Complete the plan of an experiment, as an operator writes it, to a checked experiment; no I/O."""

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from pocketrec_bundle.encoding.strict_json import is_integer
from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_bundle.settings.experiment import RUNNING, Experiment, experiment_of
from pocketrec_bundle.settings.experiment_arms import FILE
from pocketrec_bundle.units import DAY_S

BACKDATED_S = DAY_S
"""Maximum age of a new experiment's begin: a later one hides that a clock is wrong."""
_LONGEST_S = 366 * DAY_S
REQUIRED = ("id", "until_utc", "arms")
_DEFAULTS: dict[str, Any] = {
    "hypothesis": "",
    "layer": "default",
    "segment": [0.0, 1.0],
    "percent": 100.0,
    "ramp": [],
    "eligible": {},
    "guardrails": [],
    "interleave": False,
}
_ELIGIBLE: dict[str, Any] = {"app": {}, "device_classes": [], "users": "all"}
_APP: dict[str, Any] = {"least": None, "below": None}
_ARM: dict[str, Any] = {
    "release": None,
    "models": None,
    "rules": None,
    "head_weights": None,
    "campaigns": None,
    "flags": {},
}


def completed(
    plan: Mapping[str, Any], salt: str, now_utc: int, manifest_of: Callable[[str], str]
) -> Experiment:
    """Return the experiment of a plan: defaults filled in, releases by their manifest.

    Args:
        plan: keys of `Experiment` without salt, state and winner; `REQUIRED` have no defaults.
            `release` of an arm is a name or the first digits of a manifest's hash. `length_s`,
            seconds from the begin to the end, may replace `until_utc`.
        salt: 32 hex digits.
        now_utc: unix seconds; the experiment begins then if the plan has no `from_utc`.
        manifest_of: returns the manifest's hash of a release; raises InputError.

    Raises:
        InputError: a key is missing, unknown, of the wrong type or out of bounds, or a release is
            unknown.
    """
    value = _filled(
        "experiment", _with_end(plan, now_utc), {"from_utc": now_utc} | _DEFAULTS, REQUIRED
    )
    name = value["id"]
    eligible = _filled(f"{name}: eligible", value["eligible"], _ELIGIBLE)
    eligible["app"] = _filled(f"{name}: eligible.app", eligible["app"], _APP)
    arms = value["arms"]
    if not isinstance(arms, list):
        raise InputError(f"{name}: arms must be a list, control first.")
    arms = [
        _filled(f"{name}: arm {number}", arm, _ARM, ("name", "share"))
        for number, arm in enumerate(arms, 1)
    ]
    for arm in arms:
        if isinstance(arm["release"], str):
            arm["release"] = manifest_of(arm["release"])
    if type(until := value["until_utc"]) is int:
        _check_end(name, until, now_utc)
    state = {"salt": salt, "state": RUNNING, "winner": None}
    try:
        return experiment_of("experiment", value | {"eligible": eligible, "arms": arms} | state)
    except BundleInvalidError as err:
        raise InputError(str(err)) from err


def check_times(experiment: Experiment, now_utc: int, *, is_new: bool) -> None:
    """Refuse an experiment that is over, or begins long before it is started.

    Raises:
        InputError: the dates are wrong, or this machine's clock is.
    """
    _check_end(experiment.id, experiment.until_utc, now_utc)
    if is_new and experiment.from_utc < now_utc - BACKDATED_S:
        days = (now_utc - experiment.from_utc) / DAY_S
        raise InputError(
            f"{experiment.id}: begins {days:.1f} days before now. Devices would report no exposure "
            "of that time. Leave `from` out to begin now, or check the clock of this machine."
        )


def _with_end(plan: Mapping[str, Any], begins_utc: int) -> Mapping[str, Any]:
    """Return a plan with `until_utc` in place of `length_s`."""
    if "length_s" not in plan:
        return plan
    begins, length = plan.get("from_utc", begins_utc), plan["length_s"]
    if type(begins) is not int or not is_integer(length, 1, _LONGEST_S):
        raise InputError(f"experiment: length_s must be an integer 1..{_LONGEST_S}.")
    rest = {key: value for key, value in plan.items() if key != "length_s"}
    return {"until_utc": begins + length} | rest


def _check_end(name: str, until_utc: int, now_utc: int) -> None:
    if until_utc <= now_utc:
        hours = (now_utc - until_utc) / 3600
        raise InputError(
            f"{name}: ends {hours:.1f} hours before now. Set a later `until`, or check the clock "
            "of this machine."
        )


def _filled(
    where: str, given: object, defaults: Mapping[str, Any], required: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return given values with defaults; unknown and missing keys are refused."""
    if not isinstance(given, Mapping):
        raise InputError(f"{where}: must be a table of keys.")
    known = [*required, *defaults]
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}."
            raise InputError(f"{where}: unknown key {key!r}; {hint}")
    if missing := [key for key in required if key not in given]:
        raise InputError(f"{where}: {', '.join(missing)} missing. See {FILE} in the guide.")
    return {**defaults, **given}
