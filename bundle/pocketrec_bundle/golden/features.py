"""Golden cases of declared features: the ranker's inputs of some items, and codes of some names.

FORMAT.md, "golden_features.json". They run no model. They test a client on unknown values, codes of
hash buckets, negative numbers, empty lists and vectors.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from pocketrec_bundle.declared.encoded import is_coded
from pocketrec_bundle.declared.item_features import input_widths
from pocketrec_bundle.encoding.strict_json import is_integer, is_number, is_text, shown
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.features import MAX_VOCABULARY
from pocketrec_bundle.golden.form import checked, is_string, list_of, plain, top
from pocketrec_bundle.reader import Bundle

FILE = "golden_features.json"
MAX_CASES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemCase:
    """An item and its inputs.

    Attributes:
        name: of the case, for people.
        item_id: of the item.
        item_codes: expected; empty without this input, as the next two.
        item_numbers: expected.
        item_embeddings: expected.
    """

    name: str
    item_id: str
    item_codes: tuple[int, ...] = ()
    item_numbers: tuple[float, ...] = ()
    item_embeddings: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NameCase:
    """A name and its code.

    Attributes:
        feature: its place in `items`.
        name: of the feature's value.
        code: expected.
    """

    feature: int
    name: str
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenFeatures:
    """All cases of a release.

    Attributes:
        items: inputs of items.
        names: codes of names.
        unmade: cases that this release cannot show, for people.
        version: of `golden_features.json`.
    """

    items: tuple[ItemCase, ...]
    names: tuple[NameCase, ...]
    unmade: tuple[str, ...] = ()
    version: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, for `golden_features.json`."""
        return plain(asdict(self))

    @classmethod
    def of(cls, bundle: Bundle) -> "GoldenFeatures | None":
        """Read the cases of a release; None if it has no such file, or no declared features.

        Raises:
            BundleTooNewError, BundleInvalidError: see `from_json`; or a case does not fit the
                release.
        """
        if not bundle.features.items or not bundle.lists(FILE):
            return None
        golden = cls.from_json(bundle.json(FILE))
        widths = input_widths(bundle.features)
        for case in golden.items:
            if bundle.row_of(case.item_id) < 0:
                raise _unfit(case.name, f"no item {shown(case.item_id)}")
            for name in ("item_codes", "item_numbers", "item_embeddings"):
                if len(getattr(case, name)) != widths.get(name, 0):
                    raise _unfit(case.name, f"not {widths.get(name, 0)} numbers of {name}")
        for one in golden.names:
            features = bundle.features.items
            if one.feature >= len(features) or not is_coded(features[one.feature].feature):
                raise _unfit(one.name, f"feature {one.feature} has no names")
        return golden

    @classmethod
    def from_json(cls, value: object) -> "GoldenFeatures":
        """Check parsed JSON and build the cases from it.

        Raises:
            BundleTooNewError: the version is later than 1.
            BundleInvalidError: the form is not that of version 1.
        """
        any_list = list_of(lambda _: True, MAX_CASES)
        unmade = list_of(is_text, MAX_CASES)
        content = top(FILE, value, {"items": any_list, "names": any_list, "unmade": unmade})
        items = (checked(f"{FILE}: a case", one, _ITEM) for one in content["items"])
        names = (checked(f"{FILE}: a name", one, _NAME) for one in content["names"])
        return cls(
            items=tuple(ItemCase(**one) for one in items),
            names=tuple(NameCase(**one) for one in names),
            unmade=content["unmade"],
        )


_ITEM: dict[str, Callable[[object], bool]] = {
    "name": is_text,
    "item_id": is_string,
    "item_codes": list_of(lambda v: is_integer(v, 0, MAX_VOCABULARY)),
    "item_numbers": list_of(is_number),
    "item_embeddings": list_of(is_number),
}
_NAME: dict[str, Callable[[object], bool]] = {
    "feature": lambda v: is_integer(v, 0, MAX_VOCABULARY),
    "name": is_string,
    "code": lambda v: is_integer(v, 0, MAX_VOCABULARY),
}


def _unfit(name: str, wrong: str) -> BundleInvalidError:
    return BundleInvalidError(f"{FILE}: {shown(name)}: {wrong}", code="golden_release")
