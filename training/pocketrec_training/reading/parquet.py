"""Parquet files as a table of texts, without a copy."""

from pathlib import Path

import duckdb
import ibis
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir

from pocketrec_training.errors import TableInvalidError
from pocketrec_training.reading.batch import sample
from pocketrec_training.reading.files import InputFile
from pocketrec_training.reading.json_rows import LIST
from pocketrec_training.reading.raw_table import (
    BROKEN,
    FILE,
    LINE,
    PLACE,
    TEXT,
    RawTable,
    with_values,
)
from pocketrec_training.reading.spec import TableSpec

_FILE_COLUMN, _ROW_COLUMN = "filename", "file_row_number"


def parquet_table(
    connection: Backend, path: Path, files: list[InputFile], spec: TableSpec
) -> RawTable:
    """Return a view of Parquet files; a column that one of them lacks is null in its rows.

    Raises:
        TableInvalidError: a file is damaged.
    """
    try:
        found = connection.read_parquet(
            [str(each.path) for each in files],
            hive_partitioning=False,
            union_by_name=True,
            filename=True,
            file_row_number=True,
        )
        names = [name for name in found.columns if name not in (_FILE_COLUMN, _ROW_COLUMN)]
        # DuckDB reads pages when a query needs them: read all now, so that no later query fails.
        found.aggregate([found[name].hash().max().name(name) for name in names]).to_pyarrow()
    except duckdb.Error as err:
        raise unreadable(path.name, err) from err
    nested = {name: kind for name in names if (kind := _nested(found[name]))}
    texts = {f"c{k}": _as_text(found[name]) for k, name in enumerate(names)}
    base = path if path.is_dir() else files[0].path.parent
    places = {
        PLACE: ibis.row_number(),  # in the files' order, before any filter or join can lose it
        FILE: found[_FILE_COLUMN].replace(f"{base}/", ""),
        LINE: found[_ROW_COLUMN] + 1,
        BROKEN: ibis.null("string"),
        TEXT: ibis.null("string"),
    }
    table = found.select(**texts, **places)
    return RawTable(
        table=with_values(connection, table, len(names), spec.null_values),
        names=tuple(names),
        file=path.name,
        key=spec.key,
        nested={name: (files[0].name, kind) for name, kind in nested.items()},
    )


def unreadable(file: str, err: duckdb.Error) -> TableInvalidError:
    """Return the error of a Parquet file that DuckDB cannot read."""
    first_line = str(err).partition("\n")[0]
    return TableInvalidError(f"{file}: cannot be read as Parquet: {sample(first_line)}")


def _nested(column: ir.Value) -> str:
    kind = column.type()
    if kind.is_array():
        return "a list"
    return "an object" if kind.is_struct() or kind.is_map() else ""


def _as_text(column: ir.Value) -> ir.StringValue:
    if isinstance(column, ir.ArrayValue) and not column.type().value_type.is_nested():
        texts = column.cast("array<string>").filter(lambda each: each.notnull())
        return texts.map(lambda each: ibis.literal(LIST) + each.replace(LIST, "")).join("")
    return column.cast("string")
