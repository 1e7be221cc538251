"""Re-ranking rules as data: an ordered list, signed with a release in `rules.json`.

A release without the file is re-ranked by `policy.json` alone. FORMAT.md, "Rules", says what each
rule does; `pocketrec_edge.recommend.rules` applies them.
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
    """Add an item's newness to its relevance.

    Attributes:
        half_life_years: age at which newness is one half.
        weight: share of newness in the new relevance, 0..1.
    """

    half_life_years: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityFloor:
    """Remove items with a lower relevance than this, 0..1."""

    relevance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicates:
    """Remove near duplicates of better items.

    Attributes:
        cosine: vectors with this cosine or more are near duplicates.
        titles: titles with the same words are near duplicates too.
    """

    cosine: float
    titles: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Mmr:
    """Maximal marginal relevance (MMR).

    Attributes:
        relevance: lambda of the paper: weight of relevance against dissimilarity, 0..1.
    """

    relevance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dpp:
    """Determinantal point process (DPP).

    Attributes:
        relevance: theta of the paper: weight of relevance against diversity, 0..1.
    """

    relevance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryCalibration:
    """Calibrate a slate's categories to those of the history.

    Attributes:
        weight: lambda of the paper, 0..1.
    """

    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BandCalibration:
    """Calibrate a slate's bands of a numeric column to those of the history.

    Attributes:
        column: of the feature spec's `numeric`.
        bounds: increasing; each is the start of the next band.
        weight: lambda of the paper, 0..1.
    """

    column: str
    bounds: tuple[float, ...]
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryCap:
    """Cap the items of one category in a slate.

    Attributes:
        place: index of the category among an item's categories, from 0.
        limit: maximum items of one category.
    """

    place: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BandCap:
    """Cap the items of one band of a numeric column, such as the price, in a slate.

    Attributes:
        column: of the feature spec's `numeric`.
        bounds: increasing; each is the start of the next band.
        limit: maximum items of one band.
    """

    column: str
    bounds: tuple[float, ...]
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """Show random other items at some places (epsilon-greedy exploration).

    Attributes:
        epsilon: probability of another item at each open place.
        pool: number of items after the slate from which other items are drawn, uniformly.
        first: the first open place, from 1.
    """

    epsilon: float
    pool: int
    first: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryThompson:
    """Explore as `Exploration`, but draw the first category by Thompson sampling.

    Attributes:
        epsilon: probability of another item at each open place.
        pool: number of items after the slate from which other items are drawn.
        first: the first open place, from 1.
        alpha: of the Beta prior, for impressions that an interaction followed.
        beta: of the Beta prior, for the other impressions.
    """

    epsilon: float
    pool: int
    first: int
    alpha: float
    beta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BandThompson:
    """Explore as `CategoryThompson`, with bands of a numeric column as arms.

    Attributes:
        column: of the feature spec's `numeric`.
        bounds: increasing; each is the start of the next band.
        epsilon: probability of another item at each open place.
        pool: number of items after the slate from which other items are drawn.
        first: the first open place, from 1.
        alpha: of the Beta prior, for impressions that an interaction followed.
        beta: of the Beta prior, for the other impressions.
    """

    column: str
    bounds: tuple[float, ...]
    epsilon: float
    pool: int
    first: int
    alpha: float
    beta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sponsored:
    """Show items of the release's campaigns at some places, with a label.

    Attributes:
        places: increasing, from 1.
        relevance: minimum relevance of a sponsored item.
        per_day: maximum showings of one campaign a day on a device (frequency cap).
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
"""Rules that choose a slate item by item; a second one would undo the first."""
LEARNING = (CategoryThompson, BandThompson)
EXPLORING = (Exploration, *LEARNING)
"""Rules that draw at random; they come last, so that no rule changes the drawn items."""

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
"""Minimum and maximum of each setting, for all rules."""
LISTS = {"bounds", "places"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of a release.

    Attributes:
        rules: applied in this order.
        depth: number of the best candidates that enter the first rule.
        version: of `rules.json`.
    """

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
        """Check parsed JSON and build the rules from it.

        Args:
            value: parsed JSON.
            spec: the release's feature spec, whose columns the rules name.

        Raises:
            BundleTooNewError: the version is later, or this app does not know a kind of rule.
            BundleInvalidError: a key is missing, unknown, of the wrong type or out of bounds, or
                the rules exclude each other.
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
        rules = tuple(_rule(number, rule, spec) for number, rule in enumerate(listed, 1))
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
        """Whether a rule learns from the outcomes of impressions on this device."""
        return any(isinstance(rule, LEARNING) for rule in self.rules)


def _rule(number: int, value: object, spec: FeatureSpec) -> Rule:
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(kind, str):
        raise BundleInvalidError(
            f"{FILE}: rule {number}: must be an object with a kind", code="rules_keys"
        )
    if kind not in KINDS:
        raise BundleTooNewError(
            f"{FILE}: rule {number}: unknown kind {shown(kind)}. Update the app."
        )
    rule_type = KINDS[kind]
    settings = {key: setting for key, setting in value.items() if key != "kind"}
    if settings.keys() != rule_type.__dataclass_fields__.keys():
        raise BundleInvalidError(
            f"{FILE}: rule {number}, {kind}: keys differ from version 1", code="rules_keys"
        )
    for key, setting in settings.items():
        if wrong := _wrong(key, setting, spec):
            raise BundleInvalidError(
                f"{FILE}: rule {number}, {kind}: {key} must be {wrong}", code="rules_value"
            )
    for key in LISTS & settings.keys():
        settings[key] = tuple(settings[key])
    return rule_type(**settings)


def _wrong(key: str, value: object, spec: FeatureSpec) -> str:
    """Return the expected form of a setting, or "" if its value is right."""
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
