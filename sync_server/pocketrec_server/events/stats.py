"""Count stored events, devices, and rejected events by reason."""

from dataclasses import dataclass

from sqlalchemy import Engine, func, select

from pocketrec_bundle.units import DAY_S
from pocketrec_server.storage.database import snapshot
from pocketrec_server.storage.tables import EVENT_DAY, INSTALL, REJECTED_DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStats:
    """Counts of events and installs.

    Attributes:
        installs: installs that have sent an upload.
        active: installs with an upload in the last 7 days.
        new: installs with their first upload in the last 7 days.
        events: stored events.
        days: stored events by day (days since 1970-01-01, UTC), oldest first.
        rejected: rejected events by reason, since the database was created.
    """

    installs: int
    active: int
    new: int
    events: int
    days: dict[int, int]
    rejected: dict[str, int]


def event_stats(engine: Engine, now: int) -> EventStats:
    """Read the counts that uploads maintain, without reading events.

    Raises:
        SQLAlchemyError: the database failed.
    """
    by_day = select(EVENT_DAY.c.day, EVENT_DAY.c.events).where(EVENT_DAY.c.events > 0)
    events = func.sum(REJECTED_DAY.c.events)
    by_reason = select(REJECTED_DAY.c.reason, events).group_by(REJECTED_DAY.c.reason)
    installs = select(func.count()).select_from(INSTALL)
    week_ago = now - 7 * DAY_S
    with snapshot(engine) as connection:
        days = {row[0]: row[1] for row in connection.execute(by_day.order_by(EVENT_DAY.c.day))}
        rejected = connection.execute(by_reason.order_by(REJECTED_DAY.c.reason))
        return EventStats(
            installs=connection.scalar(installs) or 0,
            active=connection.scalar(installs.where(INSTALL.c.last_utc > week_ago)) or 0,
            new=connection.scalar(installs.where(INSTALL.c.first_utc > week_ago)) or 0,
            events=sum(days.values()),
            days=days,
            rejected={row[0]: int(row[1]) for row in rejected},
        )
