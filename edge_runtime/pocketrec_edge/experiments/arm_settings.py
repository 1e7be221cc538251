"""What the arms of a device change in an answer, checked against its release."""

from collections.abc import Callable
from dataclasses import replace

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.campaigns import Campaigns
from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_bundle.settings.experiment_arms import Arm, FlagValue, weights_of
from pocketrec_bundle.settings.rules import Rules
from pocketrec_edge.errors import EngineError
from pocketrec_edge.experiments.assigned import Assigned
from pocketrec_edge.faults import Fault, FaultCode
from pocketrec_edge.recommend.query import NO_OVERRIDES, Overrides
from pocketrec_edge.recommend.surfaces import SEARCH

LoadSet = Callable[[str], None]
"""Loads the ranker of a model set by its name; raises PocketRecError if it may not run here."""


def no_set(name: str) -> None:
    """Load nothing: no release answers.

    Raises:
        EngineError: always.
    """
    raise EngineError(f"model set {name!r}: no release with models answers")


def overrides_of(
    assigned: tuple[Assigned, ...], bundle: Bundle, load_set: LoadSet = no_set
) -> tuple[Overrides, tuple[Fault, ...]]:
    """Return the settings of all arms together; the first arm that has a setting decides it.

    An arm that does not fit the release, or whose model set cannot be loaded here, counts as
    control; if control does not fit either, the release's own settings stand.
    """
    found, faults = NO_OVERRIDES, []
    for one in assigned:
        try:
            own = _checked(one.arm, bundle)
            if own.models is not None and found.models is None:
                load_set(own.models)
        except PocketRecError as err:
            faults.append(_fault(one, str(err)))
            own = _control(one, bundle, load_set)
        found = Overrides(
            rules=found.rules or own.rules,
            head_weights=found.head_weights or own.head_weights,
            campaigns=found.campaigns or own.campaigns,
            models=found.models or own.models,
        )
    return found, tuple(faults)


def matters_for_slate(experiment: Experiment, scene: str) -> bool:
    """Whether any arm can change a slate of a scene; the same for all arms, control too."""
    arms = experiment.arms
    if any(arm.release or arm.models or arm.head_weights is not None for arm in arms):
        return True
    by_rules = any(arm.rules is not None or arm.campaigns is not None for arm in arms)
    return by_rules and scene != SEARCH  # a search has no rules


def flag_of(
    assigned: tuple[Assigned, ...], name: str, default: FlagValue
) -> tuple[FlagValue, tuple[Assigned, ...], Fault | None]:
    """Return a flag's value, the running experiments to which reading it exposes, and a fault.

    A value of another kind than the default is not given to the app, but control's or the default.
    """
    exposes = tuple(
        one
        for one in assigned
        if not one.is_shipped and any(name in arm.flags for arm in one.experiment.arms)
    )
    for one in assigned:
        if name in one.arm.flags:
            value = one.arm.flags[name]
            if _is_like(value, default):
                return value, exposes, None
            control = one.experiment.control.flags.get(name, default)
            fault = _fault(one, f"flag {name} is not a {type(default).__name__}: {value!r}")
            return control if _is_like(control, default) else default, exposes, fault
    return default, exposes, None


def _checked(arm: Arm, bundle: Bundle) -> Overrides:
    """Return the settings of an arm, read as `rules.json` and `campaigns.json` are.

    Raises:
        BundleInvalidError: the arm does not fit the release, or needs a newer app.
    """
    found = Overrides(models=arm.models)
    if arm.rules is not None:
        found = replace(found, rules=Rules.from_json(arm.rules, bundle.spec))
    if arm.head_weights is not None:
        found = replace(
            found, head_weights=weights_of(arm.head_weights, bundle.spec, bundle.objectives)
        )
    if arm.campaigns is not None:
        found = replace(found, campaigns=Campaigns.from_json(arm.campaigns))
    return found


def _control(one: Assigned, bundle: Bundle, load_set: LoadSet) -> Overrides:
    try:
        own = _checked(one.experiment.control, bundle)
        if own.models is not None:
            load_set(own.models)
        return own
    except PocketRecError:
        return NO_OVERRIDES


def _fault(one: Assigned, why: str) -> Fault:
    text = f"experiment {one.experiment.id}, arm {one.arm.name}: {why}; control answers"
    return Fault(FaultCode.ARM_UNUSABLE, text)


def _is_like(value: FlagValue, default: FlagValue) -> bool:
    """Whether an app that knows a default can use a value; a whole number is a number too."""
    return type(value) is type(default) or (type(value) is int and type(default) is float)
