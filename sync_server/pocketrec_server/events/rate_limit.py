"""How much one install may send: uploads by a token bucket, events by a quota a day.

(Turner 1986, "New directions in communications", leaky bucket as a meter.) Pure decisions; the
state is a row of the database, so that all server processes agree.
"""

import math
from dataclasses import dataclass, replace

from pocketrec_bundle.units import DAY_S
from pocketrec_server.errors import UploadRefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one install may send, and what all may.

    Attributes:
        per_minute: uploads, in the long run and, after a minute's rest, at once.
        day_events: new events on one day (UTC); a batch that would exceed it waits for the next.
            At least what a batch may hold.
        network_hour_events: of all installs of one network in an hour, see `quotas.py`.
        all_day_events: of all installs on one day; what bounds the database's growth.
    """

    per_minute: int = 60
    day_events: int = 50_000
    network_hour_events: int = 20_000
    all_day_events: int = 5_000_000


LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What an install has left: `tokens` uploads at `tokens_utc`, and what it used of its quota."""

    tokens: float
    tokens_utc: float
    quota_day: int
    quota_used: int


def full(limits: Limits, now: float) -> Budget:
    """Return the allowance of an install that has sent nothing yet."""
    return Budget(tokens=limits.per_minute, tokens_utc=now, quota_day=_day(now), quota_used=0)


def spend_upload(has: Budget, limits: Limits, now: float) -> Budget:
    """Take one upload from the bucket.

    Raises:
        UploadRefusedError: it is empty; says when it will not be.
    """
    per_s = limits.per_minute / 60
    rested = now - has.tokens_utc
    # Noted in the future: the clock was wrong then, and nothing is known of how long it rested.
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
        UploadRefusedError: so many are not left; says when the next day begins.
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
