"""Quotas of events per network and hour, and for all installs per day.

A client can invent install ids, so a limit per install does not stop it. These quotas do.

- They count new events in the database, so all server processes share them.
- An upload without a new event counts as one event.
- The database stores a keyed hash of the network, for little more than an hour.
"""

import hashlib
import hmac
import math
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, case, delete, or_, select

from pocketrec_bundle.units import DAY_S
from pocketrec_server.errors import UploadRefusedError
from pocketrec_server.events.rate_limit import Limits
from pocketrec_server.storage.database import dialect_of, writing
from pocketrec_server.storage.tables import EVENT_QUOTA, SETTING

HOUR_S = 3600
_ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Maximum number of events of one scope in each window.

    Attributes:
        scope: "all", or the keyed hash of a network.
        most: maximum number of events.
        window_s: length of the window, seconds.
        status: HTTP status of the response to uploads above the quota.
        reason: error message of this response.
    """

    scope: str
    most: int
    window_s: int
    status: int
    reason: str

    def ends_utc(self, now: float) -> int:
        """Return when the current window ends."""
        return (int(now) // self.window_s + 1) * self.window_s

    def refuse(self, ends_utc: int, now: float) -> UploadRefusedError:
        """Return the error for an upload above the quota."""
        wait_s = math.ceil(ends_utc - now)
        return UploadRefusedError(self.status, self.reason, retry_after_s=max(1, wait_s))


def check(engine: Engine, limits: Limits, network: str, now: float) -> tuple[Quota, ...]:
    """Return the quotas of an upload from a network, and check that each has events left.

    The check only reads, so an upload above the quota costs no write.

    Raises:
        UploadRefusedError: a quota is used up; the error has the seconds until its window ends.
    """
    with engine.connect() as connection:
        salt = connection.scalars(select(SETTING.c.value).where(SETTING.c.name == "salt")).one()
        quotas = _quotas(limits, _keyed(salt, network))
        scopes = [quota.scope for quota in quotas]
        query = select(EVENT_QUOTA).where(EVENT_QUOTA.c.scope.in_(scopes))
        rows = {row.scope: row for row in connection.execute(query)}
    for quota in quotas:
        row = rows.get(quota.scope)
        if row and row.used >= quota.most and now < row.ends_utc <= quota.ends_utc(now):
            raise quota.refuse(row.ends_utc, now)
    return quotas


def spend(connection: Connection, quotas: tuple[Quota, ...], new: int, now: float) -> None:
    """Count the new events of an upload, in the transaction that stores them.

    Raises:
        UploadRefusedError: a quota is exceeded; roll the transaction back.
    """
    old, events = EVENT_QUOTA.c, max(1, new)
    for quota in quotas:  # always in the same order, so that two uploads cannot deadlock
        insert = dialect_of(connection).insert(EVENT_QUOTA)
        # An end after this window was stored while the clock was ahead.
        is_past = or_(old.ends_utc <= int(now), old.ends_utc > quota.ends_utc(now))
        row = connection.execute(
            insert.on_conflict_do_update(
                index_elements=[old.scope],
                set_={
                    "used": case((is_past, insert.excluded.used), else_=old.used + events),
                    "ends_utc": quota.ends_utc(now),
                },
            ).returning(old.used, old.ends_utc),
            {"scope": quota.scope, "ends_utc": quota.ends_utc(now), "used": events},
        ).one()
        if row.used > quota.most:
            raise quota.refuse(row.ends_utc, now)


def forget_past(engine: Engine, now: float) -> None:
    """Delete the counts of windows that have ended."""
    past = select(EVENT_QUOTA.c.scope).where(EVENT_QUOTA.c.ends_utc <= int(now))
    with writing(engine) as connection:
        free = past.with_for_update(skip_locked=True)  # by PostgreSQL; SQLite has one writer
        connection.execute(delete(EVENT_QUOTA).where(EVENT_QUOTA.c.scope.in_(free)))


def _quotas(limits: Limits, scope: str) -> tuple[Quota, ...]:
    return (
        Quota(
            scope=scope,
            most=limits.network_hour_events,
            window_s=HOUR_S,
            status=429,
            reason=f"more than {limits.network_hour_events} events in an hour from one network",
        ),
        Quota(
            scope=_ALL,
            most=limits.all_day_events,
            window_s=DAY_S,
            status=503,
            reason=f"more than {limits.all_day_events} events in a day from all devices",
        ),
    )


def _keyed(salt: str, network: str) -> str:
    key = bytes.fromhex(salt)
    return hmac.new(key, b"network " + network.encode(), hashlib.sha256).hexdigest()[:32]
