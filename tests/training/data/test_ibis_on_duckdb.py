"""The calls of Ibis on DuckDB work with the locked versions, decision 0022.

Most of these fail with DuckDB 2 or sqlglot 30.18. Training calls few of them today; the next step
that is written may call any.
"""

import tomllib
from importlib.metadata import version

import ibis
import pandas as pd
import pyarrow as pa
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})


@pytest.fixture
def connection():
    found = ibis.duckdb.connect()
    yield found
    found.disconnect()


def rows(connection, name):
    return connection.table(name).order_by("a").to_pyarrow().to_pylist()


@pytest.mark.parametrize(
    "data",
    [FRAME, pa.Table.from_pandas(FRAME), ibis.memtable(FRAME)],
    ids=["pandas", "arrow", "expression"],
)
def test_a_table_is_created_from_data(connection, data):
    connection.create_table("t", data)
    assert rows(connection, "t") == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def test_a_table_is_created_from_a_schema(connection):
    connection.create_table("t", schema=ibis.schema({"a": "int64"}))
    assert rows(connection, "t") == []


def test_a_table_is_overwritten(connection):
    connection.create_table("t", FRAME)
    connection.create_table("t", FRAME.tail(1), overwrite=True)
    assert rows(connection, "t") == [{"a": 2, "b": "y"}]


def test_a_table_is_dropped(connection):
    connection.create_table("t", FRAME)
    connection.drop_table("t")
    assert connection.list_tables() == []
    connection.drop_table("t", force=True)


def test_a_view_is_made_and_dropped(connection):
    connection.create_table("t", FRAME)
    connection.create_view("v", connection.table("t").filter(ibis._.a > 1), overwrite=True)
    assert rows(connection, "v") == [{"a": 2, "b": "y"}]
    connection.drop_view("v")
    assert connection.list_tables() == ["t"]


def test_tables_are_listed(connection):
    connection.create_table("t", FRAME)
    connection.create_table("temporary", FRAME, temp=True)
    connection.create_view("v", connection.table("t"))
    assert sorted(connection.list_tables()) == ["t", "temporary", "v"]
    assert connection.list_tables(like="^t$") == ["t"]


def test_tables_of_a_database_are_kept_apart(connection):
    connection.create_database("other")
    connection.create_table("t", FRAME, database="other")
    assert "other" in connection.list_databases()
    assert connection.list_tables(database="other") == ["t"]
    assert connection.list_tables() == []
    connection.drop_table("t", database="other")
    connection.drop_database("other")


def test_rows_are_inserted_changed_and_removed(connection):
    connection.create_table("t", FRAME)
    connection.insert("t", pd.DataFrame({"a": [3], "b": ["z"]}))
    connection.upsert("t", pd.DataFrame({"a": [1], "b": ["w"]}), on="a")
    assert [row["b"] for row in rows(connection, "t")] == ["w", "y", "z"]
    connection.truncate_table("t")
    assert rows(connection, "t") == []


def test_files_are_written_and_read(connection, tmp_path):
    connection.to_parquet(ibis.memtable(FRAME), tmp_path / "t.parquet")
    connection.to_csv(ibis.memtable(FRAME), tmp_path / "t.csv")
    for found in (
        connection.read_parquet(tmp_path / "t.parquet"),
        connection.read_csv(tmp_path / "t.csv"),
    ):
        assert found.order_by("a").to_pyarrow().to_pylist() == FRAME.to_dict("records")


def test_results_come_as_arrow_whole_and_in_batches(connection):
    expression = ibis.memtable(FRAME)
    assert connection.to_pyarrow(expression).num_rows == 2
    assert sum(batch.num_rows for batch in connection.to_pyarrow_batches(expression)) == 2


def test_a_column_of_a_wide_table_is_dropped(connection):
    """sqlglot 28 and Ibis 11 lost track of the columns here."""
    wide = pd.DataFrame([[1, 2, 3, 4, 5, 6]], columns=list("abcdef"))
    connection.create_table("wide", wide)
    left = connection.table("wide").drop("c").to_pyarrow().to_pylist()
    assert left == [{"a": 1, "b": 2, "d": 4, "e": 5, "f": 6}]


@pytest.mark.parametrize("name", ["ibis-framework", "duckdb", "sqlglot"])
def test_the_versions_are_capped_and_installed_within_the_caps(repository, name):
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    asked = [Requirement(each) for each in project["optional-dependencies"]["train"]]
    specifier = next(each.specifier for each in asked if each.name == name)
    assert any(each.operator == "<" for each in specifier)
    assert Version(version(name)) in specifier
