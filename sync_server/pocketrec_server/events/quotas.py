"""How many events all installs of a network, and all installs together, may send in a time.

Install ids are easy to invent, so a limit of an install does not bind a client that makes up many.
These limits do. They count new events in the database, so that all server processes agree. An
upload without a new event counts as one. A network is kept as a keyed hash, for little more than
its hour.
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
    """What one scope may send in each window; `status` answers what is beyond it."""

    scope: str
    most: int
    window_s: int
    status: int
    reason: str

    def ends_utc(self, now: float) -> int:
        """Return when the present window ends."""
        return (int(now) // self.window_s + 1) * self.window_s

    def refuse(self, ends_utc: int, now: float) -> UploadRefusedError:
        """Return the error for an upload beyond the quota."""
        wait_s = math.ceil(ends_utc - now)
        return UploadRefusedError(self.status, self.reason, retry_after_s=max(1, wait_s))


def check(engine: Engine, limits: Limits, network: str, now: float) -> tuple[Quota, ...]:
    """Return the quotas of an upload from a network, none of them used up.

    Reads only, so that what is beyond a quota costs no write.

    Raises:
        UploadRefusedError: one is used up; says when its window ends.
    """
    with engine.connect() as connection:
        salt = connection.scalars(select(SETTING.c.value).where(SETTING.c.name == "salt")).one()
        quotas = _quotas(limits, _keyed(salt, network))
        scopes = [quota.scope for quota in quotas]
        found = select(EVENT_QUOTA).where(EVENT_QUOTA.c.scope.in_(scopes))
        rows = {row.scope: row for row in connection.execute(found)}
    for quota in quotas:
        row = rows.get(quota.scope)
        if row and row.used >= quota.most and now < row.ends_utc <= quota.ends_utc(now):
            raise quota.refuse(row.ends_utc, now)
    return quotas


def spend(connection: Connection, quotas: tuple[Quota, ...], new: int, now: float) -> None:
    """Count an upload with so many new events, in the transaction that stores them.

    Raises:
        UploadRefusedError: so many are not left; roll the transaction back.
    """
    old, events = EVENT_QUOTA.c, max(1, new)
    for quota in quotas:  # in one order: two uploads cannot wait for each other
        insert = dialect_of(connection).insert(EVENT_QUOTA)
        # An end beyond this window was noted while the clock was ahead.
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
