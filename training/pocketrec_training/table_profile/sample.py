"""Rows of text from the beginning, the middle and the end of a table.

The bytes read are bounded, so a file of 10 GB takes as long as one of 32 MB.
"""

import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pocketrec_training.errors import TableInvalidError
from pocketrec_training.reading.sniff import Dialect, sniff_table, split_rows, text_lines

WHOLE_BYTES = 32 << 20
"""A file of at most this size is read as a whole, after decompression."""
PART_BYTES = 8 << 20
"""Bytes of each of the three parts of a larger file."""
MAX_ROWS = 600_000
MAX_COLUMNS = 1000
COMPRESSED = {".gz": "gzip", ".zst": "zstd", ".zip": "zip"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSample:
    """Some rows of a table, every value as text; empty texts stand for nulls.

    Attributes:
        path: as the user gave it.
        format: "delimited", "json" or "parquet".
        compression: "gzip", "zstd", "zip" or empty.
        dialect: of a delimited table.
        columns: name -> values, all of one length. Without a header the names are "1", "2", ...
        n_rows: rows of the file; estimated if not `whole`.
        whole: whether `columns` has all rows.
        lists: columns whose values are lists; their elements are joined by "|".
        objects: columns whose values are JSON objects.
        layout: "rows", or a layout with several items in a line, which `columns` no longer has.
        lines: of a table without header and commas, the lines as they are.
    """

    path: Path
    format: str
    compression: str = ""
    dialect: Dialect | None = None
    columns: dict[str, list[str]] = field(default_factory=dict)
    n_rows: int
    whole: bool
    lists: frozenset[str] = frozenset()
    objects: frozenset[str] = frozenset()
    layout: str = "rows"
    lines: list[str] = field(default_factory=list, repr=False)

    @property
    def n_sampled(self) -> int:
        """Number of rows in the sample."""
        return len(next(iter(self.columns.values()), []))


def read_sample(path: Path) -> TableSample:
    """Read rows of a table.

    Raises:
        TableInvalidError: the file does not exist, is empty, or its format is not supported.
    """
    if not path.exists():
        raise TableInvalidError(f"{path}: no such file.")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if path.is_dir() or suffixes[-1:] == [".parquet"]:
        return _parquet(path)
    try:
        parts, size, whole, compression = _parts(path, suffixes[-1] if suffixes else "")
    except (OSError, zipfile.BadZipFile, pa.ArrowException, EOFError) as err:
        raise TableInvalidError(f"{path}: cannot be read ({err}).") from err
    if not parts or not parts[0].strip():
        raise TableInvalidError(f"{path}: the file is empty.")
    if parts[0].startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")) or b"\0\0\0" in parts[0][:200]:
        raise TableInvalidError(
            f"{path}: not a text, JSON or Parquet table. Save it as CSV (UTF-8) first."
        )
    if parts[0].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        found = _json(path, parts)
    else:
        found = _delimited(path, parts, ".tsv" in suffixes)
    read = sum(map(len, parts))
    return replace(
        found,
        compression=compression,
        n_rows=found.n_rows if whole else round(found.n_rows * size / max(read, 1)),
        whole=whole and found.whole,
    )


def _parts(path: Path, suffix: str) -> tuple[list[bytes], int, bool, str]:
    """Return parts of the plain bytes, the plain size, whether that is all, the compression."""
    compression = COMPRESSED.get(suffix, "")
    size = path.stat().st_size
    if not compression:
        with path.open("rb") as stream:
            if size <= WHOLE_BYTES:
                return [stream.read()], size, True, ""
            parts = [stream.read(PART_BYTES)]
            for start in (size // 2, size - PART_BYTES):
                stream.seek(start)
                parts.append(stream.read(PART_BYTES))
            return parts, size, False, ""
    if compression == "zip":
        with zipfile.ZipFile(path) as packed:
            members = [each for each in packed.infolist() if not each.is_dir()]
            if len(members) != 1:
                names = ", ".join(each.filename for each in members[:5])
                raise TableInvalidError(
                    f"{path}: holds {len(members)} files ({names}). Unpack it and name one file a "
                    "table."
                )
            with packed.open(members[0]) as packed_stream:
                plain = packed_stream.read(WHOLE_BYTES + 1)
            whole = len(plain) <= WHOLE_BYTES
            return [plain[:WHOLE_BYTES]], members[0].file_size, whole, compression
    with pa.input_stream(str(path), compression=compression) as packed_stream:
        plain = packed_stream.read(WHOLE_BYTES + 1)
    whole = len(plain) <= WHOLE_BYTES
    # Text compresses to about a quarter; only the printed number of rows depends on it.
    return [plain[:WHOLE_BYTES]], len(plain) if whole else 4 * size, whole, compression


def _delimited(path: Path, parts: list[bytes], is_tsv: bool) -> TableSample:
    dialect = sniff_table(parts[0][: 1 << 20], separator="\t" if is_tsv else "")
    lines: list[str] = []
    for place, part in enumerate(parts):
        text = part.decode(dialect.encoding, errors="replace")
        some = text_lines(text.lstrip("\ufeff"), cut_off=len(parts) > 1)
        lines += some[1:] if place else some
    rows = split_rows(lines, dialect.separator, dialect.quote)
    first = rows[0]
    names = [name.strip() for name in first] if dialect.header else []
    names = names or [str(place + 1) for place in range(_width(rows))]
    if len(names) > MAX_COLUMNS:
        raise TableInvalidError(f"{path}: has {len(names)} columns; at most {MAX_COLUMNS}.")
    body = rows[1:] if dialect.header else rows
    whole_rows = ([*row, *[""] * (len(names) - len(row))] for row in body)
    found = _table(path, "delimited", names, whole_rows, len(body), dialect=dialect)
    has_numbers = not dialect.header and dialect.separator in ("", " ", "\t")
    return replace(found, lines=lines) if has_numbers else found


def _width(rows: list[list[str]]) -> int:
    return max((len(row) for row in rows[:300]), default=1)


def _table(
    path: Path,
    kind: str,
    names: list[str],
    rows: Iterable[list[str]],
    n_rows: int,
    dialect: Dialect | None = None,
) -> TableSample:
    step = max(1, -(-n_rows // MAX_ROWS))
    columns: dict[str, list[str]] = {name: [] for name in names}
    for place, row in enumerate(rows):
        if place % step == 0:
            for name, value in zip(names, row, strict=False):
                columns[name].append(value.strip())
    return TableSample(
        path=path,
        format=kind,
        dialect=dialect,
        columns=columns,
        n_rows=n_rows,
        whole=step == 1,
    )


def _json(path: Path, parts: list[bytes]) -> TableSample:
    records = list(_records(parts[0].decode("utf-8-sig", errors="replace")))
    for part in parts[1:]:
        lines = part.decode("utf-8", errors="replace").split("\n")[1:-1]
        records += [one for line in lines for one in _records(line)]
    if not records:
        raise TableInvalidError(f"{path}: no JSON object was found.")
    names = list({name: None for record in records[:2000] for name in record})[:MAX_COLUMNS]
    lists = {n for n in names if any(isinstance(r.get(n), list) for r in records[:2000])}
    objects = {n for n in names if any(isinstance(r.get(n), dict) for r in records[:2000])}
    rows = ([_text(record.get(name)) for name in names] for record in records)
    found = _table(path, "json", names, rows, len(records))
    return replace(found, lists=frozenset(lists), objects=frozenset(objects))


def _records(text: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of JSON Lines, of an array, or of objects one after the other."""
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
        return "|".join(part if isinstance(part, str) else json.dumps(part) for part in flat)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _parquet(path: Path) -> TableSample:
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise TableInvalidError(f"{path}: a folder without Parquet files.")
    try:
        n_rows = sum(pq.ParquetFile(each).metadata.num_rows for each in files)
        places = sorted({0, len(files) // 2, len(files) - 1})
        tables = [_some_rows(files[place]) for place in places]
        table = pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowException, OSError) as err:
        raise TableInvalidError(f"{path}: cannot be read as Parquet ({err}).") from err
    table = table.slice(0, MAX_ROWS)
    lists = {each.name for each in table.schema if pa.types.is_list(each.type)}
    objects = {each.name for each in table.schema if pa.types.is_struct(each.type)}
    columns = {name: _texts(table.column(name)) for name in table.column_names}
    return TableSample(
        path=path,
        format="parquet",
        columns=columns,
        n_rows=n_rows,
        whole=table.num_rows == n_rows,
        lists=frozenset(lists),
        objects=frozenset(objects),
    )


def _some_rows(path: Path) -> pa.Table:
    """Return whole row groups from the beginning, the middle and the end."""
    file = pq.ParquetFile(path)
    n_groups = file.metadata.num_row_groups
    if file.metadata.num_rows <= MAX_ROWS:
        return file.read()
    batch = next(file.iter_batches(MAX_ROWS // 3, row_groups=[0]))
    groups = sorted({n_groups // 2, n_groups - 1} - {0})
    more = [next(file.iter_batches(MAX_ROWS // 3, row_groups=[each])) for each in groups]
    return pa.Table.from_batches([batch, *more])


def _texts(column: pa.ChunkedArray) -> list[str]:
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        texts: list[str] = column.cast(pa.string()).fill_null("").to_pylist()
        return texts
    return [
        _text(value) if isinstance(value, list | dict) else _plain(value)
        for value in column.to_pylist()
    ]


def _plain(value: Any) -> str:
    return "" if value is None else str(value)
