"""Read the file of an experiment (TOML) as plain values; `docs/server/experiments.md`."""

import difflib
import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from datetime import time as day_time
from pathlib import Path
from typing import Any

from pocketrec_bundle.encoding.strict_json import parse_json
from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_bundle.units import DAY_S

KEYS = (
    "id",
    "hypothesis",
    "layer",
    "segment",
    "from",
    "until",
    "days",
    "percent",
    "ramp",
    "eligible",
    "arms",
    "guardrails",
    "interleave",
)
ELIGIBLE = ("app_least", "app_below", "device_classes", "users")
_FILES = ("rules", "campaigns")
"""Settings of an arm that may be the path of a JSON file, relative to the experiment's."""
MAX_BYTES = 1 << 20


def read_plan(path: Path) -> dict[str, Any]:
    """Return an experiment as `pocketrec_server.experiments` reads it.

    Args:
        path: of the TOML file. `days` become `length_s`, because an open experiment began earlier.

    Raises:
        InputError: the file, or one that it names, cannot be read, or a key is unknown or wrong.
    """
    given = _toml(path)
    _check_keys(f"{path}", given, KEYS)
    plan = {key: given[key] for key in KEYS if key in given and key not in ("from", "days")}
    if "from" in given:
        plan["from_utc"] = _moment(f"{path}: from", given["from"])
    if ("until" in given) == ("days" in given):
        raise InputError(f"{path}: give one of `until` (a time) and `days` (a number).")
    plan.pop("until", None)
    if "until" in given:
        plan["until_utc"] = _moment(f"{path}: until", given["until"])
    else:
        plan["length_s"] = _days(f"{path}: days", given["days"])
    if "ramp" in given:
        plan["ramp"] = _ramp(f"{path}: ramp", given["ramp"])
    if "eligible" in given:
        plan["eligible"] = _eligible(f"{path}: eligible", given["eligible"])
    if isinstance(given.get("arms"), list):
        plan["arms"] = [_arm(path, number, arm) for number, arm in enumerate(given["arms"], 1)]
    return plan


def _toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise InputError(f"{path}: is larger than {MAX_BYTES} bytes; is it an experiment?")
        return tomllib.loads(data.decode("utf-8"))
    except OSError as err:
        raise InputError(f"{path}: {err.strerror}.") from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as err:
        raise InputError(f"{path}: not TOML ({err}).") from err


def _check_keys(where: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}."
            raise InputError(f"{where}: unknown key {key!r}; {hint}")


def _moment(where: str, value: object) -> int:
    """Return the unix seconds of a TOML date or time; without a zone it is UTC."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, day_time())
    if not isinstance(value, datetime):
        raise InputError(f"{where}: expected a time such as 2026-12-01T08:00:00Z, unquoted.")
    return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())


def _days(where: str, value: object) -> int:
    if type(value) not in (int, float) or not 0 < value <= 366:  # type: ignore[operator]
        raise InputError(f"{where}: expected a number above 0, at most 366.")
    return int(value * DAY_S)  # type: ignore[operator]


def _ramp(where: str, value: object) -> list[list[Any]]:
    pairs = isinstance(value, list) and all(
        isinstance(step, list) and len(step) == 2 for step in value
    )
    if not pairs:
        raise InputError(f"{where}: expected pairs such as [2026-12-02T08:00:00Z, 50].")
    return [[_moment(where, step[0]), step[1]] for step in value]  # type: ignore[attr-defined]


def _eligible(where: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: must be a table of keys.")
    _check_keys(where, value, ELIGIBLE)
    app = {"least": value.get("app_least"), "below": value.get("app_below")}
    return {key: one for key, one in value.items() if not key.startswith("app_")} | {"app": app}


def _arm(path: Path, number: int, value: object) -> object:
    if not isinstance(value, dict):
        return value
    arm = dict(value)
    for key in _FILES:
        if isinstance(arm.get(key), str):
            arm[key] = _json(path.parent / arm[key], f"{path}: arm {number}: {key}")
    return arm


def _json(path: Path, where: str) -> Any:
    if "\0" in str(path):
        raise InputError(f"{where}: not the path of a file.")
    try:
        with path.open("rb") as stream:
            return parse_json(str(path), stream.read(MAX_BYTES + 1), MAX_BYTES)
    except OSError as err:
        raise InputError(f"{where}: {path}: {err.strerror}.") from err
    except BundleInvalidError as err:
        raise InputError(f"{where}: {err}") from err
