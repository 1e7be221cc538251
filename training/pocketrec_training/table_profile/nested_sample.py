"""Columns of text from JSON and Parquet, whose values may be lists and objects."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pocketrec_training.errors import TableInvalidError

LOOKED_AT = 2000
"""Records that show the names of the columns and which of them hold lists or objects."""
Columns = dict[str, list[str]]


def json_columns(
    texts: Sequence[str], starts: Sequence[bool], most: int
) -> tuple[Columns, frozenset[str], frozenset[str]]:
    """Return the columns of JSON Lines, of an array, or of objects one after the other.

    Args:
        texts: parts of the files.
        starts: whether a part begins where its file does; of others only whole lines are read.
        most: maximum number of columns.

    Returns:
        Name -> values; the columns with lists; those with objects.
    """
    records: list[dict[str, Any]] = []
    for text, is_start in zip(texts, starts, strict=True):
        pieces = [text] if is_start else text.split("\n")[1:]
        records += [record for piece in pieces for record in _records(piece)]
    some = records[:LOOKED_AT]
    names = list({name: None for record in some for name in record})[:most]
    lists = {n for n in names if any(isinstance(r.get(n), list) for r in some)}
    objects = {n for n in names if any(isinstance(r.get(n), dict) for r in some)}
    columns = {name: [_text(record.get(name)).strip() for record in records] for name in names}
    return columns, frozenset(lists), frozenset(objects)


def _records(text: str) -> Iterator[dict[str, Any]]:
    decode = json.JSONDecoder(parse_float=str, parse_int=str).raw_decode
    at = 0
    while True:
        while at < len(text) and text[at] in " \t\r\n,[":
            at += 1
        try:
            value, at = decode(text, at)
        except (ValueError, RecursionError):
            return
        if isinstance(value, dict):
            yield value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        flat = [part for each in value for part in (each if isinstance(each, list) else [each])]
        return "|".join(part if isinstance(part, str) else _dumped(part) for part in flat)
    return value if isinstance(value, str) else _dumped(value)


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def parquet_columns(
    files: Sequence[Path], most_rows: int
) -> tuple[Columns, int, frozenset[str], frozenset[str]]:
    """Return columns of the first, the middle and the last file, and the rows of all files.

    Returns:
        Name -> values; number of rows; the columns with lists; those with objects.

    Raises:
        TableInvalidError: a file cannot be read.
    """
    try:
        n_rows = sum(pq.ParquetFile(each).metadata.num_rows for each in files)
        places = sorted({0, len(files) // 2, len(files) - 1})
        tables = [_some_rows(files[place], most_rows) for place in places]
        table = pa.concat_tables(tables, promote_options="permissive").slice(0, most_rows)
    except (pa.ArrowException, OSError) as err:
        raise TableInvalidError(f"{files[0]}: cannot be read as Parquet ({err}).") from err
    lists = {each.name for each in table.schema if pa.types.is_list(each.type)}
    objects = {each.name for each in table.schema if pa.types.is_struct(each.type)}
    columns = {name: _texts(table.column(name)) for name in table.column_names}
    return columns, n_rows, frozenset(lists), frozenset(objects)


def _some_rows(path: Path, most: int) -> pa.Table:
    """Return rows from the beginning, the middle and the end."""
    file = pq.ParquetFile(path)
    n_groups = file.metadata.num_row_groups
    if file.metadata.num_rows <= most:
        return file.read()
    batches = [
        next(file.iter_batches(most // 3, row_groups=[group]))
        for group in sorted({0, n_groups // 2, n_groups - 1})
    ]
    return pa.Table.from_batches(batches)


def _texts(column: pa.ChunkedArray) -> list[str]:
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        texts: list[str] = column.cast(pa.string()).fill_null("").to_pylist()
        return texts
    values = column.to_pylist()
    return [_text(each) if isinstance(each, list | dict) else _plain(each) for each in values]


def _plain(value: Any) -> str:
    return "" if value is None else str(value)
