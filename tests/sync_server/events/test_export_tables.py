"""The page that is the contract of the export says what the files are, and its query runs."""

import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pocketrec_server.events.export_tables import TABLES
from pocketrec_server.events.validation import KINDS

PAGE = Path(__file__).parents[3] / "docs" / "server" / "events.md"


def documented(folder):
    """(column, type, nullable) of each row of a table's section."""
    text = PAGE.read_text(encoding="utf-8")
    section = re.split(r"^## ", text.partition(f"\n## {folder}\n")[2], flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| .+ \| ([^|]+) \|$", section, re.MULTILINE)
    return [(name, of.strip(), null.strip() != "never") for name, of, null in rows]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.folder)
def test_the_page_lists_the_columns_of_the_files(table):
    columns = [(column.name, column.type, column.nullable) for column in table.columns]
    assert documented(table.folder) == columns
    schema = table.schema()
    assert [(field.name, field.nullable) for field in schema] == [
        (n, null) for n, _, null in columns
    ]
    types = [str(field.type).replace("item: ", "") for field in schema]
    assert types == [of for _, of, _ in columns]


def test_every_kind_that_the_server_accepts_is_exported():
    assert sorted(table.kind for table in TABLES) == sorted(KINDS)


def test_the_query_of_the_page_runs(tmp_path, monkeypatch):
    base = {"user_id": "u", "ts": 1, "context": "{}", "request_id": "r" * 22}
    shown = [base | {"item_id": item, "place": place} for place, item in enumerate("abcd", 1)]
    tap = {"item_id": "b", "event": "like", "timestamp": 1}
    rows = {
        "impressions": shown,
        "requests": [base | {"release": "ab" * 8, "scene": "home", "arms": [], "faults": []}],
        "interactions": [base | tap, base | tap | {"event": "buy"}],
    }
    for table in TABLES:
        if table.folder in rows:
            folder = tmp_path / "events" / table.folder / "day=2026-05-01"
            folder.mkdir(parents=True)
            made = pa.Table.from_pylist(rows[table.folder], schema=table.schema())
            pq.write_table(made, folder / "events.parquet")
    monkeypatch.chdir(tmp_path)
    (query,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    found = duckdb.sql(query).fetchall()
    assert found == [("ab" * 8, place, float(place == 2)) for place in (1, 2, 3, 4)]
