"""Store a batch of events: once, however often and by however many processes it is received.

One transaction, in which the row of the install is locked: uploads of one install come one after
the other, and batch, events, quota and counts are there together or not at all.
"""

import hashlib
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, select, update

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.units import DAY_S
from pocketrec_server.errors import UploadRefusedError
from pocketrec_server.events.quotas import check, spend
from pocketrec_server.events.rate_limit import (
    LIMITS,
    Budget,
    Limits,
    full,
    spend_events,
    spend_upload,
)
from pocketrec_server.events.uploads import Upload
from pocketrec_server.events.validation import checked, day_of
from pocketrec_server.http.networks import UNKNOWN
from pocketrec_server.storage.database import dialect_of, writing
from pocketrec_server.storage.tables import EVENT, EVENT_DAY, INSTALL, REJECTED_DAY, UPLOAD

REMEMBERED_S = 30 * DAY_S
"""How long a batch is known; after that, its events still are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What became of a batch.

    Attributes:
        accepted: ids of the events that are stored, now or before.
        rejected: why others are not.
        new: times of the events that were not there before.
        again: the batch was known, and is answered as before.
    """

    accepted: list[str]
    rejected: list[dict[str, Any]]
    new: list[int]
    again: bool


def store(
    engine: Engine,
    upload: Upload,
    limits: Limits = LIMITS,
    now: float | None = None,
    network: str = UNKNOWN,
) -> Stored:
    """Store what is well formed of a batch; a known batch is answered as before.

    Args:
        engine: the database.
        upload: the batch.
        limits: of its install, its network, and of all.
        now: unix seconds; by default the clock's.
        network: that it comes from, see `networks.py`.

    Raises:
        UploadRefusedError: the install, its network or all have sent too much, or the batch's id
            was used for other events.
        SQLAlchemyError: the database failed; nothing was stored.
    """
    now = time.time() if now is None else now
    rows, rejected = checked(upload.events)
    digest = hashlib.sha256(canonical_json(upload.events)).hexdigest()
    refused: UploadRefusedError | None = None
    quotas = check(engine, limits, network, now)
    with writing(engine) as connection:
        install = _locked(connection, upload.install_id, limits, now)
        allowance = spend_upload(_allowance(install), limits, now)
        new, known = [], _known(connection, install.number, upload.batch)
        if known is None:
            try:
                with connection.begin_nested():
                    new = _insert(connection, install.number, rows)
                    spend(connection, quotas, len(new), now)
                    allowance = spend_events(allowance, limits, len(new), now)
                    _count(connection, new, rejected, int(now))
                    _remember(connection, install.number, upload.batch, digest, rejected, int(now))
            except UploadRefusedError as err:
                refused = err
        elif known.digest != digest:
            refused = UploadRefusedError(409, "the batch's id was used for other events before")
        else:
            rejected = json.loads(known.rejected)
        connection.execute(
            update(INSTALL)
            .where(INSTALL.c.number == install.number)
            .values(last_utc=int(now), **asdict(allowance))
        )
    if refused:  # after the commit: what is refused costs an upload, too
        raise refused
    places = {each["place"] for each in rejected}
    accepted = [e["id"] for place, e in enumerate(upload.events) if place not in places]
    return Stored(accepted=accepted, rejected=rejected, new=new, again=known is not None)


def _locked(connection: Connection, install_id: str, limits: Limits, now: float) -> Row[Any]:
    """Return the row of an install, made if need be, locked until the transaction ends."""
    found = select(INSTALL).where(INSTALL.c.install_id == install_id).with_for_update()
    if (row := connection.execute(found).one_or_none()) is not None:
        return row
    made = {"install_id": install_id, "first_utc": int(now), "last_utc": int(now)}
    insert = dialect_of(connection).insert(INSTALL).on_conflict_do_nothing()
    connection.execute(insert, made | asdict(full(limits, now)))
    return connection.execute(found).one()


def _allowance(install: Row[Any]) -> Budget:
    return Budget(
        tokens=install.tokens,
        tokens_utc=install.tokens_utc,
        quota_day=install.quota_day,
        quota_used=install.quota_used,
    )


def _known(connection: Connection, install: int, batch: str | None) -> Row[Any] | None:
    return connection.execute(
        select(UPLOAD).where(UPLOAD.c.install == install, UPLOAD.c.batch == batch)
    ).one_or_none()


def _insert(connection: Connection, install: int, rows: list[dict[str, Any]]) -> list[int]:
    """Insert the rows whose ids are new; returns their times."""
    if not rows:
        return []
    insert = dialect_of(connection).insert(EVENT).on_conflict_do_nothing().returning(EVENT.c.ts)
    return list(connection.scalars(insert, [row | {"install": install} for row in rows]))


def _count(
    connection: Connection, new: list[int], rejected: list[dict[str, Any]], now: int
) -> None:
    # In the order of their keys: two uploads that count the same days cannot wait for each other.
    days = [
        {"day": day, "events": n, "changes": 1}
        for day, n in sorted(Counter(map(day_of, new)).items())
    ]
    reasons = [
        {"day": day_of(now), "reason": reason, "events": n}
        for reason, n in sorted(Counter(each["reason"] for each in rejected).items())
    ]
    for table, rows in ((EVENT_DAY, days), (REJECTED_DAY, reasons)):
        if rows:
            insert = dialect_of(connection).insert(table)
            added = {
                column.name: column + insert.excluded[column.name]
                for column in table.columns
                if not column.primary_key
            }
            connection.execute(
                insert.on_conflict_do_update(set_=added, index_elements=table.primary_key), rows
            )


def _remember(
    connection: Connection,
    install: int,
    batch: str | None,
    digest: str,
    rejected: list[dict[str, Any]],
    now: int,
) -> None:
    connection.execute(
        delete(UPLOAD).where(
            UPLOAD.c.install == install, UPLOAD.c.received_utc < now - REMEMBERED_S
        )
    )
    if batch is not None:
        connection.execute(
            UPLOAD.insert(),
            {
                "install": install,
                "batch": batch,
                "digest": digest,
                "rejected": json.dumps(rejected),
                "received_utc": now,
            },
        )
