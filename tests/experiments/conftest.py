"""Write exports with the columns that the server writes."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pocketrec_server.events.export_tables import TABLES

SCHEMAS = {table.folder: table.schema() for table in TABLES}


@pytest.fixture(scope="session")
def write_tables() -> Callable[[Path, dict[str, list[dict]]], Path]:
    """Return a function: rows by table -> a file a table, with the columns that any row has."""

    def write(folder: Path, rows: dict[str, list[dict]], day: str = "2026-01-01") -> Path:
        for kind, listed in rows.items():
            if not listed:
                continue
            named = set().union(*listed)
            schema = pa.schema(
                [one.with_nullable(True) for one in SCHEMAS[kind] if one.name in named]
            )
            assert named == set(schema.names), f"{kind} has no {named - set(schema.names)}"
            path = folder / kind / f"day={day}" / "events.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(listed, schema), path)
        return folder

    return write
