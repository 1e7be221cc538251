"""The files of one table become a table of texts."""

from collections.abc import Iterator
from pathlib import Path

from ibis.backends.duckdb import Backend

from pocketrec_training.errors import TableInvalidError
from pocketrec_training.reading.batch import Batch
from pocketrec_training.reading.decode import blocks, decoded
from pocketrec_training.reading.files import InputFile, Kind, ending, kind_of, opened, table_files
from pocketrec_training.reading.json_rows import JsonRows
from pocketrec_training.reading.layouts import chosen_rows, user_item_rows
from pocketrec_training.reading.parquet import parquet_table
from pocketrec_training.reading.raw_table import RawTable, with_values
from pocketrec_training.reading.scratch import Scratch
from pocketrec_training.reading.spec import TableSpec
from pocketrec_training.reading.text_rows import TextRows
from pocketrec_training.reading.xlsx import sheet_rows


def read_table(connection: Backend, path: Path, spec: TableSpec, scratch: Path) -> RawTable:
    """Read a file, or the files of a folder or a glob, as one table.

    Args:
        connection: of the database that the table is for.
        path: of `spec.file`.
        spec: how the files are written.
        scratch: folder for texts, about as large as the decompressed files; it must stay as long
            as the table is used.

    Raises:
        TableInvalidError: no file is there, or one cannot be read; see the readers.
    """
    files = table_files(path)
    if not files:
        raise TableInvalidError(f"{path}: no such file, nor a folder of tables.")
    kinds = {each.name: kind_of(each) for each in files}
    if len(set(kinds.values())) > 1:
        first = next(iter(kinds))
        other = next(name for name, kind in kinds.items() if kind != kinds[first])
        raise TableInvalidError(
            f"{path}: has {kinds[first]} and {kinds[other]} files ({first}, {other}). Name "
            "those of one kind by a glob."
        )
    if "parquet" in kinds.values():
        return parquet_table(connection, path, files, spec)
    store = Scratch(scratch)
    nested: dict[str, tuple[str, str]] = {}
    try:
        for file in files:
            for batch in _batches(file, kinds[file.name], spec, nested):
                store.add(file.name, batch)
    finally:
        store.close()
    table = connection.read_parquet([str(each) for each in store.paths], union_by_name=True)
    return RawTable(
        table=with_values(connection, table, len(store.names), spec.null_values),
        names=tuple(store.names),
        file=path.name,
        key=spec.key,
        header=spec.header and "text" in kinds.values(),
        nested=nested,
    )


def _batches(
    file: InputFile, kind: Kind, spec: TableSpec, nested: dict[str, tuple[str, str]]
) -> Iterator[Batch]:
    if kind == "xlsx":
        yield from sheet_rows(file, spec)
        return
    with opened(file) as (stream, name):
        lines = blocks(decoded(stream, spec, file.name))
        if kind == "json":
            rows = JsonRows(file.name)
            yield from rows.batches(lines)
            for column, (line, what) in rows.nested.items():
                nested.setdefault(column, (f"{file.name}:{line}", what))
        elif spec.layout == "user_items":
            yield from user_item_rows(lines, file.name, spec.separator)
        else:
            found = TextRows(spec, file.name, ending(name)).batches(lines)
            yield from chosen_rows(found, file.name, spec.key) if spec.layout != "rows" else found
