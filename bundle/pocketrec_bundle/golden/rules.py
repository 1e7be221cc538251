"""Golden slates of every rule, on items and scores that the file itself gives.

FORMAT.md, "golden_rules.json". The release's items and models are not used. Each rule has a case in
which it changes the slate, so a client without the rule fails.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from pocketrec_bundle.encoding.strict_json import is_integer, is_number, is_text, shown
from pocketrec_bundle.errors import BundleInvalidError, BundleTooNewError
from pocketrec_bundle.features import NUMERIC, FeatureSpec
from pocketrec_bundle.golden.form import checked, is_row, is_string, is_utc, list_of, plain, top
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.policy import Policy
from pocketrec_bundle.settings.rules import Rules

FILE = "golden_rules.json"
COLUMNS = NUMERIC
"""Names of the numbers of the file's items."""
MAX_CATEGORIES, DIM = 2, 4
MAX_ITEMS, MAX_CASES = 200, 200

SPEC = FeatureSpec(
    dim=DIM,
    max_history=1,
    event_types=("any",),
    categories=(),
    max_categories=MAX_CATEGORIES,
    heads=("any",),
    head_weights=(1.0,),
    candidates=MAX_ITEMS,
)
"""The spec against which a case's rules are checked; the release's own spec is not used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenItem:
    """One item of the file; its row is its place in the list, from 0.

    Attributes:
        title: compared by rules that read titles.
        vector: `DIM` numbers.
        categories: `MAX_CATEGORIES` codes, 0 = none.
        numeric: by `COLUMNS`, below 0 = unknown.
    """

    title: str
    vector: tuple[float, ...]
    categories: tuple[int, ...]
    numeric: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenOffer:
    """A running campaign.

    Attributes:
        id: of the campaign.
        row: of its item.
        priority: the highest comes first.
        shown_today: its showings today on this device.
    """

    id: str
    row: int
    priority: int
    shown_today: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """The random numbers of a case, in the order in which they are drawn.

    Attributes:
        numbers: in 0..1, 1 excluded.
        order: a permutation of the pool; empty for rules without one.
    """

    numbers: tuple[float, ...]
    order: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuledSlate:
    """Candidates with scores, rules or a policy, and the expected slate.

    Attributes:
        name: of the case, for people.
        now_utc: unix seconds of the request.
        rows: candidates, in the order in which they came.
        scores: their final scores.
        k: length of the slate.
        past: rows of the history's items, one for each interaction.
        earlier: rows that earlier pages showed.
        rules: None: the policy decides alone.
        policy: of a case without rules.
        offers: running campaigns.
        impressions: rows of the latest impressions, and whether an interaction followed.
        draws: None: no exploration.
        slate: expected; rows.
        propensities: expected; of each place.
        sponsored: expected; campaign id of each place, "" if the place is not sponsored.
    """

    name: str
    now_utc: int
    rows: tuple[int, ...]
    scores: tuple[float, ...]
    k: int
    past: tuple[int, ...] = ()
    earlier: tuple[int, ...] = ()
    rules: Rules | None = None
    policy: Policy | None = None
    offers: tuple[GoldenOffer, ...] = ()
    impressions: tuple[tuple[int, bool], ...] = ()
    draws: Draws | None = None
    slate: tuple[int, ...] = ()
    propensities: tuple[float, ...] = ()
    sponsored: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values; rules and policy as in their own files."""
        return {
            **asdict(self),
            "rules": self.rules.to_json() if self.rules else None,
            "policy": self.policy.to_json() if self.policy else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenTitle:
    """A title and its compared form.

    Attributes:
        title: of an item.
        words: sorted and normalised; "" is never the same as another title.
    """

    title: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRules:
    """All items, slates and titles of the file."""

    items: tuple[GoldenItem, ...]
    slates: tuple[RuledSlate, ...]
    titles: tuple[GoldenTitle, ...] = field(default=())
    version: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, for `golden_rules.json`."""
        return plain({**asdict(self), "slates": [each.to_json() for each in self.slates]})

    @classmethod
    def of(cls, bundle: Bundle) -> "GoldenRules | None":
        """Read the cases of a release; None if the release has no such file.

        Raises:
            BundleTooNewError, BundleInvalidError: see `from_json`.
        """
        return cls.from_json(bundle.json(FILE)) if bundle.lists(FILE) else None

    @classmethod
    def from_json(cls, value: object) -> "GoldenRules":
        """Check parsed JSON and build the cases from it.

        Raises:
            BundleTooNewError: the version is later than 1. A case with a kind of rule that this app
                does not know is ignored.
            BundleInvalidError: the form is not that of version 1.
        """
        any_list = list_of(lambda _: True, MAX_CASES)
        content = top(FILE, value, {"items": any_list, "slates": any_list, "titles": any_list})
        items = tuple(GoldenItem(**checked(f"{FILE}: an item", v, _ITEM)) for v in content["items"])
        titles = (checked(f"{FILE}: a title", v, _TITLE) for v in content["titles"])
        return cls(
            items=items,
            slates=tuple(s for v in content["slates"] if (s := _slate(v, len(items))) is not None),
            titles=tuple(GoldenTitle(**each) for each in titles),
        )


Checks = dict[str, Callable[[object], bool]]


def _exactly(n: int, is_right: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda v: list_of(is_right)(v) and len(v) == n  # type: ignore[arg-type]  # it is a list


_ROWS = list_of(is_row, MAX_ITEMS)
_ITEM: Checks = {
    "title": is_text,
    "vector": _exactly(DIM, is_number),
    "categories": _exactly(MAX_CATEGORIES, lambda v: is_integer(v, 0, MAX_ITEMS)),
    "numeric": _exactly(len(COLUMNS), is_number),
}
_TITLE: Checks = {"title": is_string, "words": is_string}
_OFFER: Checks = {
    "id": is_text,
    "row": is_row,
    "priority": lambda v: is_integer(v, 0, 1000),
    "shown_today": lambda v: is_integer(v, 0, 2**31 - 1),
}
_DRAWS: Checks = {
    "numbers": list_of(lambda v: is_number(v, 0, 1) and v < 1, MAX_ITEMS),  # type: ignore[operator]
    "order": _ROWS,
}


def _is_impression(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and is_row(value[0])
        and isinstance(value[1], bool)
    )


_SLATE: Checks = {
    "name": is_text,
    "now_utc": is_utc,
    "rows": _ROWS,
    "scores": list_of(is_number, MAX_ITEMS),
    "k": lambda v: is_integer(v, 1, MAX_ITEMS),
    "past": _ROWS,
    "earlier": _ROWS,
    "rules": lambda v: v is None or isinstance(v, dict),
    "policy": lambda v: v is None or isinstance(v, dict),
    "offers": list_of(lambda v: isinstance(v, dict), MAX_ITEMS),
    "impressions": list_of(_is_impression, MAX_ITEMS),
    "draws": lambda v: v is None or isinstance(v, dict),
    "slate": _ROWS,
    "propensities": list_of(lambda v: is_number(v, 0, 1), MAX_ITEMS),
    "sponsored": list_of(is_text, MAX_ITEMS),
}


def _slate(value: object, n_items: int) -> RuledSlate | None:
    """Check a case and return it; None if this app does not know a kind of rule in it."""
    case = checked(f"{FILE}: a slate", value, _SLATE)
    where = f"{FILE}: {shown(case['name'])}"
    if (case["rules"] is None) == (case["policy"] is None):
        raise BundleInvalidError(f"{where}: has either rules or a policy", code="golden_value")
    offers = tuple(GoldenOffer(**checked(f"{where}: offers", v, _OFFER)) for v in case["offers"])
    lengths = {len(case[key]) for key in ("slate", "propensities", "sponsored")}
    if len(case["rows"]) != len(case["scores"]) or len(lengths) > 1:
        raise BundleInvalidError(f"{where}: lengths differ", code="golden_value")
    impressions = tuple(map(tuple, case["impressions"]))
    rows = [*case["rows"], *case["past"], *case["earlier"], *case["slate"]]
    rows += [offer.row for offer in offers] + [row for row, _ in impressions]
    if max(rows, default=-1) >= n_items:
        raise BundleInvalidError(f"{where}: a row beyond the {n_items} items", code="golden_value")
    try:
        if case["rules"] is not None:
            case["rules"] = Rules.from_json(case["rules"], SPEC)
        else:
            case["policy"] = Policy.from_json(case["policy"])
    except BundleTooNewError:
        return None
    if case["draws"] is not None:
        case["draws"] = Draws(**checked(f"{where}: draws", case["draws"], _DRAWS))
    return RuledSlate(**{**case, "offers": offers, "impressions": impressions})
