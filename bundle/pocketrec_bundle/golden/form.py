"""Checks that the golden files share: keys of an object, and what each value must be."""

from collections.abc import Callable, Mapping
from typing import Any

from pocketrec_bundle.encoding.strict_json import MAX_UTC, is_integer, is_text, refuse_newer, shown
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.features import MAX_VOCABULARY

Check = Callable[[object], bool]
MAX_ROW = 2**31 - 1


def is_row(value: object) -> bool:
    """Whether a value may be a row number; `fits` of the file compares it with the release."""
    return is_integer(value, 0, MAX_ROW)


def is_utc(value: object) -> bool:
    """Whether a value is a moment in unix seconds, before 1970 too."""
    return is_integer(value, -MAX_UTC, MAX_UTC)


def is_string(value: object) -> bool:
    """Whether a value is a text of any length: an id that the app gave may be unknown."""
    return isinstance(value, str)


def list_of(is_right: Check, most: int | None = None) -> Check:
    """Return the check of a list whose elements all pass; most: its greatest length."""
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
"""A request's name, moment and history, oldest first."""


def top(file: str, value: object, keys: Mapping[str, Check]) -> dict[str, Any]:
    """Check the outer object of a file of version 1.

    Raises:
        BundleTooNewError: it is of a later version.
        BundleInvalidError: a key is missing, unknown or of the wrong type.
    """
    refuse_newer(file, value)
    return checked(file, value, {"version": lambda v: is_integer(v, 1, 1), **keys})


def checked(where: str, value: object, keys: Mapping[str, Check]) -> dict[str, Any]:
    """Return an object's values, lists as tuples, if it has exactly these keys and they pass.

    Raises:
        BundleInvalidError: it has not; the text begins with `where`.
    """
    if not isinstance(value, dict) or value.keys() != keys.keys():
        raise BundleInvalidError(f"{where}: keys differ from version 1", code="golden_keys")
    for key, is_right in keys.items():
        if not is_right(value[key]):
            raise BundleInvalidError(f"{where}: bad {key} {shown(value[key])}", code="golden_value")
    return {key: tuple(v) if isinstance(v, list) else v for key, v in value.items()}


def past(where: str, value: object, keys: Mapping[str, Check]) -> dict[str, Any]:
    """Check a case that has a history, as `checked`; its columns agree, its times never fall.

    Raises:
        BundleInvalidError: they do not.
    """
    found = checked(f"{where}: a case", value, {**PAST, **keys})
    if not len(found["item_ids"]) == len(found["events"]) == len(found["ts"]):
        raise BundleInvalidError(
            f"{where}: {shown(found['name'])}: the history's columns differ in length",
            code="golden_value",
        )
    if list(found["ts"]) != sorted(found["ts"]):
        raise BundleInvalidError(
            f"{where}: {shown(found['name'])}: the history is not in order of time",
            code="golden_value",
        )
    return found
