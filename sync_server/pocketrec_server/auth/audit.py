"""The audit log: who did what, when, by which token, and what came of it."""

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
"""Actors without a token: a command on the server's machine, and the server by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One action; the outcome is "done", "begun" (running, or cut off), or why it failed."""

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
    """Note an action before it is done, and after it what came of it; yields its number.

    Args:
        engine: the database.
        by: whose token is used, or an actor without one; None: COMMAND_LINE.
        action: what is done.
        subject: to what.
        details: whatever else says what was asked for.
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
        made = insert(AUDIT).values(row).returning(AUDIT.c.number)
        number: int = connection.execute(made).scalar_one()
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
    """The entry of a number."""
    return next(iter(entries(engine, 1, number + 1)), None) if 0 < number < 2**31 else None


def entries(engine: Engine, most: int, before: int | None = None) -> list[Entry]:
    """The newest entries, or those before the one of a number, newest first."""
    wanted = select(AUDIT).order_by(AUDIT.c.number.desc()).limit(most)
    if before is not None:
        wanted = wanted.where(AUDIT.c.number < before)
    with engine.connect() as connection:
        return [
            Entry(**(dict(row._mapping) | {"details": json.loads(row.details)}))
            for row in connection.execute(wanted)
        ]


def every(engine: Engine, before: int | None = None) -> Iterator[Entry]:
    """All entries, or those before the one of a number, newest first, read a part at a time."""
    while found := entries(engine, _PART, before):
        yield from found
        before = found[-1].number
