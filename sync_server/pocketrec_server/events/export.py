"""Export events to Parquet, one file per day and kind, for `pocketrec data` and other readers.

Files: `<out>/interactions/day=2026-05-01/events.parquet` and `<out>/impressions/...`.

- Rows are ordered by time and id, so equal events give equal bytes, in any order of upload.
- Files are written atomically.
- `export.json` records the change number of each exported day. A later run writes only the days
  that changed since, also if the previous run was killed.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Connection, Engine, select

from pocketrec_bundle.disk.files import canonical_json, fsync_dir, write_atomic, write_failed
from pocketrec_bundle.disk.locks import LockedFile
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.units import DAY_S
from pocketrec_server.storage.database import snapshot
from pocketrec_server.storage.tables import EVENT, EVENT_DAY, INSTALL, SETTING

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
_KINDS = ("interaction", "impression")
STATE_FILE = "export.json"
ROWS = 50_000
"""Rows of a row group; about 20 MB in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """Result of an export.

    Attributes:
        days_written: days that changed and were written.
        days_kept: days that did not change.
        interactions: interactions written.
        impressions: impressions written.
    """

    days_written: int
    days_kept: int
    interactions: int
    impressions: int


def export_events(
    engine: Engine,
    out: Path,
    *,
    first: int | None = None,
    last: int | None = None,
    raw_ids: bool = False,
) -> ExportReport:
    """Update a folder to the events in the database.

    Args:
        engine: the database.
        out: output folder; created if missing.
        first: first day to export, in days since 1970-01-01 (UTC).
        last: last day to export.
        raw_ids: export install ids unchanged. By default `user_id` is a keyed hash of the install
            id (HMAC-SHA256 with a secret of the database, 128 bits), the same on every day.

    Raises:
        InputError: the folder has the export of another database or with other ids, or another
            export is writing to it.
        SQLAlchemyError: the database failed. Days that were exported before are kept.
        PocketRecError: the folder cannot be written. Days that were exported before are kept.
        ModuleNotFoundError: pyarrow is not installed; nothing was written.
    """
    schema = _schema()
    salt = None if raw_ids else _salt(engine)
    known = "raw" if salt is None else hashlib.sha256(salt).hexdigest()[:16]
    with _alone(out):
        state = _state(out, known)
        counts = dict.fromkeys(_KINDS, 0)
        written = kept = 0
        for day, changes in _days(engine, first, last):
            if state["days"].get(day_name(day)) == changes:
                kept += 1
                continue
            with snapshot(engine) as connection:
                # Read the number in the snapshot of the rows: the one of `_days` may be older.
                query = select(EVENT_DAY.c.changes).where(EVENT_DAY.c.day == day)
                changes = connection.scalars(query).one()
                for kind in _KINDS:
                    counts[kind] += _write_day(connection, out, kind, day, salt, schema)
            state["days"][day_name(day)] = changes
            write_atomic(out / STATE_FILE, canonical_json(state))
            written += 1
    return ExportReport(
        days_written=written,
        days_kept=kept,
        interactions=counts["interaction"],
        impressions=counts["impression"],
    )


def pseudonym(salt: bytes, install_id: str) -> str:
    """Return the pseudonym of an install id in exports: 32 hexadecimal digits."""
    return hmac.new(salt, install_id.encode(), hashlib.sha256).hexdigest()[:32]


def _salt(engine: Engine) -> bytes:
    with engine.connect() as connection:
        query = select(SETTING.c.value).where(SETTING.c.name == "salt")
        return bytes.fromhex(connection.scalars(query).one())


def _days(engine: Engine, first: int | None, last: int | None) -> list[tuple[int, int]]:
    query = select(EVENT_DAY.c.day, EVENT_DAY.c.changes).order_by(EVENT_DAY.c.day)
    if first is not None:
        query = query.where(EVENT_DAY.c.day >= first)
    if last is not None:
        query = query.where(EVENT_DAY.c.day <= last)
    with engine.connect() as connection:
        return [(row.day, row.changes) for row in connection.execute(query)]


def day_name(day: int) -> str:
    """Return a day as 2026-05-01; years may have more than four digits."""
    return str(np.datetime64(day, "D"))


def _schema() -> "pa.Schema":
    """Return the columns of an export."""
    try:
        import pyarrow as pa
    except ModuleNotFoundError as err:
        if err.name != "pyarrow":
            raise
        raise ModuleNotFoundError(
            "the export needs pyarrow, which is not installed."
            " Install it with: pip install 'pocketrec[events]'",
            name="pyarrow",
        ) from err
    return pa.schema(
        [
            ("user_id", pa.string()),
            ("item_id", pa.string()),
            ("event", pa.string()),
            ("value", pa.float64()),
            ("timestamp", pa.int64()),
            ("context", pa.string()),
        ]
    )


def _write_day(
    connection: Connection,
    out: Path,
    kind: str,
    day: int,
    salt: bytes | None,
    schema: "pa.Schema",
) -> int:
    """Write the file of a day and kind; remove the file if there are no rows."""
    from pyarrow.parquet import ParquetWriter

    path = out / f"{kind}s" / f"day={day_name(day)}" / "events.parquet"
    temporary = path.with_name(f".{path.name}.partial")
    rows = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with ParquetWriter(temporary, schema, compression="zstd") as writer:
            for table in _tables(connection, kind, day, salt, schema):
                writer.write_table(table, row_group_size=ROWS)
                rows += len(table)
        if rows:
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.replace(path)
            fsync_dir(path.parent)
        else:
            temporary.unlink()
            path.unlink(missing_ok=True)
            with suppress(OSError):  # the folder holds other files
                path.parent.rmdir()
            fsync_dir(path.parent.parent)
    except OSError as err:
        temporary.unlink(missing_ok=True)
        raise write_failed(path, err) from err
    return rows


def _tables(
    connection: Connection, kind: str, day: int, salt: bytes | None, schema: "pa.Schema"
) -> Iterator["pa.Table"]:
    """Yield a day's rows by time and event id, `ROWS` at a time.

    Sorting by install id first would reveal the order of the ids behind the pseudonyms.
    """
    import pyarrow as pa

    start = day * DAY_S
    query = (
        select(
            INSTALL.c.install_id,
            EVENT.c.item_id,
            EVENT.c.event,
            EVENT.c.value,
            EVENT.c.ts,
            EVENT.c.context,
        )
        .join(INSTALL)
        .where(EVENT.c.kind == kind, EVENT.c.ts >= start, EVENT.c.ts < start + DAY_S)
        .order_by(EVENT.c.ts, EVENT.c.id, INSTALL.c.install_id)
    )
    result = connection.execute(query, execution_options={"yield_per": ROWS})
    for rows in result.partitions():
        ids, *columns = zip(*rows, strict=True)
        names = {
            install_id: install_id if salt is None else pseudonym(salt, install_id)
            for install_id in set(ids)
        }
        yield pa.table(
            [[names[install_id] for install_id in ids], *map(list, columns)], schema=schema
        )


def _state(out: Path, ids: str) -> dict[str, Any]:
    path = out / STATE_FILE
    if not path.exists():
        return {"format": FORMAT, "ids": ids, "days": {}}
    try:
        state = json.loads(path.read_bytes())
        known = state["format"], state["ids"], dict(state["days"])
    except (ValueError, KeyError, TypeError) as err:
        raise InputError(f"{path}: damaged ({err!r}). Choose another --out.") from err
    if known[:2] != (FORMAT, ids):
        raise InputError(
            f"{path}: holds the events of another database, or other ids. Choose another --out."
        )
    return dict(state)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = LockedFile(out / ".lock")
    except BlockingIOError as err:
        raise InputError(f"{out}: another export is writing here. Wait until it ends.") from err
    except OSError as err:
        raise write_failed(out, err) from err
    with lock:
        yield
