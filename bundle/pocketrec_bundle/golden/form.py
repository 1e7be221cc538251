"""Checks that the golden files share: keys of an object, and the type of each value."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.strict_json import MAX_UTC, is_integer, is_text, refuse_newer, shown
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.features import MAX_VOCABULARY

Check = Callable[[object], bool]
MAX_ROW = 2**31 - 1


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a golden file as plain JSON values: lists in place of tuples."""
    found: dict[str, Any] = json.loads(canonical_json(value))
    return found


def is_row(value: object) -> bool:
    """Whether a value may be a row number; the file's `of` compares it with the release."""
    return is_integer(value, 0, MAX_ROW)


def is_utc(value: object) -> bool:
    """Whether a value is a time in unix seconds; times before 1970 are negative."""
    return is_integer(value, -MAX_UTC, MAX_UTC)


def is_string(value: object) -> bool:
    """Whether a value is a text of any length, such as an unknown id."""
    return isinstance(value, str)


def list_of(is_right: Check, most: int | None = None) -> Check:
    """Return a check for a list whose elements all pass; `most` is its maximum length."""
    return lambda value: (
        isinstance(value, list)
        and (most is None or len(value) <= most)
        and all(map(is_right, value))
    )


PAST: dict[str, Check] = {
    "name": is_text,
    "now_utc": is_utc,
    "item_ids": list_of(is_string),
    "events": list_of(lambda v: is_integer(v, 0, MAX_VOCABULARY)),
    "ts": list_of(is_utc),
}
"""A request's name, time and history, oldest event first."""


def top(file: str, value: object, keys: Mapping[str, Check]) -> dict[str, Any]:
    """Check the outer object of a file of version 1.

    Raises:
        BundleTooNewError: the version is later than 1.
        BundleInvalidError: a key is missing, unknown or of the wrong type.
    """
    refuse_newer(file, value)
    return checked(file, value, {"version": lambda v: is_integer(v, 1, 1), **keys})


def checked(where: str, value: object, keys: Mapping[str, Check]) -> dict[str, Any]:
    """Check that an object has exactly these keys; return its values, lists as tuples.

    Raises:
        BundleInvalidError: a key or value is wrong. The text begins with `where`.
    """
    if not isinstance(value, dict) or value.keys() != keys.keys():
        raise BundleInvalidError(f"{where}: keys differ from version 1", code="golden_keys")
    for key, is_right in keys.items():
        if not is_right(value[key]):
            raise BundleInvalidError(f"{where}: bad {key} {shown(value[key])}", code="golden_value")
    return {key: tuple(v) if isinstance(v, list) else v for key, v in value.items()}


def past(where: str, value: object, keys: Mapping[str, Check]) -> dict[str, Any]:
    """Check a case with a history, as `checked` does; columns of one length, times that never fall.

    Raises:
        BundleInvalidError: a check fails.
    """
    case = checked(f"{where}: a case", value, {**PAST, **keys})
    if not len(case["item_ids"]) == len(case["events"]) == len(case["ts"]):
        raise BundleInvalidError(
            f"{where}: {shown(case['name'])}: the history's columns differ in length",
            code="golden_value",
        )
    if list(case["ts"]) != sorted(case["ts"]):
        raise BundleInvalidError(
            f"{where}: {shown(case['name'])}: the history is not in order of time",
            code="golden_value",
        )
    return case
