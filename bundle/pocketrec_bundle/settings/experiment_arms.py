"""Parts of an experiment in `experiments.json`: arms, eligible devices, guardrails.

An arm's rules, campaigns and weights of heads depend on a release. Here only their outer form is
checked; `pocketrec_edge` and `pocketrec_server` check them against the release, by the functions
that read `rules.json` and `campaigns.json`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pocketrec_bundle.encoding.strict_json import MAX_TEXT, is_number, is_text, matches
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.objectives import Objectives
from pocketrec_bundle.settings.app_versions import APP_VERSION, AppVersions, version_of
from pocketrec_bundle.settings.form import Form, since
from pocketrec_bundle.settings.rollout import DEVICE_CLASS, MAX_CLASSES, SHA256

FILE = "experiments.json"
OLDEST_FORMAT, FORMAT = 1, 2
"""Oldest and newest format that is read. A file is written in the oldest that holds its keys."""
_FORM = Form(code="experiments", format=FORMAT)
keyed, insist = _FORM.keyed, _FORM.insist
MAX_FLAGS = 32
MAX_HEADS = 16
MAX_WEIGHT = 1000
ALL, NEW, EXISTING = USERS = ("all", "new", "existing")
METRICS = ("conversion", "ctr", "slate_ms", "fallback_share", "failures")
"""Metrics that a guardrail can watch."""
ARM = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
SET = ARM
"""Form of the name of a model set."""
FLAG = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_OF_RULES = {"version", "depth", "rules"}
_OF_CAMPAIGNS = {"version", "campaigns"}

FlagValue = bool | int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligible:
    """Devices that an experiment enrols.

    Attributes:
        app: app versions.
        device_classes: names; empty: all classes.
        users: `ALL`, `NEW` (the device logged no event before the experiment began) or `EXISTING`.
    """

    app: AppVersions = field(default_factory=AppVersions)
    device_classes: tuple[str, ...] = ()
    users: str = ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """When an arm or a release is halted: it is worse than control, or than earlier releases.

    Attributes:
        metric: one of `METRICS`.
        worse_by: tolerated relative change for the worse, 0..10; 0.05 is 5%.
        alpha: probability of a false halt over the whole experiment or rollout, 0.0001..0.2.
    """

    metric: str
    worse_by: float
    alpha: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm: its share of the enrolled devices, and what differs from the running release.

    Attributes:
        name: of the arm.
        share: of the enrolled devices, 0..1.
        release: SHA-256 of a manifest, the device's first choice; None: the policy decides.
        rules: as in `rules.json`, in place of the release's; None: the release's.
        head_weights: weight by head; heads that are missing keep the release's. None: all do.
        campaigns: as in `campaigns.json`, in place of the release's; None: the release's.
        flags: values for the app, by name.
        models: name of a model set of the release, whose ranker replaces the release's; None: the
            release's.
    """

    name: str
    share: float
    release: str | None = None
    rules: Mapping[str, Any] | None = None
    head_weights: Mapping[str, float] | None = None
    campaigns: Mapping[str, Any] | None = None
    flags: Mapping[str, FlagValue] = field(default_factory=dict)
    models: str | None = field(default=None, metadata=since(2))


def weights_of(
    named: Mapping[str, float], spec: FeatureSpec, objectives: Objectives | None = None
) -> tuple[float, ...]:
    """Return the weight of each head of a release, with an arm's in place of its own.

    Raises:
        BundleInvalidError: the release has no head of a name, or a formula, which has no weights.
    """
    if objectives is not None and objectives.formula is not None:
        raise BundleInvalidError(
            f"{FILE}: head_weights: the release has a formula in place of head weights. Publish a "
            "release with another formula, and name it as the arm's release.",
            code="experiments",
        )
    if unknown := sorted(named.keys() - set(spec.heads)):
        raise BundleInvalidError(
            f"{FILE}: head_weights: the release has no head {', '.join(unknown)}; it has "
            f"{', '.join(spec.heads)}",
            code="experiments",
        )
    own = zip(spec.heads, spec.head_weights, strict=True)
    return tuple(float(named.get(head, weight)) for head, weight in own)


def arm_of(where: str, value: object, format_: int = FORMAT) -> Arm:
    """Check and build an arm from parsed JSON of a format.

    Raises:
        BundleInvalidError: a key is missing, unknown, of the wrong type or out of bounds.
    """
    fields = keyed(where, value, Arm, format_)
    insist(where, "name", "1..32 of a-z 0-9 -", matches(ARM, fields["name"]))
    share = fields["share"]
    insist(where, "share", "a number above 0, at most 1", is_number(share, 0, 1) and share > 0)
    release = fields["release"]
    insist(where, "release", "null or 64 hex digits", release is None or matches(SHA256, release))
    for key, keys in (("rules", _OF_RULES), ("campaigns", _OF_CAMPAIGNS)):
        part = fields[key]
        sound = part is None or (isinstance(part, dict) and part.keys() == keys)
        insist(where, key, f"null or an object with {', '.join(sorted(keys))}", sound)
    weights = fields["head_weights"]
    some = isinstance(weights, dict) and 1 <= len(weights) <= MAX_HEADS
    sound = some and all(
        name and is_text(name) and is_number(one, -MAX_WEIGHT, MAX_WEIGHT)
        for name, one in weights.items()
    )
    wanted = f"null or 1..{MAX_HEADS} numbers -{MAX_WEIGHT}..{MAX_WEIGHT} by head"
    insist(where, "head_weights", wanted, weights is None or sound)
    flags = fields["flags"]
    sound = isinstance(flags, dict) and len(flags) <= MAX_FLAGS
    sound = sound and all(matches(FLAG, name) and is_flag(one) for name, one in flags.items())
    wanted = f"an object of at most {MAX_FLAGS} values: true, false, numbers or short texts"
    insist(where, "flags", wanted, sound)
    named = fields["models"]
    insist(where, "models", "null or 1..32 of a-z 0-9 -", named is None or matches(SET, named))
    return Arm(**fields)


def is_flag(value: object) -> bool:
    """Whether a value can be that of a flag."""
    return type(value) is bool or is_number(value) or is_text(value, MAX_TEXT)


def eligible_of(where: str, value: object) -> Eligible:
    """Check and build `eligible` from parsed JSON. Raises the errors of `arm_of`."""
    fields = keyed(where, value, Eligible)
    app = keyed(f"{where}: app", fields["app"], AppVersions)
    for key, text in app.items():
        insist(f"{where}: app", key, "a version as 1.2", text is None or matches(APP_VERSION, text))
    least, below = app["least"], app["below"]
    ordered = least is None or below is None or version_of(least) < version_of(below)
    insist(f"{where}: app", "least", "before below", ordered)
    classes = fields["device_classes"]
    some = isinstance(classes, list) and len(classes) <= MAX_CLASSES
    sound = some and all(matches(DEVICE_CLASS, one) for one in classes)
    insist(where, "device_classes", f"a list of at most {MAX_CLASSES} names", sound)
    insist(where, "users", f"one of {', '.join(USERS)}", fields["users"] in USERS)
    return Eligible(
        app=AppVersions(**app), device_classes=tuple(classes), users=str(fields["users"])
    )


def guardrail_of(where: str, value: object, form: Form = _FORM) -> Guardrail:
    """Check and build a guardrail from parsed JSON. Raises the errors of `arm_of`.

    Args:
        where: place of the value, for errors.
        value: parsed JSON.
        form: of the file that has it.
    """
    fields, insist = form.keyed(where, value, Guardrail), form.insist
    metric = fields["metric"]
    known = isinstance(metric, str) and metric in METRICS
    insist(where, "metric", f"one of {', '.join(METRICS)}", known)
    insist(where, "worse_by", "a number 0..10", is_number(fields["worse_by"], 0, 10))
    insist(where, "alpha", "a number 0.0001..0.2", is_number(fields["alpha"], 0.0001, 0.2))
    return Guardrail(**fields)
