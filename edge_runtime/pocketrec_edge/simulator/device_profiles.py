"""Device classes as data: speed, memory, storage, and network and power by hour."""

import math
import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pocketrec_bundle.errors import InputError
from pocketrec_edge.sync.conditions import METERED, ON_BATTERY

BUILT_IN = Path(__file__).with_name("device_profiles.toml")
OFFLINE = "offline"
"""Reason to wait, in addition to those of `conditions.py`."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Network and power from an hour of the day to the next period.

    Attributes:
        from_hour: start, 0..24, local time.
        kb_per_s: bandwidth in 1,000 bytes per second; 0: offline.
        latency_ms: latency per request, in milliseconds.
        metered: the network charges for data.
        charging: the phone is on mains power.
    """

    from_hour: float
    kb_per_s: float
    latency_ms: float
    metered: bool
    charging: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceClass:
    """A class of phones. `device_profiles.toml` describes the fields."""

    name: str
    share: float
    cpu_slowdown: float
    memory_mib: float
    storage_mib: float
    offline_share: float
    period: tuple[Period, ...]

    def at(self, hour: float) -> Period:
        """Return the period of an hour; the last period lasts until the day's first one."""
        return max(self.period, key=lambda each: (each.from_hour <= hour, each.from_hour))

    @property
    def storage_bytes(self) -> int:
        """Maximum size of all releases, in bytes."""
        return int(self.storage_mib * 2**20)


def put_off(period: Period, *, dropped: bool, anytime: bool) -> str | None:
    """Return the reason to wait, or None if the phone may sync.

    Args:
        period: the current period.
        dropped: the network is down at this moment.
        anytime: sync also on metered networks and on battery.
    """
    if dropped or not period.kb_per_s:
        return OFFLINE
    if anytime:
        return None
    return METERED if period.metered else None if period.charging else ON_BATTERY


def transfer_s(period: Period, requests: int, n_bytes: int) -> float:
    """Return the modelled transfer time in seconds: a latency per request, and the bytes."""
    return requests * period.latency_ms / 1000 + n_bytes / (period.kb_per_s * 1000)


def counts(classes: list[DeviceClass], n_devices: int) -> list[int]:
    """Distribute devices: one per class, the others by share with the largest remainder method.

    Raises:
        InputError: the number of classes exceeds the number of devices.
    """
    if n_devices < len(classes):
        raise InputError(
            f"{n_devices} devices for {len(classes)} classes: give at least one per class "
            "(--devices), or choose classes (--only)."
        )
    total = sum(each.share for each in classes)
    left = n_devices - len(classes)
    exact = [left * each.share / total for each in classes]
    found = [1 + math.floor(each) for each in exact]
    by_remainder = sorted(range(len(classes)), key=lambda at: math.floor(exact[at]) - exact[at])
    for at in by_remainder[: n_devices - sum(found)]:
        found[at] += 1
    return found


def read_classes(path: Path, only: tuple[str, ...] = ()) -> list[DeviceClass]:
    """Read a table of device classes; `only` selects some by name.

    Raises:
        InputError: the table cannot be read or is malformed, or lacks a class of `only`.
    """
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise InputError(f"{path}: cannot be read as TOML ({err}).") from err
    found = [_device_class(f"{path}: class {n}", each) for n, each in _tables(path, value)]
    names = [each.name for each in found]
    if len(set(names)) != len(names):
        raise InputError(f"{path}: two classes have the same name. Names must differ.")
    if unknown := set(only) - set(names):
        raise InputError(f"{path}: has no class {sorted(unknown)[0]!r}; it has {', '.join(names)}.")
    return [each for each in found if not only or each.name in only]


def _tables(path: Path, value: dict[str, Any]) -> list[tuple[int, Any]]:
    tables = value.get("class")
    if not isinstance(tables, list) or not tables or value.keys() != {"class"}:
        raise InputError(f"{path}: must hold [[class]] tables, and nothing else.")
    return list(enumerate(tables, 1))


def _device_class(where: str, value: Any) -> DeviceClass:
    _check(where, value, DeviceClass, at_least={"cpu_slowdown": 0.01, "share": 0.001})
    if not _NAME.fullmatch(value["name"]):
        raise InputError(f"{where}: name must be letters, digits, - and _, as it names folders.")
    where = f"{where} ({value['name']})"
    if not 0 <= value["offline_share"] <= 1:
        raise InputError(f"{where}: offline_share must be 0..1.")
    for n, each in enumerate(value["period"], 1):
        _check(f"{where}, period {n}", each, Period, at_least={})
        if each["from_hour"] >= 24:
            raise InputError(f"{where}, period {n}: from_hour must be below 24.")
    return DeviceClass(**{**value, "period": tuple(Period(**each) for each in value["period"])})


def _check(where: str, value: Any, kind: type, at_least: dict[str, float]) -> None:
    """Check a table against a dataclass: exactly its fields, with their types."""
    expected = {field.name: field.type for field in fields(kind)}
    found = value.keys() if isinstance(value, dict) else set()
    if missing := expected.keys() - found:
        raise InputError(f"{where}: no {', '.join(sorted(missing))}.")
    if unknown := found - expected.keys():
        raise InputError(f"{where}: unknown {', '.join(sorted(unknown))}.")
    for name, kind_of_value in expected.items():
        valid = _wrong(value[name], kind_of_value, at_least.get(name, 0.0))
        if valid:
            raise InputError(f"{where}: {name} must be {valid}.")


def _wrong(value: Any, wanted: Any, least: float) -> str | None:
    """Return a description of the valid values, or None if the value is valid."""
    if wanted is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return None if number and least <= value < math.inf else f"a number from {least:g}"
    if wanted is bool:
        return None if isinstance(value, bool) else "true or false"
    if wanted is str:
        return None if isinstance(value, str) and value else "a text"
    return None if isinstance(value, list) and value else "a list of periods"
