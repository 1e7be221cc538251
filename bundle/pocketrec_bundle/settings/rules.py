"""The rules of re-ranking as data: an ordered list that travels, signed, in `rules.json`.

A release without the file is re-ranked by `policy.json` alone. What each rule does is said in
FORMAT.md, "Rules", and done in `edge_runtime/rules/`.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from pocketrec_bundle.encoding.strict_json import is_integer, is_number, refuse_newer, shown
from pocketrec_bundle.errors import BundleInvalidError, BundleTooNewError
from pocketrec_bundle.features import FeatureSpec

FILE = "rules.json"
MAX_RULES = 32
MAX_DEPTH = 1000
MAX_BOUNDS = 32
MAX_PLACES, MAX_PLACE = 32, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """Mix into the relevance how new an item is; weight: of that; half_life_years: of newness."""

    half_life_years: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityFloor:
    """Never show an item below this relevance, 0..1."""

    relevance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicates:
    """Of two items whose vectors have this cosine, or titles the same words, show the better."""

    cosine: float
    titles: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Mmr:
    """Maximal marginal relevance; relevance: its share against unlikeness, lambda of the paper."""

    relevance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dpp:
    """A determinantal point process; relevance: its share against diversity, theta of the paper."""

    relevance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryCalibration:
    """Bring a slate's categories near those of the history; weight: lambda of the paper."""

    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BandCalibration:
    """The same with bands of a numeric column; bounds: rising, each begins the next band."""

    column: str
    bounds: tuple[float, ...]
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryCap:
    """At most `limit` items of one category in a slate; place: which of an item's categories."""

    place: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BandCap:
    """At most `limit` items of one band of a numeric column, such as the price, in a slate."""

    column: str
    bounds: tuple[float, ...]
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """Show another item at a place with probability epsilon, uniformly out of the next `pool`.

    first: the first place, from 1, at which this may happen.
    """

    epsilon: float
    pool: int
    first: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryThompson:
    """The same, but which first category is tried is drawn by Thompson sampling.

    alpha, beta: the prior's, of impressions that an interaction followed and of others.
    """

    epsilon: float
    pool: int
    first: int
    alpha: float
    beta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BandThompson:
    """The same with bands of a numeric column."""

    column: str
    bounds: tuple[float, ...]
    epsilon: float
    pool: int
    first: int
    alpha: float
    beta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sponsored:
    """Show items of the release's campaigns, labelled, at these places, which rise from 1.

    relevance: least of an item; per_day: most showings of one campaign a day on a device.
    """

    places: tuple[int, ...]
    relevance: float
    per_day: int


Rule = (
    Freshness
    | QualityFloor
    | NearDuplicates
    | Mmr
    | Dpp
    | CategoryCalibration
    | BandCalibration
    | CategoryCap
    | BandCap
    | Sponsored
    | Exploration
    | CategoryThompson
    | BandThompson
)

KINDS: dict[str, type[Rule]] = {
    "freshness": Freshness,
    "quality_floor": QualityFloor,
    "near_duplicates": NearDuplicates,
    "mmr": Mmr,
    "dpp": Dpp,
    "category_calibration": CategoryCalibration,
    "band_calibration": BandCalibration,
    "category_cap": CategoryCap,
    "band_cap": BandCap,
    "sponsored": Sponsored,
    "exploration": Exploration,
    "category_thompson": CategoryThompson,
    "band_thompson": BandThompson,
}
NAMES = {kind: name for name, kind in KINDS.items()}
SELECTING = (Mmr, Dpp, CategoryCalibration, BandCalibration)
"""Rules that choose a slate item by item: a second one would undo the first."""
LEARNING = (CategoryThompson, BandThompson)
EXPLORING = (Exploration, *LEARNING)
"""Rules that draw: the last of a list, so that no rule changes what was drawn."""

NUMBERS = {
    "half_life_years": (0.1, 1000.0),
    "weight": (0.0, 1.0),
    "relevance": (0.0, 1.0),
    "cosine": (0.0, 2.0),
    "epsilon": (0.0, 1.0),
    "alpha": (0.5, 1000.0),
    "beta": (0.5, 1000.0),
}
INTEGERS = {
    "place": (0, 255),
    "limit": (1, 1000),
    "pool": (1, 1000),
    "first": (1, 1000),
    "per_day": (1, 1000),
}
"""Least and most of each setting, whatever the rule."""
LISTS = {"bounds", "places"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The list, applied in its order; depth: so many of the best candidates enter it."""

    rules: tuple[Rule, ...]
    depth: int
    version: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, for `rules.json`."""
        listed = [{"kind": NAMES[type(rule)], **asdict(rule)} for rule in self.rules]
        for rule in listed:
            for key in LISTS & rule.keys():
                rule[key] = list(rule[key])
        return {"version": self.version, "depth": self.depth, "rules": listed}

    @classmethod
    def from_json(cls, value: object, spec: FeatureSpec) -> "Rules":
        """Check and build rules from parsed JSON; spec: of the release, whose columns they name.

        Raises:
            BundleTooNewError: it is of a later version, or has a kind of rule that this app lacks.
            BundleInvalidError: a key is missing, unknown, of the wrong type or out of bounds, or
                the rules do not go together.
        """
        refuse_newer(FILE, value)
        if not isinstance(value, dict) or value.keys() != cls.__dataclass_fields__.keys():
            raise BundleInvalidError(f"{FILE}: keys differ from version 1", code="rules_keys")
        if not is_integer(value["version"], 1, 1):
            raise BundleInvalidError(
                f"{FILE}: version {shown(value['version'])} is not 1", code="rules_value"
            )
        if not is_integer(value["depth"], 1, MAX_DEPTH):
            raise BundleInvalidError(
                f"{FILE}: depth must be an integer 1..{MAX_DEPTH}", code="rules_value"
            )
        listed = value["rules"]
        if not isinstance(listed, list) or len(listed) > MAX_RULES:
            raise BundleInvalidError(
                f"{FILE}: rules must be a list of at most {MAX_RULES}", code="rules_value"
            )
        rules = tuple(_rule(at, rule, spec) for at, rule in enumerate(listed, 1))
        if sum(isinstance(rule, SELECTING) for rule in rules) > 1:
            names = ", ".join(NAMES[kind] for kind in SELECTING)
            raise BundleInvalidError(f"{FILE}: more than one of {names}", code="rules_order")
        if any(isinstance(rule, EXPLORING) for rule in rules[:-1]):
            names = ", ".join(NAMES[kind] for kind in EXPLORING)
            raise BundleInvalidError(
                f"{FILE}: one of {names} can only be the last rule", code="rules_order"
            )
        after = [rule for rule in rules if not isinstance(rule, EXPLORING)]
        if any(isinstance(rule, Sponsored) for rule in after[:-1]):
            raise BundleInvalidError(
                f"{FILE}: sponsored comes once, after all rules that do not draw",
                code="rules_order",
            )
        return cls(rules=rules, depth=value["depth"])

    @property
    def learns(self) -> bool:
        """Whether a rule asks what became of the impressions on this device."""
        return any(isinstance(rule, LEARNING) for rule in self.rules)


def _rule(at: int, value: object, spec: FeatureSpec) -> Rule:
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(kind, str):
        raise BundleInvalidError(
            f"{FILE}: rule {at}: must be an object with a kind", code="rules_keys"
        )
    if kind not in KINDS:
        raise BundleTooNewError(f"{FILE}: rule {at}: unknown kind {shown(kind)}. Update the app.")
    found = KINDS[kind]
    settings = {key: setting for key, setting in value.items() if key != "kind"}
    if settings.keys() != found.__dataclass_fields__.keys():
        raise BundleInvalidError(
            f"{FILE}: rule {at}, {kind}: keys differ from version 1", code="rules_keys"
        )
    for key, setting in settings.items():
        if wrong := _wrong(key, setting, spec):
            raise BundleInvalidError(
                f"{FILE}: rule {at}, {kind}: {key} must be {wrong}", code="rules_value"
            )
    for key in LISTS & settings.keys():
        settings[key] = tuple(settings[key])
    return found(**settings)


def _wrong(key: str, value: object, spec: FeatureSpec) -> str:
    """Return what a setting should be, or "" if it is."""
    if key in NUMBERS:
        low, high = NUMBERS[key]
        return "" if is_number(value, low, high) else f"a number {low:g}..{high:g}"
    if key in INTEGERS:
        least, most = INTEGERS[key]
        if key == "place":
            most = min(most, spec.max_categories - 1)
        return "" if is_integer(value, least, most) else f"an integer {least}..{most}"
    if key == "titles":
        return "" if type(value) is bool else "true or false"
    if key == "column":
        return "" if value in spec.numeric else f"one of {', '.join(spec.numeric)}"
    if key == "places":
        most, wanted, belongs = MAX_PLACES, f"integers 1..{MAX_PLACE}", _is_place
    else:
        most, wanted, belongs = MAX_BOUNDS, "numbers", is_number
    if not isinstance(value, list) or not 1 <= len(value) <= most or not all(map(belongs, value)):
        return f"a list of 1..{most} {wanted}"
    return "" if all(one < two for one, two in pairwise(value)) else "rising"


def _is_place(value: object) -> bool:
    return is_integer(value, 1, MAX_PLACE)
