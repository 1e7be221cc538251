"""Store a batch of events exactly once, even if several processes receive it several times.

One transaction stores batch, events, quota and counts. It locks the row of the install, so the
uploads of one install are processed one after the other.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, select, update

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.units import DAY_S
from pocketrec_server.errors import UploadRefusedError
from pocketrec_server.events import exposures
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
"""Time for which batch ids are kept; event ids are kept as long as their events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """Result of storing a batch.

    Attributes:
        accepted: ids of the stored events, new or known.
        rejected: places, ids and reasons of the rejected events.
        new: rows of the new events.
        again: whether the batch was known already; then it gets the same response as before.
    """

    accepted: list[str]
    rejected: list[dict[str, Any]]
    new: list[dict[str, Any]]
    again: bool


def store(
    engine: Engine,
    upload: Upload,
    limits: Limits = LIMITS,
    now: float | None = None,
    network: str = UNKNOWN,
    stages: Collection[str] = (),
) -> IngestReport:
    """Store the valid events of a batch. A known batch gets the same response as before.

    Args:
        engine: the database.
        upload: the batch.
        limits: limits of the install, its network, and all installs.
        now: current time, unix seconds; the default is the system clock.
        network: network of the client, see `networks.py`.
        stages: subjects of the stages of rollouts that guardrails watch.

    Raises:
        UploadRefusedError: a limit of the install, its network or all installs is exceeded, or the
            batch id was used for other events.
        SQLAlchemyError: the database failed; nothing was stored.
    """
    now = time.time() if now is None else now
    rows, rejected = checked(upload.events)
    digest = hashlib.sha256(canonical_json(upload.events)).hexdigest()
    refused: UploadRefusedError | None = None
    quotas = check(engine, limits, network, now)
    with writing(engine) as connection:
        install = _locked(connection, upload.install_id, limits, now)
        budget = spend_upload(_budget(install), limits, now)
        new, known = [], _known(connection, install.number, upload.batch)
        if known is None:
            try:
                with connection.begin_nested():
                    new = _insert(connection, install.number, rows)
                    spend(connection, quotas, len(new), now)
                    budget = spend_events(budget, limits, len(new), now)
                    _count(connection, new, rejected, int(now))
                    exposures.note(connection, install.number, new, network)
                    exposures.note_upload(connection, install.number, stages, network, int(now))
                    _remember(connection, install.number, upload.batch, digest, rejected, int(now))
            except UploadRefusedError as err:
                refused = err
        elif known.digest != digest:
            refused = UploadRefusedError(409, "the batch id was used for other events before")
        else:
            rejected = json.loads(known.rejected)
        connection.execute(
            update(INSTALL)
            .where(INSTALL.c.number == install.number)
            .values(last_utc=int(now), **asdict(budget))
        )
    if refused:  # after the commit: a refused upload counts too
        raise refused
    places = {rejection["place"] for rejection in rejected}
    accepted = [e["id"] for place, e in enumerate(upload.events) if place not in places]
    return IngestReport(accepted=accepted, rejected=rejected, new=new, again=known is not None)


def _locked(connection: Connection, install_id: str, limits: Limits, now: float) -> Row[Any]:
    """Return the row of an install, created if missing, locked until the transaction ends."""
    query = select(INSTALL).where(INSTALL.c.install_id == install_id).with_for_update()
    if (row := connection.execute(query).one_or_none()) is not None:
        return row
    first_values = {"install_id": install_id, "first_utc": int(now), "last_utc": int(now)}
    insert = dialect_of(connection).insert(INSTALL).on_conflict_do_nothing()
    connection.execute(insert, first_values | asdict(full(limits, now)))
    return connection.execute(query).one()


def _budget(install: Row[Any]) -> Budget:
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


def _insert(
    connection: Connection, install: int, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Insert the rows with new ids; return these rows."""
    if not rows:
        return []
    insert = dialect_of(connection).insert(EVENT).on_conflict_do_nothing().returning(EVENT.c.id)
    new = set(connection.scalars(insert, [row | {"install": install} for row in rows]))
    return [row for row in rows if row["id"] in new]


def _count(
    connection: Connection, new: list[dict[str, Any]], rejected: list[dict[str, Any]], now: int
) -> None:
    # In the order of their keys, so that two uploads with the same days cannot deadlock.
    days = [
        {"day": day, "events": n, "changes": 1}
        for day, n in sorted(Counter(day_of(row["ts"]) for row in new).items())
    ]
    reasons = [
        {"day": day_of(now), "reason": reason, "events": n}
        for reason, n in sorted(Counter(rejection["reason"] for rejection in rejected).items())
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
