"""Erase the events of one install (GDPR article 17); its random id authorises the request."""

from sqlalchemy import Engine, delete, func, select, update

from pocketrec_bundle.units import DAY_S
from pocketrec_server.storage.database import scrub, writing
from pocketrec_server.storage.tables import EVENT, EVENT_DAY, INSTALL


def erase(engine: Engine, install_id: str) -> int:
    """Erase an install and its events; return the number of events, 0 for an unknown install.

    The days of these events are marked as changed, so the next export omits the events.

    Raises:
        SQLAlchemyError: the database failed; nothing was erased.
    """
    with writing(engine) as connection:
        number = connection.scalar(
            select(INSTALL.c.number).where(INSTALL.c.install_id == install_id).with_for_update()
        )
        if number is None:
            return 0
        day = EVENT.c.ts // DAY_S
        counted = select(day.label("day"), func.count()).where(EVENT.c.install == number)
        days = [
            (int(on_day), n)
            for on_day, n in connection.execute(counted.group_by("day").order_by("day"))
        ]
        connection.execute(delete(EVENT).where(EVENT.c.install == number))
        connection.execute(delete(INSTALL).where(INSTALL.c.number == number))
        for on_day, n in days:
            connection.execute(
                update(EVENT_DAY)
                .where(EVENT_DAY.c.day == on_day)
                .values(events=EVENT_DAY.c.events - n, changes=EVENT_DAY.c.changes + 1)
            )
    scrub(engine)
    return sum(n for _, n in days)
