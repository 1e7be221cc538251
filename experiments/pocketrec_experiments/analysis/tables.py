"""Open the folder of `pocketrec events export` as Ibis tables on DuckDB."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import ibis

from pocketrec_experiments.errors import EventsInvalidError

COLUMNS = {
    "requests": {
        "user_id": "string",
        "ts": "int64",
        "request_id": "string",
        "release": "string",
        "source": "string",
        "ms": "float64",
        "session_id": "string",
        "faults": "array<string>",
    },
    "impressions": {
        "user_id": "string",
        "ts": "int64",
        "request_id": "string",
        "item_id": "string",
        "score": "float64",
        "source": "string",
        "sponsored": "string",
    },
    "interactions": {
        "user_id": "string",
        "ts": "int64",
        "item_id": "string",
        "event": "string",
        "value": "float64",
        "currency": "string",
        "request_id": "string",
        "session_id": "string",
    },
    "exposures": {
        "user_id": "string",
        "ts": "int64",
        "experiment": "string",
        "arm": "string",
        "salt": "string",
        "forced": "boolean",
    },
}
"""Columns that the analysis reads, with their Ibis types."""
NEEDED = {
    "requests": {"user_id", "ts"},
    "impressions": {"user_id", "ts", "item_id"},
    "interactions": {"user_id", "ts", "item_id", "event"},
    "exposures": {"user_id", "ts", "experiment", "arm"},
}
"""Columns without which a table is refused; others are null where an old export lacks them."""
SEGMENT_COLUMNS = ("app_version", "device_class")
"""Columns of exposures that split the report, if the export has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Exported events; `connection` holds intermediate tables.

    Attributes:
        segments: those of `SEGMENT_COLUMNS` that exposures have.
    """

    connection: Any
    requests: Any
    impressions: Any
    interactions: Any
    exposures: Any
    segments: tuple[str, ...]


@contextmanager
def open_events(
    folder: Path,
    *,
    any_of: tuple[str, ...] = ("exposures",),
    threads: int = 2,
    memory_mb: int = 2500,
) -> Iterator[Events]:
    """Open an export. Tables that are not there have no rows.

    Args:
        folder: has `interactions/`, `impressions/`, `requests/`, `exposures/` with Parquet files.
        any_of: tables of which at least one must have a file.
        threads: of DuckDB.
        memory_mb: of DuckDB; beyond, it spills into a temporary folder.

    Raises:
        EventsInvalidError: the folder has none of these tables, a column is missing, or a file
            is damaged.
    """
    if not any(path for kind in any_of for path in (folder / kind).rglob("*.parquet")):
        hint = (
            " Devices log an exposure when an arm first matters."
            if any_of == ("exposures",)
            else ""
        )
        raise EventsInvalidError(
            f"{folder}: no {' or '.join(any_of)}. Expected the folder of `pocketrec events export`,"
            f" with {any_of[0]}/day=.../events.parquet.{hint}"
        )
    with tempfile.TemporaryDirectory(prefix="pocketrec-report-") as spill:
        connection = ibis.duckdb.connect(
            threads=threads,
            memory_limit=f"{memory_mb}MB",
            temp_directory=spill,
            preserve_insertion_order=False,
        )
        try:
            with readable(folder):
                found = {kind: _table(connection, folder, kind) for kind in COLUMNS}
                yield Events(
                    connection=connection,
                    segments=found["exposures"][1],
                    **{kind: table for kind, (table, _) in found.items()},
                )
        finally:
            connection.disconnect()


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Name the folder in what DuckDB says of its files, which are read late.

    Raises:
        EventsInvalidError: a file is damaged, or a column has values of another type.
    """
    try:
        yield
    except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.IOException) as err:
        raise EventsInvalidError(
            f"{folder}: cannot be read ({str(err).splitlines()[0]}). Export the events again with"
            " `pocketrec events export`."
        ) from err


def _table(connection: Any, folder: Path, kind: str) -> tuple[Any, tuple[str, ...]]:
    columns = COLUMNS[kind]
    paths = sorted(str(path) for path in (folder / kind).rglob("*.parquet"))
    if not paths:
        name = f"no_{kind}"
        return connection.create_table(name, schema=ibis.schema(columns), temp=True), ()
    table = connection.read_parquet(paths, union_by_name=True, hive_partitioning=False)
    there = set(table.columns)
    if "ts" not in there and "timestamp" in there:  # of the first export format
        table = table.rename(ts="timestamp")
        there = set(table.columns)
    if missing := sorted(NEEDED[kind] - there):
        raise EventsInvalidError(
            f"{folder / kind}: no column {', '.join(missing)} (it has {', '.join(sorted(there))})."
            " Export the events again with `pocketrec events export`."
        )
    segments = (
        tuple(name for name in SEGMENT_COLUMNS if name in there) if kind == "exposures" else ()
    )
    chosen = {
        name: table[name].cast(of) if name in there else ibis.null().cast(of)
        for name, of in {**columns, **dict.fromkeys(segments, "string")}.items()
    }
    return table.select(**chosen), segments
