"""Strict JSON, so that no two readers read a release differently, and checks of its values."""

import json
import math
import re
from typing import Any

from pocketrec_bundle.errors import BundleInvalidError, BundleTooNewError

MAX_JSON_BYTES = 8 << 20
MAX_TEXT = 200
"""Characters of a name or a label."""
MAX_NUMBER = 1e15
"""Largest absolute number; inner products of vectors with such numbers still fit float32."""
MAX_UTC = 253_402_300_799
"""The end of the year 9999 in unix seconds; -MAX_UTC is the bound before 1970."""


def parse_json(name: str, data: bytes, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Parse untrusted JSON: UTF-8, distinct keys in an object, finite numbers, no half escapes.

    Raises:
        BundleInvalidError: it is larger than `max_bytes`, or not of this form. The text begins
            with `name`.
    """
    if len(data) > max_bytes:
        raise BundleInvalidError(f"{name}: {len(data)} bytes exceed {max_bytes}", code="json_size")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_finite,
            parse_float=_finite,
        )
        if b"\\u" in data:  # an escape may be half of a letter, which no UTF-8 holds
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as err:
        raise BundleInvalidError(f"{name}: not JSON ({err})", code="json_malformed") from err
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return members


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is not finite")
    return value


def refuse_newer(name: str, value: object, known: int = 1, key: str = "version") -> None:
    """Refuse an object of a later version than `known`, before its other keys are read.

    Raises:
        BundleTooNewError: the version is later. The text begins with `name`.
    """
    version = value.get(key) if isinstance(value, dict) else None
    if type(version) is int and version > known:
        raise BundleTooNewError(
            f"{name}: {key.replace('_', ' ')} {shown(version)}; this app reads {known} at most. "
            "Update the app, or publish a release for older apps."
        )


def is_integer(value: object, low: int, high: int) -> bool:
    """Whether a value is an integer in low..high; `True` and 1.0 are not integers."""
    return type(value) is int and low <= value <= high


def is_number(value: object, low: float = -MAX_NUMBER, high: float = MAX_NUMBER) -> bool:
    """Whether a value is a finite number in low..high; `True` is not a number."""
    return type(value) in (int, float) and low <= value <= high  # type: ignore[operator]


def is_text(value: object, longest: int = MAX_TEXT) -> bool:
    """Whether a value is a text of at most `longest` characters."""
    return isinstance(value, str) and len(value) <= longest


def matches(form: re.Pattern[str], value: object) -> bool:
    """Whether a value is a text of a form."""
    return isinstance(value, str) and form.fullmatch(value) is not None


def shown(value: object) -> str:
    """Return a value as text for an error message, shortened if it is long."""
    text = repr(value)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."
