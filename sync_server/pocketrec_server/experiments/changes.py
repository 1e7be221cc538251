"""Change the experiments of a channel, as an operator does; no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_bundle.settings.experiment import (
    KILLED,
    OPEN,
    PAUSED,
    RUNNING,
    SHIPPED,
    STOPPED,
    Experiment,
)
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_bundle.settings.experiments import (
    MAX_BYTES,
    MAX_EXPERIMENTS,
    Experiments,
    Holdout,
)

_DRAWN = ("layer", "segment", "from_utc", "eligible", "arms", "interleave")
"""Settings that decide which device is in which arm, or what an arm is."""
EDITABLE = ("hypothesis", "until_utc", "percent", "ramp", "guardrails")
"""Settings of an open experiment that can change while devices keep their arms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """States from which an action leads to a state."""

    before: tuple[str, ...]
    after: str


_RULES = {
    "pause": _Rule(before=(RUNNING,), after=PAUSED),
    "resume": _Rule(before=(PAUSED,), after=RUNNING),
    "stop": _Rule(before=(RUNNING, PAUSED, SHIPPED), after=STOPPED),
    "kill": _Rule(before=(RUNNING, PAUSED, STOPPED, SHIPPED), after=KILLED),
}


def find(experiments: Experiments, name: str) -> Experiment:
    """Return the experiment of an id.

    Raises:
        InputError: the channel has no such experiment.
    """
    if (found := experiments.find(name)) is not None:
        return found
    names = ", ".join(one.id for one in experiments.experiments)
    known = f"known experiments: {names}" if names else "the channel has no experiments"
    raise InputError(f"{experiments.channel}: no experiment {name!r}; {known}.")


def find_arm(experiments: Experiments, name: str, arm: str) -> Experiment:
    """Return the experiment of an id that has an arm of a name.

    Raises:
        InputError: the channel has no such experiment, or it has no such arm.
    """
    one = find(experiments, name)
    if one.arm(arm) is None:
        names = ", ".join(each.name for each in one.arms)
        raise InputError(f"{name}: no arm {arm!r}; its arms: {names}.")
    return one


def started(
    before: Experiments, planned: Experiment, now_utc: int, *, new_salt: bool = False
) -> Experiments:
    """Return the experiments with a new or a changed one.

    An open experiment keeps its salt, so that devices keep their arms, and its state. It may change
    its text, end, guardrails and a rising percentage. One that has ended starts with a new salt.

    Args:
        before: of the channel.
        planned: the experiment, with a new salt.
        now_utc: unix seconds.
        new_salt: draw the arms of an open experiment again.

    Raises:
        InputError: an open experiment would change its devices or arms, or it does not fit the
            channel's others.
    """
    known = before.find(planned.id)
    others = tuple(one for one in before.experiments if one.id != planned.id)
    listed = (planned, *others)
    if known is not None and _is_open(known, now_utc) and not new_salt:
        planned = _continued(known, planned, now_utc)
        listed = tuple(planned if one.id == planned.id else one for one in before.experiments)
    _check_targets(others, planned, now_utc)
    return checked(_with_room(replace(before, experiments=listed), planned.id, now_utc))


def edited(
    before: Experiments, name: str, changed: Mapping[str, Any], now_utc: int
) -> dict[str, Any]:
    """Return the plan of an open experiment with new values of some of EDITABLE, for `started`.

    A new ramp without a percentage begins with the present one.

    Raises:
        InputError: the experiment is unknown or not open, or a key is not editable.
    """
    one = find(before, name)
    if not _is_open(one, now_utc):
        state = one.state if one.state not in OPEN else "over"
        raise InputError(f"{name}: is {state}, so its settings have no effect. Start it again.")
    if unknown := sorted(changed.keys() - set(EDITABLE)):
        raise InputError(
            f"{name}: {', '.join(unknown)} cannot be edited: devices would leave arms."
        )
    listed = before.to_json()["experiments"]
    plan = next(each for each in listed if each["id"] == name)
    drawn = {key: value for key, value in plan.items() if key not in ("salt", "state", "winner")}
    if "ramp" in changed:
        drawn["percent"] = one.percent_at(now_utc)
    return drawn | dict(changed)


def moved(before: Experiments, name: str, action: str) -> Experiments:
    """Return the experiments after pause, resume, stop or kill of one.

    Raises:
        InputError: the experiment is unknown, or its state does not allow the action.
    """
    one, rule = find(before, name), _RULES[action]
    if one.state not in rule.before:
        raise InputError(
            f"{name}: is {one.state}; {action} needs {' or '.join(rule.before)}. Start it again "
            "with `pocketrec experiment start`."
        )
    return changed(before, replace(one, state=rule.after, winner=None))


def ramped(
    before: Experiments,
    name: str,
    percent: float | None,
    ramp: tuple[tuple[int, float], ...],
    now_utc: int,
) -> Experiments:
    """Return the experiments with a larger percentage of one, now or by a ramp.

    Args:
        before: of the channel.
        name: id of the experiment.
        percent: of the segment, from now on; it ends an earlier ramp. None: as it is now.
        ramp: (unix seconds, percent) steps.
        now_utc: unix seconds.

    Raises:
        InputError: the experiment is unknown or not open, or devices would leave their arms.
    """
    one = find(before, name)
    if one.state not in OPEN:
        raise InputError(f"{name}: is {one.state}, so no device enters it. Start it again first.")
    reached = one.percent_at(now_utc)
    after = replace(one, percent=reached if percent is None else percent, ramp=ramp)
    _check_rise(one, after, now_utc)
    return changed(before, after)


def shipped(before: Experiments, name: str, arm: str) -> tuple[Experiments, Arm]:
    """Return the experiments with an arm shipped to every device, and the arm.

    Raises:
        InputError: the experiment or the arm is unknown, or the experiment was killed.
    """
    one = find_arm(before, name, arm)
    winner = next(each for each in one.arms if each.name == arm)
    if one.state == KILLED:
        raise InputError(f"{name}: is killed, so none of its arms can be shipped. Start it again.")
    return changed(before, replace(one, state=SHIPPED, winner=arm)), winner


def held_out(before: Experiments, share: float, salt: str, now_utc: int) -> Experiments:
    """Return the experiments with another share of devices that none of them enrols.

    Args:
        before: of the channel.
        share: of all devices, 0..1; 0: no holdout.
        salt: of a first holdout; a later share keeps the salt.
        now_utc: unix seconds.

    Raises:
        InputError: an experiment is open, and its devices would change.
    """
    if is_open := [one.id for one in before.experiments if _is_open(one, now_utc)]:
        raise InputError(
            f"{before.channel}: the holdout decides who is in {', '.join(is_open)}. Change it once "
            "they have ended."
        )
    salt = before.holdout.salt if before.holdout else salt
    return checked(replace(before, holdout=Holdout(salt=salt, share=share) if share else None))


def converting(before: Experiments, events: tuple[str, ...], now_utc: int) -> Experiments:
    """Return the experiments with other event types as conversions.

    Args:
        before: of the channel.
        events: event types.
        now_utc: unix seconds.

    Raises:
        InputError: an experiment is open, whose sums of both kinds would mix; or a name is wrong.
    """
    is_open = [one.id for one in before.experiments if _is_open(one, now_utc)]
    if is_open and events != before.conversions:
        raise InputError(
            f"{before.channel}: conversions decide the results of {', '.join(is_open)}. Change "
            "them once the experiments have ended."
        )
    return checked(replace(before, conversions=events))


def changed(before: Experiments, after: Experiment) -> Experiments:
    """Return the experiments with one replaced. Raises the errors of `checked`."""
    listed = tuple(after if one.id == after.id else one for one in before.experiments)
    return checked(replace(before, experiments=listed))


def checked(experiments: Experiments) -> Experiments:
    """Return experiments that devices accept.

    Raises:
        InputError: a device would refuse them.
    """
    try:
        return Experiments.from_bytes(experiments.to_bytes())
    except BundleInvalidError as err:
        raise InputError(str(err)) from err


def _continued(known: Experiment, planned: Experiment, now_utc: int) -> Experiment:
    planned = replace(planned, salt=known.salt, state=known.state)
    differing = [key for key in _DRAWN if getattr(known, key) != getattr(planned, key)]
    if differing:
        raise InputError(
            f"{known.id}: is {known.state}, and {', '.join(differing)} would change: its results "
            "would mix two experiments. Start one with another id; or add --new-salt, which draws "
            "all devices again and begins a new analysis."
        )
    if planned.ramp != known.ramp or planned.percent != known.percent:
        _check_rise(known, planned, now_utc)
    return planned


def _is_open(one: Experiment, now_utc: int) -> bool:
    return one.state in OPEN and now_utc < one.until_utc


def _check_rise(before: Experiment, after: Experiment, now_utc: int) -> None:
    moments = {now_utc, *(at for at, _ in (*before.ramp, *after.ramp) if at > now_utc)}
    reached = before.percent_at(now_utc)
    if any(after.percent_at(at) < reached for at in moments):
        raise InputError(
            f"{before.id}: {reached:g}% of the segment is enrolled; with less, devices would leave "
            "their arms. Use `pocketrec experiment pause` to enrol no more, or `stop`."
        )


def _check_targets(others: tuple[Experiment, ...], planned: Experiment, now_utc: int) -> None:
    """Refuse two independent experiments that set the same thing on one device."""
    own = _set_by(planned)
    for one in others:
        if one.layer == planned.layer or not _is_open(one, now_utc):
            continue
        times = max(one.from_utc, planned.from_utc) < min(one.until_utc, planned.until_utc)
        if times and (both := sorted(own & _set_by(one))):
            raise InputError(
                f"{planned.id}: sets {', '.join(both)}, as {one.id} of layer {one.layer} does, and "
                f"a device can be in both. Put them in one layer: layer = {one.layer!r}."
            )


def _set_by(experiment: Experiment) -> set[str]:
    parts = ("release", "rules", "head_weights", "campaigns", "models")
    found = {part for part in parts for arm in experiment.arms if getattr(arm, part) is not None}
    return found | {f"flag {name}" for arm in experiment.arms for name in arm.flags}


def _with_room(experiments: Experiments, name: str, now_utc: int) -> Experiments:
    """Drop the oldest experiments that no longer matter to a device, if there are too many.

    Args:
        experiments: of the channel, the newest first; too many, or too many bytes.
        name: of the experiment that is started; it is kept.
        now_utc: unix seconds.
    """
    kept = list(experiments.experiments)
    while True:
        fits = replace(experiments, experiments=tuple(kept))
        n_bytes = len(canonical_json(fits.to_json()))
        if len(kept) <= MAX_EXPERIMENTS and n_bytes <= MAX_BYTES:
            return fits
        ended = [
            at
            for at, one in enumerate(kept)
            if one.id != name and one.state != SHIPPED and not _is_open(one, now_utc)
        ]
        if not ended:
            full = f"{len(kept)} experiments that are open or shipped, with {n_bytes} bytes"
            raise InputError(
                f"{name}: with it the channel has {full}; at most {MAX_EXPERIMENTS} and "
                f"{MAX_BYTES} bytes fit. Stop one first; a shipped one belongs in the next release."
            )
        kept.pop(ended[-1])
