"""Rate limits of one install: a token bucket for uploads, a quota of events per day.

Method: leaky bucket as a meter (Turner 1986, "New directions in communications"). The functions are
pure. The state is a row in the database, so all server processes share it.
"""

import math
from dataclasses import dataclass, replace

from pocketrec_bundle.units import DAY_S
from pocketrec_server.errors import UploadRefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one install, of one network, and of all installs.

    Attributes:
        per_minute: uploads of one install per minute; also the size of the bucket.
        day_events: new events of one install per day (UTC). A batch above it has to wait for the
            next day. Must be at least the maximum size of a batch.
        network_hour_events: new events of one network per hour, see `quotas.py`.
        all_day_events: new events of all installs per day; bounds the growth of the database.
    """

    per_minute: int = 60
    day_events: int = 50_000
    network_hour_events: int = 20_000
    all_day_events: int = 5_000_000


LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Remaining budget of an install.

    Attributes:
        tokens: uploads left in the bucket at `tokens_utc`.
        tokens_utc: time of the last upload, unix seconds.
        quota_day: day of `quota_used`, counted from 1970-01-01 (UTC).
        quota_used: new events stored on this day.
    """

    tokens: float
    tokens_utc: float
    quota_day: int
    quota_used: int


def full(limits: Limits, now: float) -> Budget:
    """Return the budget of a new install."""
    return Budget(tokens=limits.per_minute, tokens_utc=now, quota_day=_day(now), quota_used=0)


def spend_upload(has: Budget, limits: Limits, now: float) -> Budget:
    """Take one upload from the bucket.

    Raises:
        UploadRefusedError: the bucket is empty; the error has the seconds until the next upload.
    """
    per_s = limits.per_minute / 60
    rested = now - has.tokens_utc
    # A time in the future: the clock was wrong, so the time since the last upload is unknown.
    tokens = (
        limits.per_minute if rested < 0 else min(limits.per_minute, has.tokens + rested * per_s)
    )
    if tokens < 1:
        raise UploadRefusedError(
            429, "too many uploads", retry_after_s=math.ceil((1 - tokens) / per_s)
        )
    return replace(has, tokens=tokens - 1, tokens_utc=now)


def spend_events(has: Budget, limits: Limits, events: int, now: float) -> Budget:
    """Take new events from today's quota.

    Raises:
        UploadRefusedError: the quota is exceeded; the error has the seconds until the next day.
    """
    today = _day(now)
    used = events + (has.quota_used if has.quota_day == today else 0)
    if events and used > limits.day_events:
        raise UploadRefusedError(
            429,
            f"more than {limits.day_events} events in a day",
            retry_after_s=math.ceil((today + 1) * DAY_S - now),
        )
    return replace(has, quota_day=today, quota_used=used)


def _day(now: float) -> int:
    return int(now // DAY_S)
