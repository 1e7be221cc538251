"""Uploaded events: checked row by row, stored once each however often they arrive."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Float,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.pool import NullPool

MAX_BATCH = 1000
MAX_BODY_BYTES = 1 << 20
KINDS = ("interaction", "impression")
_TEXTS = {"id": 64, "item_id": 256, "event": 64}

_metadata = MetaData()
EVENT = Table(
    "event",
    _metadata,
    Column("id", String(64), primary_key=True),
    Column("install_id", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("item_id", String(256), nullable=False),
    Column("event", String(64), nullable=False),
    Column("value", Float),
    Column("ts", BigInteger, nullable=False, index=True),
    Column("context", Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Ids that are stored now (or were before), and why the others are not."""

    ids: list[str]
    rejected: list[dict[str, str]]
    stored: int


def open_database(url: str) -> Engine:
    """Open the events' database and make its table; SQLite or PostgreSQL by URL."""
    engine = create_engine(url, poolclass=NullPool if url.startswith("sqlite") else None)
    _metadata.create_all(engine)
    return engine


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
            rows.append({**row, "install_id": install_id, "context": context})
    stored = 0
    if rows:
        dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
        with engine.begin() as connection:
            before = connection.scalar(select(func.count()).select_from(EVENT)) or 0
            connection.execute(dialect.insert(EVENT).on_conflict_do_nothing(), rows)
            after = connection.scalar(select(func.count()).select_from(EVENT)) or 0
            stored = after - before
    return Accepted([row["id"] for row in rows], rejected, stored)


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
