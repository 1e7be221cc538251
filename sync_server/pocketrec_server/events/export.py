"""Export events to Parquet, one file per day and kind, for `pocketrec data` and other readers.

Files: `<out>/interactions/day=2026-05-01/events.parquet`, and the same below `impressions`,
`requests` and `exposures`; `export_tables.py` has their columns.

- Rows are ordered by time and id, so equal events give equal bytes, in any order of upload.
- Files are written atomically, those of a day once all of them are ready.
- `export.json` records the change number of each exported day. A later run writes only the days
  that changed since, also if the previous run was killed.
- A folder of format 1, which had other columns, is continued: all its days are written again.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Connection, Engine, select

from pocketrec_bundle.disk.files import canonical_json, fsync_dir, write_atomic, write_failed
from pocketrec_bundle.disk.locks import LockedFile
from pocketrec_bundle.errors import InputError, PocketRecError
from pocketrec_bundle.units import DAY_S
from pocketrec_server.events.export_tables import TABLES, ExportTable
from pocketrec_server.storage.database import snapshot
from pocketrec_server.storage.tables import EVENT, EVENT_DAY, INSTALL, SETTING

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 2
_OUTDATED = -1  # the change number of a day that an earlier format wrote
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
        requests: requests written.
        exposures: exposures to arms of experiments written.
    """

    days_written: int
    days_kept: int
    interactions: int
    impressions: int
    requests: int
    exposures: int


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
        last: last day to export. Days of an earlier format are exported whatever both say.
        raw_ids: export install ids unchanged. By default `user_id` is a keyed hash of the install
            id (HMAC-SHA256 with a secret of the database, 128 bits), the same on every day.

    Raises:
        InputError: the folder has the export of another database or with other ids, was written
            by a newer version, or another export is writing to it.
        SQLAlchemyError: the database failed. Days that were exported before are kept.
        PocketRecError: the folder cannot be written, or an event does not fit its columns. Days
            that were exported before are kept.
        ModuleNotFoundError: pyarrow is not installed; nothing was written.
    """
    schemas = {table.kind: table.schema() for table in TABLES}
    salt = None if raw_ids else _salt(engine)
    known = "raw" if salt is None else hashlib.sha256(salt).hexdigest()[:16]
    with _alone(out):
        state = _state(out, known)
        counts = dict.fromkeys(schemas, 0)
        written = kept = 0
        for day, changes in _days(engine, first, last, state):
            if state["days"].get(day_name(day)) == changes:
                kept += 1
                continue
            with snapshot(engine) as connection:
                # Read the number in the snapshot of the rows: the one of `_days` may be older.
                query = select(EVENT_DAY.c.changes).where(EVENT_DAY.c.day == day)
                changes = connection.scalars(query).one()
                for kind, rows in _write_day(connection, out, day, salt).items():
                    counts[kind] += rows
            state["days"][day_name(day)] = changes
            write_atomic(out / STATE_FILE, canonical_json(state))
            written += 1
    return ExportReport(
        days_written=written,
        days_kept=kept,
        interactions=counts["interaction"],
        impressions=counts["impression"],
        requests=counts["request"],
        exposures=counts["exposure"],
    )


def pseudonym(salt: bytes, install_id: str) -> str:
    """Return the pseudonym of an install id in exports: 32 hexadecimal digits."""
    return hmac.new(salt, install_id.encode(), hashlib.sha256).hexdigest()[:32]


def _salt(engine: Engine) -> bytes:
    with engine.connect() as connection:
        query = select(SETTING.c.value).where(SETTING.c.name == "salt")
        return bytes.fromhex(connection.scalars(query).one())


def _days(
    engine: Engine, first: int | None, last: int | None, state: dict[str, Any]
) -> list[tuple[int, int]]:
    """Return the days to look at, with their change numbers."""
    query = select(EVENT_DAY.c.day, EVENT_DAY.c.changes).order_by(EVENT_DAY.c.day)
    with engine.connect() as connection:
        days = [(row.day, row.changes) for row in connection.execute(query)]
    return [
        (day, changes)
        for day, changes in days
        if ((first is None or day >= first) and (last is None or day <= last))
        or state["days"].get(day_name(day)) == _OUTDATED
    ]


def day_name(day: int) -> str:
    """Return a day as 2026-05-01; years may have more than four digits."""
    return str(np.datetime64(day, "D"))


def _write_day(connection: Connection, out: Path, day: int, salt: bytes | None) -> dict[str, int]:
    """Write the files of a day once all tables are ready; return the rows by kind.

    Raises:
        PocketRecError: the folder cannot be written, or an event does not fit its columns.
    """
    paths = {
        table: out / table.folder / f"day={day_name(day)}" / "events.parquet" for table in TABLES
    }
    rows = {}
    try:
        for table, path in paths.items():
            try:
                rows[table.kind] = _write_table(connection, _partial(path), table, day, salt)
            except OSError as err:
                raise write_failed(path, err) from err
        for table, path in paths.items():
            try:
                _publish(path, rows[table.kind])
            except OSError as err:
                raise write_failed(path, err) from err
    finally:
        for path in paths.values():
            with suppress(OSError):
                _partial(path).unlink(missing_ok=True)
    return rows


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _write_table(
    connection: Connection, temporary: Path, table: ExportTable, day: int, salt: bytes | None
) -> int:
    from pyarrow.parquet import ParquetWriter

    rows = 0
    temporary.parent.mkdir(parents=True, exist_ok=True)
    with ParquetWriter(temporary, table.schema(), compression="zstd") as writer:
        for part in _parts(connection, table, day, salt):
            writer.write_table(part, row_group_size=ROWS)
            rows += len(part)
    return rows


def _publish(path: Path, rows: int) -> None:
    """Put a table's file in its place; remove the old one if there are no rows."""
    temporary = _partial(path)
    if rows:
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
        fsync_dir(path.parent)
        return
    temporary.unlink()
    path.unlink(missing_ok=True)
    with suppress(OSError):  # the folder holds other files
        path.parent.rmdir()
    fsync_dir(path.parent.parent)


def _parts(
    connection: Connection, table: ExportTable, day: int, salt: bytes | None
) -> Iterator["pa.Table"]:
    """Yield a day's rows by time and event id, `ROWS` at a time.

    Sorting by install id first would reveal the order of the ids behind the pseudonyms.
    """
    start = day * DAY_S
    query = (
        select(
            INSTALL.c.install_id,
            EVENT.c.id,
            EVENT.c.item_id,
            EVENT.c.event,
            EVENT.c.value,
            EVENT.c.ts,
            EVENT.c.context,
        )
        .join(INSTALL)
        .where(EVENT.c.kind == table.kind, EVENT.c.ts >= start, EVENT.c.ts < start + DAY_S)
        .order_by(EVENT.c.ts, EVENT.c.id, INSTALL.c.install_id)
    )
    with connection.execute(query, execution_options={"yield_per": ROWS}) as result:
        for rows in result.partitions():
            names = {
                install_id: install_id if salt is None else pseudonym(salt, install_id)
                for install_id in {row.install_id for row in rows}
            }
            yield _as_table(table, [(row, names[row.install_id]) for row in rows])


def _as_table(table: ExportTable, rows: Sequence[tuple[Any, str]]) -> "pa.Table":
    """Convert stored events to a table; rows: an event and its user id.

    Raises:
        PocketRecError: an event does not fit the columns.
    """
    import pyarrow as pa

    try:
        values = [{"user_id": user, **table.values(row._asdict())} for row, user in rows]
        columns = {name: [one[name] for one in values] for name in table.schema().names}
        made = pa.table(columns, schema=table.schema())
        for field in made.schema:
            if not field.nullable and made[field.name].null_count:
                raise ValueError(f"column {field.name} is null")
    except (pa.ArrowException, ValueError, TypeError, AttributeError, OverflowError) as err:
        if len(rows) > 1:  # the event to name is in one half
            middle = len(rows) // 2
            for part in (rows[:middle], rows[middle:]):
                _as_table(table, part)
        row = rows[0][0]
        raise PocketRecError(
            f"{table.folder}: event {row.id} of install {row.install_id} does not fit the columns"
            f" ({err}); its day was not exported. An upload cannot store it: restore the database"
            f" from a backup, or run `pocketrec events erase --install-id {row.install_id}`."
        ) from err
    return made


def _state(out: Path, ids: str) -> dict[str, Any]:
    path = out / STATE_FILE
    if not path.exists():
        return {"format": FORMAT, "ids": ids, "days": {}}
    try:
        state = json.loads(path.read_bytes())
        known = state["format"], state["ids"], dict(state["days"])
    except (ValueError, KeyError, TypeError) as err:
        raise InputError(f"{path}: damaged ({err!r}). Choose another --out.") from err
    if known[0] not in (1, FORMAT):
        raise InputError(
            f"{path}: format {known[0]!r:.40}, and this version writes {FORMAT}. Update PocketRec,"
            " or choose another --out."
        )
    if known[1] != ids:
        raise InputError(
            f"{path}: holds the events of another database, or other ids. Choose another --out."
        )
    if known[0] == 1:  # its files have other columns
        return {"format": FORMAT, "ids": ids, "days": dict.fromkeys(known[2], _OUTDATED)}
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
