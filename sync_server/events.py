"""Uploaded events: checked row by row, stored once each however often they arrive."""

import json
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, select

from sync_server.database import dialect_of, writing
from sync_server.tables import EVENT, INSTALL

MAX_BATCH = 1000
MAX_BODY_BYTES = 1 << 20
KINDS = ("interaction", "impression")
_TEXTS = {"id": 64, "item_id": 256, "event": 64}


@dataclass(frozen=True, slots=True)
class Accepted:
    """Ids that are stored now (or were before), and why the others are not."""

    ids: list[str]
    rejected: list[dict[str, str]]
    stored: int


def store(engine: Engine, install_id: str, events: list[Any]) -> Accepted:
    """Store what is well formed in one transaction; a known id is acknowledged, not stored."""
    rows, rejected = [], []
    for place, event in enumerate(events):
        reason = why_bad(event)
        if reason:
            name = event.get("id") if isinstance(event, dict) else None
            rejected.append({"id": str(name if name is not None else place), "reason": reason})
        else:
            context = json.dumps(event.get("context") or {})
            names = ("id", "kind", "item_id", "event", "value", "ts")
            row = {key: event.get(key) for key in names}
            rows.append({**row, "context": context})
    stored = 0
    if rows:
        with writing(engine) as connection:
            number = _number_of(connection, install_id, int(time.time()))
            insert = dialect_of(connection).insert(EVENT).on_conflict_do_nothing()
            stored = connection.execute(
                insert, [row | {"install": number} for row in rows]
            ).rowcount
    return Accepted([row["id"] for row in rows], rejected, stored)


def _number_of(connection: Connection, install_id: str, now: int) -> int:
    made = {"install_id": install_id, "first_utc": now, "last_utc": now}
    made |= {"tokens": 0.0, "tokens_utc": 0.0, "quota_day": 0, "quota_used": 0}
    insert = dialect_of(connection).insert(INSTALL).on_conflict_do_nothing()
    connection.execute(insert, made)
    found = select(INSTALL.c.number).where(INSTALL.c.install_id == install_id)
    return int(connection.execute(found).scalar_one())


def why_bad(event: Any) -> str:
    """Return why an event cannot be stored, or "" if it can."""
    if not isinstance(event, dict):
        return "not an object"
    for key, limit in _TEXTS.items():
        value = event.get(key)
        if not isinstance(value, str) or not 0 < len(value) <= limit or "\0" in value:
            return f"{key} must be a text of 1..{limit} characters"
    if event.get("kind") not in KINDS:
        return f"kind must be one of {', '.join(KINDS)}"
    ts, value = event.get("ts"), event.get("value")
    if type(ts) is not int or not 0 <= ts < 1 << 40:
        return "ts must be unix seconds"
    if value is not None and (type(value) not in (int, float) or not abs(value) < 1e300):
        return "value must be a finite number or null"
    if not isinstance(event.get("context") or {}, dict):
        return "context must be an object"
    return ""
