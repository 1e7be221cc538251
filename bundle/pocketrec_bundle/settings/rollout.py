"""The rollout policy of a channel: signed by the publisher, evaluated on the device.

FORMAT.md, "Rollout policy". `pocketrec_edge.sync.rollout` evaluates it.
"""

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.strict_json import (
    MAX_UTC,
    is_integer,
    is_number,
    is_text,
    matches,
    parse_json,
    refuse_newer,
    shown,
)
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.settings.app_versions import APP_VERSION, version_of
from pocketrec_bundle.settings.app_versions import AppVersions as AppVersions
from pocketrec_bundle.settings.form import Form
from pocketrec_bundle.units import DAY_S

FILE = "policy.json"
FORMAT = 1
_FORM = Form(code="rollout", format=FORMAT)
_keyed, _insist = _FORM.keyed, _FORM.insist
MAX_BYTES = 64 << 10
MAX_STAGES = 32
MAX_CLASSES = 16
MAX_RAMP = 16
RAMP_FORM = f"a list of at most {MAX_RAMP} pairs of unix seconds and percent, both rising"
ACTIVE, PAUSED, KILLED = STATES = ("active", "paused", "killed")

SHA256 = re.compile(r"[0-9a-f]{64}")
CHANNEL = re.compile(r"[a-z][a-z0-9-]{0,31}")
DEVICE_CLASS = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")
_INTEGERS = {
    "from_utc": (0, MAX_UTC),
    "of": (1, 10**9),
    "every_s": (60, 365 * DAY_S),
    "spread_s": (0, 7 * DAY_S),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureLimit:
    """When the server halts a release by itself; each network counts as one device.

    Attributes:
        of: more than this number of networks have reported an outcome.
        share: and more than this share of them, 0..1, reported a failure.
    """

    of: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One live release and the devices that may install it.

    Attributes:
        manifest: SHA-256 of its manifest.
        name: of the release, for people.
        percent: percentage of all devices before the first step of the ramp.
        ramp: (unix seconds, percent) steps, both increasing.
        state: one of `STATES`.
        app: app versions that it supports.
        device_classes: names; empty: all classes.
        from_utc: unix seconds; devices may install it from here.
        until_utc: unix seconds; devices may install it until before this; None: no end.
        most_failures: None: the server never halts it by itself.
    """

    manifest: str
    name: str
    percent: float
    ramp: tuple[tuple[int, float], ...] = ()
    state: str = ACTIVE
    app: AppVersions = field(default_factory=AppVersions)
    device_classes: tuple[str, ...] = ()
    from_utc: int = 0
    until_utc: int | None = None
    most_failures: FailureLimit | None = None

    def percent_at(self, now_utc: float) -> float:
        """Return the percentage of all devices that may install the release at a time."""
        return percent_at(self.ramp, self.percent, now_utc)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPolicy:
    """When devices may sync.

    Attributes:
        unmetered: only in a network that costs nothing by volume.
        charging: only while charging.
        quiet_hours: (start, end) local hours without sync, end exclusive; may wrap midnight, such
            as (22, 7).
        every_s: seconds between two checks.
        spread_s: random extra seconds, at most, so that devices do not call at once.
    """

    unmetered: bool = True
    charging: bool = False
    quiet_hours: tuple[int, int] | None = None
    every_s: int = DAY_S
    spread_s: int = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPolicy:
    """All live releases of a channel, the newest first."""

    channel: str
    releases: tuple[Stage, ...] = ()
    sync: SyncPolicy = field(default_factory=SyncPolicy)
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        value = asdict(self)
        value["releases"] = list(value["releases"])
        for stage in value["releases"]:
            stage["device_classes"] = list(stage["device_classes"])
            stage["ramp"] = [list(step) for step in stage["ramp"]]
        hours = value["sync"]["quiet_hours"]
        value["sync"]["quiet_hours"] = hours and list(hours)
        return value

    def to_bytes(self) -> bytes:
        """Encode for signing; equal policies give equal bytes.

        Raises:
            BundleInvalidError: a device would refuse it.
        """
        data = canonical_json(self.to_json())
        RolloutPolicy.from_bytes(data)
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> "RolloutPolicy":
        """Check and build a policy from the bytes of `policy.json`.

        Raises:
            BundleTooNewError: the format is later than this app knows.
            BundleInvalidError: the file is too large or not JSON, or see `from_json`.
        """
        return cls.from_json(parse_json(FILE, data, MAX_BYTES))

    @classmethod
    def from_json(cls, value: object) -> "RolloutPolicy":
        """Check and build a policy from parsed JSON.

        Raises:
            BundleTooNewError: the format is later than this app knows.
            BundleInvalidError: a key is missing, unknown, of the wrong type or out of bounds, or a
                release comes twice.
        """
        refuse_newer(FILE, value, FORMAT, "format")
        if not isinstance(value, dict) or not is_integer(value.get("format"), FORMAT, FORMAT):
            raise BundleInvalidError(f"{FILE}: of another format than {FORMAT}", code="rollout")
        fields = _keyed(FILE, value, cls)
        if not matches(CHANNEL, fields["channel"]):
            raise BundleInvalidError(
                f"{FILE}: channel {shown(fields['channel'])} is not a channel's name",
                code="rollout",
            )
        listed = fields["releases"]
        if not isinstance(listed, list) or len(listed) > MAX_STAGES:
            raise BundleInvalidError(
                f"{FILE}: releases must be a list of at most {MAX_STAGES}", code="rollout"
            )
        stages = tuple(
            _stage(f"{FILE}: release {number}", one) for number, one in enumerate(listed, 1)
        )
        if len({stage.manifest for stage in stages}) < len(stages):
            raise BundleInvalidError(f"{FILE}: a release stands twice", code="rollout")
        sync = _sync(f"{FILE}: sync", fields["sync"])
        return cls(channel=fields["channel"], releases=stages, sync=sync)


def _stage(where: str, value: object) -> Stage:
    fields = _keyed(where, value, Stage)
    _insist(where, "manifest", "64 hex digits", matches(SHA256, fields["manifest"]))
    _insist(where, "name", "a short text", is_text(fields["name"]))
    _insist(where, "percent", "a number 0..100", is_number(fields["percent"], 0, 100))
    _insist(where, "ramp", RAMP_FORM, is_ramp(fields["ramp"], fields["percent"]))
    ramp = tuple((begins, percent) for begins, percent in fields["ramp"])
    _insist(where, "state", f"one of {', '.join(STATES)}", fields["state"] in STATES)
    _insist_integers(where, fields)
    until = fields["until_utc"]
    later = until is None or is_integer(until, fields["from_utc"] + 1, MAX_UTC)
    _insist(where, "until_utc", "null or later than from_utc", later)
    classes = fields["device_classes"]
    some = isinstance(classes, list) and len(classes) <= MAX_CLASSES
    sound = some and all(matches(DEVICE_CLASS, one) for one in classes)
    _insist(where, "device_classes", f"a list of at most {MAX_CLASSES} names", sound)
    limit = fields["most_failures"]
    if limit is not None:
        limit = _keyed(f"{where}: most_failures", limit, FailureLimit)
        _insist_integers(where, limit)
        _insist(where, "share", "a number 0..1", is_number(limit["share"], 0, 1))
        limit = FailureLimit(**limit)
    app = _app(f"{where}: app", fields["app"])
    read = {"app": app, "ramp": ramp, "device_classes": tuple(classes), "most_failures": limit}
    return Stage(**fields | read)


def is_ramp(value: object, percent: float) -> bool:
    """Whether a value is a list of (unix seconds, percent) steps, both rising from `percent`."""
    if not isinstance(value, list) or len(value) > MAX_RAMP:
        return False
    last = (-1, percent)
    for step in value:
        if not isinstance(step, list) or len(step) != 2:
            return False
        if not is_integer(step[0], last[0] + 1, MAX_UTC) or not is_number(step[1], last[1], 100):
            return False
        last = (step[0], step[1])
    return True


def percent_at(ramp: tuple[tuple[int, float], ...], percent: float, now_utc: float) -> float:
    """Return the percentage that a ramp from `percent` has reached at a time."""
    reached = [each for begins, each in ramp if begins <= now_utc]
    return reached[-1] if reached else percent


def _app(where: str, value: object) -> AppVersions:
    fields = _keyed(where, value, AppVersions)
    for key, text in fields.items():
        _insist(where, key, "a version as 1.2", text is None or matches(APP_VERSION, text))
    app = AppVersions(**fields)
    if app.least and app.below and version_of(app.least) >= version_of(app.below):
        raise BundleInvalidError(f"{where}: least must be before below", code="rollout")
    return app


def _sync(where: str, value: object) -> SyncPolicy:
    fields = _keyed(where, value, SyncPolicy)
    for key in ("unmetered", "charging"):
        _insist(where, key, "true or false", type(fields[key]) is bool)
    _insist_integers(where, fields)
    hours = fields["quiet_hours"]
    if hours is not None:
        pair = isinstance(hours, list) and len(hours) == 2
        sound = pair and all(is_integer(hour, 0, 23) for hour in hours) and hours[0] != hours[1]
        _insist(where, "quiet_hours", "null or two hours 0..23 that differ", sound)
        hours = tuple(hours)
    return SyncPolicy(**fields | {"quiet_hours": hours})


def _insist_integers(where: str, fields: dict[str, Any]) -> None:
    for key in _INTEGERS.keys() & fields.keys():
        low, high = _INTEGERS[key]
        wanted = f"an integer {low}..{high}"
        _insist(where, key, wanted, is_integer(fields[key], low, high))
