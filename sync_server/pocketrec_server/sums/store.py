"""Store the newest sums of each device and experiment, and delete them when they are old."""

import json
from dataclasses import asdict

from sqlalchemy import Engine, and_, delete, select

from pocketrec_bundle.settings.experiment_sums import DeviceSums
from pocketrec_bundle.units import DAY_S
from pocketrec_server.errors import UploadRefusedError
from pocketrec_server.events import exposures
from pocketrec_server.events.quotas import check, spend
from pocketrec_server.events.rate_limit import Limits
from pocketrec_server.storage.database import dialect_of, scrub, writing
from pocketrec_server.storage.tables import EXPERIMENT_SUMS

KEPT_DAYS = 90
"""Days for which sums are kept after the planned end of their experiment."""
_BELONGS = ("channel", "experiment", "salt", "arm")


def store(
    engine: Engine,
    body: DeviceSums,
    until_utc: int,
    limits: Limits,
    now: float,
    network: str,
    *,
    is_guarded: bool = False,
) -> bool:
    """Store a body if its number is above that of the stored one; return whether it was.

    An upload counts as one event in the quotas of its network and of all devices.

    Args:
        engine: the database.
        body: as the device sent it.
        until_utc: planned end of the experiment.
        limits: limits of networks and of all devices.
        now: current time, unix seconds.
        network: network of the client, see `networks.py`.
        is_guarded: the experiment has guardrails, which count networks: note that of the sums.

    Raises:
        UploadRefusedError: a quota is used up, or the id belongs to another arm or experiment.
        SQLAlchemyError: the database failed; nothing was stored.
    """
    quotas = check(engine, limits, network, now)
    table = EXPERIMENT_SUMS
    content = {key: value for key, value in asdict(body).items() if key not in ("id", *_BELONGS)}
    row = {
        "id": body.id,
        **{name: getattr(body, name) for name in _BELONGS},
        "seq": body.seq,
        "received_utc": int(now),
        "until_utc": until_utc,
        "body": json.dumps(content, separators=(",", ":")),
    }
    refused: UploadRefusedError | None = None
    with writing(engine) as connection:
        spend(connection, quotas, 0, now)
        insert = dialect_of(connection).insert(table)
        same = [table.c[name] == insert.excluded[name] for name in _BELONGS]
        changed = connection.execute(
            insert.on_conflict_do_update(
                index_elements=[table.c.id],
                set_={
                    name: insert.excluded[name]
                    for name in ("seq", "received_utc", "until_utc", "body")
                },
                where=and_(table.c.seq < insert.excluded.seq, *same),
            ).returning(table.c.id),
            row,
        ).first()
        if changed is not None and is_guarded:
            subject = exposures.subject_of(body.experiment, body.salt)
            exposures.note_sums(connection, body.id, subject, network)
        if changed is None:
            stored = connection.execute(select(table).where(table.c.id == body.id)).one()
            if any(stored._mapping[name] != row[name] for name in _BELONGS):
                refused = UploadRefusedError(409, "the id belongs to another arm or experiment")
    if refused:  # after the commit: a refused upload counts too
        raise refused
    return changed is not None


def erase(engine: Engine, sums_id: str) -> int:
    """Erase the sums of an id, which authorises it; return the number of rows.

    Raises:
        SQLAlchemyError: the database failed; nothing was erased.
    """
    with writing(engine) as connection:
        query = delete(EXPERIMENT_SUMS).where(EXPERIMENT_SUMS.c.id == sums_id)
        erased = connection.execute(query).rowcount
    scrub(engine)
    return erased


def forget_old(engine: Engine, now: float) -> int:
    """Delete sums of experiments that ended long ago; return the number of rows.

    Sums of a running experiment stay, also of devices that no longer send any: without them the
    report would lose the users who left.

    Raises:
        SQLAlchemyError: the database failed; nothing was deleted.
    """
    ended = EXPERIMENT_SUMS.c.until_utc < int(now) - KEPT_DAYS * DAY_S
    with writing(engine) as connection:
        return connection.execute(delete(EXPERIMENT_SUMS).where(ended)).rowcount
