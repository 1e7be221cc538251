"""The audit log: who did what, when, with which token, and the result."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, insert, select, update

from pocketrec_bundle.errors import PocketRecError
from pocketrec_server.auth.tokens import Token
from pocketrec_server.storage.database import writing
from pocketrec_server.storage.tables import AUDIT

_PART = 1000
BEGUN, DONE = "begun", "done"
COMMAND_LINE, SERVER = "command line", "server"
"""Actors without a token: a command on the server's machine, and the server itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One action.

    Attributes:
        number: number of the entry.
        at_utc: time of the action, unix seconds.
        actor: name of the token, COMMAND_LINE or SERVER.
        token_id: id of the token, if any.
        action: name of the action.
        subject: object of the action, e.g. channel and manifest.
        details: further parameters.
        outcome: "done", "begun" (running or interrupted), or the error.
    """

    number: int
    at_utc: int
    actor: str
    token_id: str | None
    action: str
    subject: str
    details: dict[str, Any]
    outcome: str


@contextmanager
def noted(
    engine: Engine, by: Token | str | None, action: str, subject: str, **details: Any
) -> Iterator[int]:
    """Record an action before it is executed, and its result afterwards; yield its number.

    Args:
        engine: the database.
        by: the token, or the name of an actor without a token; None: COMMAND_LINE.
        action: name of the action.
        subject: object of the action.
        details: further parameters.
    """
    row = {
        "at_utc": int(time.time()),
        "token_id": by.id if isinstance(by, Token) else None,
        "actor": by.name if isinstance(by, Token) else by or COMMAND_LINE,
        "action": action,
        "subject": subject[:256],
        "details": json.dumps(details),
        "outcome": BEGUN,
    }
    with writing(engine) as connection:
        new_row = insert(AUDIT).values(row).returning(AUDIT.c.number)
        number: int = connection.execute(new_row).scalar_one()
    outcome = DONE
    try:
        yield number
    except PocketRecError as err:
        outcome = f"failed: {err}"[:256]
        raise
    except BaseException:
        outcome = "failed"
        raise
    finally:
        with writing(engine) as connection:
            named = AUDIT.c.number == number
            connection.execute(update(AUDIT).where(named).values(outcome=outcome))


def entry(engine: Engine, number: int) -> Entry | None:
    """Return the entry with a number."""
    return next(iter(entries(engine, 1, number + 1)), None) if 0 < number < 2**31 else None


def entries(engine: Engine, most: int, before: int | None = None) -> list[Entry]:
    """Return the newest entries, or those before a number, newest first."""
    query = select(AUDIT).order_by(AUDIT.c.number.desc()).limit(most)
    if before is not None:
        query = query.where(AUDIT.c.number < before)
    with engine.connect() as connection:
        return [
            Entry(**(dict(row._mapping) | {"details": json.loads(row.details)}))
            for row in connection.execute(query)
        ]


def every(engine: Engine, before: int | None = None) -> Iterator[Entry]:
    """Yield all entries, or those before a number, newest first; read in parts."""
    while part := entries(engine, _PART, before):
        yield from part
        before = part[-1].number
