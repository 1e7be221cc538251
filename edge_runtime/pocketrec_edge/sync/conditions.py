"""Decide whether a device may sync now: network, power and local time against the signed policy."""

import time
from dataclasses import dataclass

from pocketrec_bundle.settings.rollout import SyncPolicy

METERED, ON_BATTERY, QUIET_HOURS = "metered", "on battery", "quiet hours"
"""Reasons to wait."""
ASK_AGAIN_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Current conditions of the device, from the app.

    Attributes:
        metered: the network charges for data.
        on_battery: the device is not charging.
        utc_offset_s: offset of local time from UTC in seconds, positive east of Greenwich.
    """

    metered: bool
    on_battery: bool
    utc_offset_s: int

    @classmethod
    def local(cls, now_utc: float, *, metered: bool, on_battery: bool) -> "Conditions":
        """Build conditions with the offset of the system's time zone."""
        offset = time.localtime(now_utc).tm_gmtoff
        return cls(metered=metered, on_battery=on_battery, utc_offset_s=offset)


def put_off(conditions: Conditions, policy: SyncPolicy, now_utc: float) -> str | None:
    """Return the reason to wait, or None if the device may sync."""
    if policy.unmetered and conditions.metered:
        return METERED
    if policy.charging and conditions.on_battery:
        return ON_BATTERY
    hour = int((now_utc + conditions.utc_offset_s) // 3600) % 24
    if policy.quiet_hours is not None and _within(hour, *policy.quiet_hours):
        return QUIET_HOURS
    return None


def until(conditions: Conditions, policy: SyncPolicy, now_utc: float) -> float:
    """Return when to check the conditions again, unix seconds.

    That is the end of the quiet hours. Changes of network and power cannot be predicted; for them
    the next check is soon, because a check costs nothing.
    """
    if put_off(conditions, policy, now_utc) != QUIET_HOURS:
        return now_utc + min(policy.every_s, ASK_AGAIN_S)
    assert policy.quiet_hours is not None
    local = now_utc + conditions.utc_offset_s
    hours = (policy.quiet_hours[1] - int(local // 3600)) % 24
    return (local // 3600 + hours) * 3600 - conditions.utc_offset_s


def _within(hour: int, begin: int, end: int) -> bool:
    return begin <= hour < end if begin < end else hour >= begin or hour < end
