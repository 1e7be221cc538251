"""Declared features of new items, from the values of a changes file."""

from array import array
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from pocketrec_bundle.declared import Feature, FittedFeatures
from pocketrec_bundle.declared.fitted import MAX_CHARACTERS, MAX_WORD
from pocketrec_bundle.encoding.strict_json import MAX_NUMBER, is_number, shown
from pocketrec_bundle.errors import InputError
from pocketrec_training.data.fields.values import Values, unknown

_EXPECTED = {
    "category": f"a text of at most {MAX_WORD} characters",
    "categories": f"a list of texts of at most {MAX_WORD} characters without '|'",
    "text": f"a text of at most {MAX_CHARACTERS:,} characters",
    "number": "a finite number",
    "flag": "true or false",
}


def check_complete(
    declared: FittedFeatures, item_id: str, values: Mapping[str, Any] | None, where: str
) -> None:
    """Check that a change of an item that joined after training gives all its features.

    A release has few of them, and the item gets a new vector from its content.

    Args:
        declared: features of the run.
        item_id: the item.
        values: JSON values by name; None: the change gives no features.
        where: the changes file.

    Raises:
        InputError: a feature is not given.
    """
    lacking = [one.name for one in declared.items if one.name not in (values or {})]
    if lacking:
        raise InputError(
            f"{where}: change: {item_id!r} joined after training, so the change gives it a new "
            f"vector. Give all its features again; {', '.join(lacking)} are not given. Write null "
            "for unknown ones."
        )


def new_features(
    declared: FittedFeatures,
    items: Iterable[tuple[str, Mapping[str, Any]]],
    where: str,
    numeric: Collection[str] = (),
) -> dict[str, Values]:
    """Return the features of items of a changes file, as tables have them.

    Args:
        declared: features of the run.
        items: (id, JSON values by name) of each item, lists of numbers as arrays. A feature that is
            absent or null is unknown.
        where: the changes file.
        numeric: features that are numeric columns of the release, where below 0 means unknown.

    Raises:
        InputError: a value has the wrong type or length, or a feature is not declared.
    """
    rows = list(items)
    features = {one.name: one.feature for one in declared.items}
    found = {name: unknown(feature, len(rows)) for name, feature in features.items()}
    for place, (item_id, values) in enumerate(rows):
        for name, value in values.items():
            if name not in features:
                known = ", ".join(features) or "none"
                raise InputError(
                    f"{where}: {item_id!r}: features: {shown(name)} is not a feature of the run "
                    f"(it has {known})."
                )
            if value is not None:
                one = f"{where}: {item_id!r}: {name}"
                found[name][place] = _value(features[name], value, one, name in numeric)
    return found


def _value(feature: Feature, value: Any, where: str, is_numeric: bool) -> Any:
    """Return a JSON value as `Values` hold it; is_numeric: the release has a numeric column."""
    if feature.kind == "category" and _is_word(value):
        return value.strip()
    if feature.kind == "text" and isinstance(value, str) and len(value) <= MAX_CHARACTERS:
        return value.strip()
    if feature.kind == "categories" and _is_names(value):
        return "|".join(word.strip() for word in value if word.strip())
    if feature.kind == "number" and is_number(value, 0.0 if is_numeric else -MAX_NUMBER):
        return value
    if feature.kind == "flag" and type(value) is bool:
        return float(value)
    if feature.kind == "vector" and isinstance(value, array) and len(value) == feature.length:
        return np.array(value, np.float32)
    if feature.kind == "number" and is_numeric:
        raise InputError(f"{where}: expected a number of at least 0, found {shown(value)}.")
    expected = _EXPECTED.get(feature.kind, f"a list of {feature.length} finite numbers")
    raise InputError(f"{where}: expected {expected}, found {shown(value)}.")


def _is_word(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_WORD


def _is_names(value: object) -> bool:
    if not isinstance(value, list | array):  # an empty list is an array
        return False
    return all(_is_word(word) and "|" not in word for word in value)
