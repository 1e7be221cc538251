"""The open notices and the deliveries in the database; several servers may share it.

A notice ends once it was absent for GONE_S, so one at its threshold does not send a message a
minute. A worker claims a delivery before it sends it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from pocketrec_bundle.units import DAY_S
from pocketrec_server.notifications.message import (
    BEGAN,
    ENDED,
    TEST,
    Message,
    Notice,
    message,
    parse,
)
from pocketrec_server.notifications.settings import UNREADABLE, Notifications
from pocketrec_server.storage.database import dialect_of, writing
from pocketrec_server.storage.tables import DELIVERY, NOTICE

WAITING, SENT, FAILED = "waiting", "sent", "failed"
GONE_S = 600
WAITS_S = (60, 300, 1800, 7200, 21_600)
"""Waits between tries; after the last one the delivery has failed."""
CLAIM_S = 300
KEEP_DAYS = 90
MOST_AT_ONCE = 20
_LONGEST_ERROR = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message on one transport.

    Attributes:
        number: number of the row.
        at_utc: time of the message, unix seconds.
        transport: webhook or mail.
        message: the message.
        tries: number of tries, with the running one.
        state: WAITING, SENT or FAILED.
        error: why the last try failed, or "".
    """

    number: int
    at_utc: int
    transport: str
    message: Message
    tries: int
    state: str
    error: str


def observe(
    engine: Engine, notices: Iterable[Notice], settings: Notifications, now_utc: int
) -> None:
    """Compare the present notices with the open ones, and queue a message for each difference.

    A look that could not read everything ends no notice: the others are unknown, not absent.
    """
    seen = list(notices)
    is_complete = all(one.kind != UNREADABLE for one in seen)
    present = {one.key: one for one in seen if one.kind in settings.kinds}
    with writing(engine) as connection:
        for key, notice in sorted(present.items()):
            if _opens(connection, key, notice, now_utc):
                _queue(connection, message(BEGAN, notice, now_utc, settings.site), settings)
        column = NOTICE.c
        old = select(NOTICE).where(column.ended_utc.is_(None), column.seen_utc <= now_utc - GONE_S)
        for row in connection.execute(old).all() if is_complete else ():
            over = update(NOTICE).where(column.key == row.key, column.ended_utc.is_(None))
            if (
                row.key not in present
                and connection.execute(over.values(ended_utc=now_utc)).rowcount
            ):
                notice = Notice.of_key(row.key, row.text, "good")
                _queue(connection, message(ENDED, notice, now_utc, settings.site), settings)
        forgotten = now_utc - KEEP_DAYS * DAY_S
        connection.execute(delete(DELIVERY).where(DELIVERY.c.at_utc < forgotten))
        connection.execute(delete(NOTICE).where(column.ended_utc < forgotten))


def queue_test(engine: Engine, settings: Notifications, by: str, now_utc: int) -> None:
    """Queue a test message on each transport."""
    notice = Notice(kind=TEST, level="good", text=f"{by} tests the notifications")
    with writing(engine) as connection:
        _queue(connection, message(TEST, notice, now_utc, settings.site), settings)


def claim(engine: Engine, now_utc: int) -> list[Delivery]:
    """Claim deliveries that are due, so that no other worker sends them for CLAIM_S."""
    column = DELIVERY.c
    query = (
        select(DELIVERY)
        .where(column.state == WAITING, column.next_utc <= now_utc)
        .order_by(column.number)
        .limit(MOST_AT_ONCE)
    )
    claimed = []
    with writing(engine) as connection:
        for row in connection.execute(query).all():
            mine = update(DELIVERY).where(column.number == row.number, column.tries == row.tries)
            values = {"tries": row.tries + 1, "next_utc": now_utc + CLAIM_S}
            if connection.execute(mine.values(values)).rowcount:
                claimed.append(_delivery(row, row.tries + 1))
    return claimed


def finish(engine: Engine, one: Delivery, error: str, now_utc: int, *, final: bool = False) -> None:
    """Store the result of a try: sent if `error` is "", else tried again later, or failed.

    Args:
        engine: the database.
        one: the claimed delivery.
        error: why the try failed, or "".
        now_utc: current time, unix seconds.
        final: another try would fail too.
    """
    last = final or one.tries > len(WAITS_S)
    state = SENT if not error else FAILED if last else WAITING
    next_utc = now_utc if state != WAITING else now_utc + WAITS_S[one.tries - 1]
    values = {"state": state, "error": error[:_LONGEST_ERROR], "next_utc": next_utc}
    with writing(engine) as connection:
        connection.execute(update(DELIVERY).where(DELIVERY.c.number == one.number).values(values))


def newest(engine: Engine, most: int) -> list[Delivery]:
    """Return the newest deliveries, newest first."""
    query = select(DELIVERY).order_by(DELIVERY.c.number.desc()).limit(most)
    with engine.connect() as connection:
        return [_delivery(row, row.tries) for row in connection.execute(query)]


def failed_since(engine: Engine, since_utc: int) -> int:
    """Return the number of deliveries that failed for good since a time."""
    column = DELIVERY.c
    query = select(func.count()).where(column.state == FAILED, column.next_utc >= since_utc)
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def _opens(connection: Connection, key: str, notice: Notice, now_utc: int) -> bool:
    """Store that a notice is present; return whether it began now, for one caller only."""
    column = NOTICE.c
    row = {"key": key, "text": notice.text, "began_utc": now_utc, "seen_utc": now_utc}
    new = dialect_of(connection).insert(NOTICE).on_conflict_do_nothing().returning(column.key)
    if connection.execute(new.values(**row, ended_utc=None)).first() is not None:
        return True
    again = update(NOTICE).where(column.key == key, column.ended_utc.is_not(None))
    if connection.execute(again.values(**row, ended_utc=None)).rowcount:
        return True
    seen = update(NOTICE).where(column.key == key).values(seen_utc=now_utc, text=notice.text)
    connection.execute(seen)
    return False


def _queue(connection: Connection, one: Message, settings: Notifications) -> None:
    for transport in settings.transports:
        connection.execute(
            insert(DELIVERY).values(
                at_utc=one.at_utc,
                transport=transport,
                message=one.to_text(),
                tries=0,
                next_utc=one.at_utc,
                state=WAITING,
                error="",
            )
        )


def _delivery(row: object, tries: int) -> Delivery:
    found = row._mapping  # type: ignore[attr-defined]  # SQLAlchemy's Row
    return Delivery(
        number=found["number"],
        at_utc=found["at_utc"],
        transport=found["transport"],
        message=parse(found["message"]),
        tries=tries,
        state=found["state"],
        error=found["error"],
    )
