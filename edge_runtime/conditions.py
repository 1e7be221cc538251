"""Whether a device may sync now: network, power and the hour, against the signed policy."""

import time
from dataclasses import dataclass

from bundle.rollout import SyncPolicy

METERED, ON_BATTERY, QUIET_HOURS = "metered", "on battery", "quiet hours"
"""Why a sync is put off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What the app knows of the moment; utc_offset_s: of local time, east of Greenwich positive."""

    metered: bool
    on_battery: bool
    utc_offset_s: int

    @classmethod
    def local(cls, now_utc: float, *, metered: bool, on_battery: bool) -> "Conditions":
        """Take the offset from the system's time zone."""
        offset = time.localtime(now_utc).tm_gmtoff
        return cls(metered=metered, on_battery=on_battery, utc_offset_s=offset)


def put_off(conditions: Conditions, policy: SyncPolicy, now_utc: float) -> str | None:
    """Return why a sync must wait, None if it may go on."""
    if policy.unmetered and conditions.metered:
        return METERED
    if policy.charging and conditions.on_battery:
        return ON_BATTERY
    hour = int((now_utc + conditions.utc_offset_s) // 3600) % 24
    if policy.quiet_hours is not None and _within(hour, *policy.quiet_hours):
        return QUIET_HOURS
    return None


def _within(hour: int, begin: int, end: int) -> bool:
    return begin <= hour < end if begin < end else hour >= begin or hour < end
