"""Rows of text from the beginning, the middle and the end of a table.

The bytes read are bounded, so a file of 10 GB takes as long as one of 32 MB.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from pocketrec_training.errors import TableInvalidError
from pocketrec_training.reading.files import InputFile, ending, kind_of, opened, table_files
from pocketrec_training.reading.list_cells import list_parts
from pocketrec_training.reading.sniff import (
    Dialect,
    sniff_encoding,
    sniff_table,
    split_rows,
    text_lines,
)
from pocketrec_training.reading.spec import TableSpec
from pocketrec_training.reading.xlsx import sheet_rows
from pocketrec_training.table_profile.nested_sample import json_columns, parquet_columns

WHOLE_BYTES = 32 << 20
"""A file of at most this size is read as a whole, after decompression."""
PART_BYTES = 8 << 20
"""Bytes of each of the three parts of a larger file."""
MAX_ROWS = 600_000
MAX_COLUMNS = 1000
SNIFFED_BYTES = 1 << 20
LISTS_LOOKED_AT = 2000
"""Values that show whether a column's texts are lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSample:
    """Some rows of a table, every value as text; empty texts stand for nulls.

    Attributes:
        path: as the user gave it.
        format: "text", "json", "xlsx" or "parquet".
        dialect: of a text table.
        columns: name -> values, all of one length. Without a header the names are "1", "2", ...
        n_rows: rows of the table; estimated if not `whole`.
        whole: whether `columns` has all rows.
        lists: columns whose values are lists, also as text (`['a', 'b']`); their elements are
            joined by "|".
        objects: columns whose values are JSON objects.
        layout: "rows", or a layout with several items in a line, which `columns` no longer has.
        lines: of a table without header and commas, the lines as they are.
    """

    path: Path
    format: str
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


@dataclass(frozen=True, slots=True)
class _Part:
    """Bytes of a file; `starts`, `ends`: whether they begin and end where the file does."""

    data: bytes
    starts: bool
    ends: bool


def read_sample(path: Path) -> TableSample:
    """Read rows of a table: a file, a folder or a glob, compressed or not.

    Raises:
        TableInvalidError: the file is missing or empty, or its format is not supported.
    """
    return _with_lists(_of_kind(path))


def _of_kind(path: Path) -> TableSample:
    files = table_files(path)
    if not files:
        raise TableInvalidError(f"{path}: no such file, nor a folder of tables.")
    kind = kind_of(files[0])
    if kind == "parquet":
        columns, n_rows, lists, objects = parquet_columns([f.path for f in files], MAX_ROWS)
        found = _sample(path, kind, columns, n_rows)
        return replace(found, lists=lists, objects=objects)
    if kind == "xlsx":
        return _sheet(path, files[0])
    parts, share = _parts(files)
    if not any(part.data.strip() for part in parts):
        raise TableInvalidError(f"{path}: the file is empty.")
    found = _json(path, parts) if kind == "json" else _text(path, files[0], parts)
    if found.n_sampled == 0:
        raise TableInvalidError(f"{path}: the table has no rows.")
    return replace(found, n_rows=round(found.n_rows / share), whole=found.whole and share == 1.0)


def _with_lists(sample: TableSample) -> TableSample:
    """Join the elements of lists that are written as texts."""
    columns = {}
    for name, values in sample.columns.items():
        some = [value for value in values[:LISTS_LOOKED_AT] if value]
        n_lists = sum(list_parts(value) is not None for value in some)
        if n_lists and n_lists >= 0.95 * len(some):
            parts = map(list_parts, values)
            columns[name] = [
                value if found is None else "|".join(found)
                for value, found in zip(values, parts, strict=True)
            ]
    if not columns:
        return sample
    return replace(sample, columns=sample.columns | columns, lists=sample.lists | columns.keys())


def _parts(files: Sequence[InputFile]) -> tuple[list[_Part], float]:
    """Return parts of the plain bytes, and about which share of all bytes they are."""
    places = sorted({0, len(files) // 2, len(files) - 1})
    if len(files) == 1:
        return _parts_of(files[0], WHOLE_BYTES)
    found = [_parts_of(files[place], PART_BYTES) for place in places]
    parts = [part for some, _ in found for part in some[:1]]
    share = sum(share for _, share in found) / len(found)
    return parts, share * len(places) / len(files)


def _parts_of(file: InputFile, limit: int) -> tuple[list[_Part], float]:
    size = file.path.stat().st_size
    with opened(file) as (stream, _):
        data = _read(stream.read, limit)
        if len(data) < limit or not stream.read(1):
            return [_Part(data, True, True)], 1.0
    with file.path.open("rb") as raw:
        if raw.read(64) != data[:64]:  # compressed: text becomes about four times as large
            return [_Part(data, True, False)], min(0.99, limit / (4 * size))
        parts = [_Part(data[:PART_BYTES], True, False)]
        for start in (size // 2, size - PART_BYTES):
            raw.seek(start)
            parts.append(_Part(raw.read(PART_BYTES), False, start > size // 2))
    return parts, 3 * PART_BYTES / size


def _read(read: Callable[[int], bytes], limit: int) -> bytes:
    """Read up to `limit` bytes; a decompressor may return fewer at a time."""
    pieces: list[bytes] = []
    left = limit
    while left and (piece := read(left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _text(path: Path, file: InputFile, parts: Sequence[_Part]) -> TableSample:
    is_tsv = ending(file.name) in (".tsv", ".tab")
    dialect = sniff_table(parts[0].data[:SNIFFED_BYTES], separator="\t" if is_tsv else "")
    dialect = replace(dialect, encoding=_encoding(parts, dialect.encoding))
    lines: list[str] = []
    for place, part in enumerate(parts):
        text = part.data.decode(dialect.encoding, errors="replace").lstrip("\ufeff")
        some = text_lines(text, cut_off=not part.ends)
        skip = not part.starts or (place > 0 and dialect.header)
        lines += some[1:] if skip else some
    rows = split_rows(lines, dialect.separator, dialect.quote)
    width = max((len(row) for row in rows[:300]), default=1)
    names = [name.strip() or str(at) for at, name in enumerate(rows[0], 1)]
    if not dialect.header:
        names = [str(at) for at in range(1, width + 1)]
    body = rows[1:] if dialect.header else rows
    found = replace(_sample(path, "text", *_columns(path, names, body)), dialect=dialect)
    has_numbers = not dialect.header and dialect.separator in ("", " ", "\t")
    return replace(found, lines=lines) if has_numbers else found


def _encoding(parts: Sequence[_Part], first: str) -> str:
    """Return the encoding of all parts: a letter beyond UTF-8 may come late."""
    if first != "utf-8":
        return first
    whole = (part.data if part.starts else part.data.partition(b"\n")[2] for part in parts)
    return next((found for data in whole if (found := sniff_encoding(data)) != first), first)


def _columns(
    path: Path, names: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[dict[str, list[str]], int]:
    """Return the columns of at most `MAX_ROWS` rows, and the number of all rows."""
    if len(names) > MAX_COLUMNS:
        raise TableInvalidError(
            f"{path}: has {len(names)} columns; at most {MAX_COLUMNS}. If each line has the items "
            "of one user, add a number for the user at its beginning."
        )
    step = max(1, -(-len(rows) // MAX_ROWS))
    some = rows[::step]
    columns = {
        name: [row[at].strip() if at < len(row) else "" for row in some]
        for at, name in enumerate(names)
    }
    return columns, len(rows)


def _sample(path: Path, kind: str, columns: dict[str, list[str]], n_rows: int) -> TableSample:
    n_sampled = len(next(iter(columns.values()), []))
    return TableSample(
        path=path, format=kind, columns=columns, n_rows=n_rows, whole=n_sampled == n_rows
    )


def _json(path: Path, parts: Sequence[_Part]) -> TableSample:
    texts = [part.data.decode("utf-8-sig", errors="replace") for part in parts]
    starts = [part.starts for part in parts]
    columns, lists, objects = json_columns(texts, starts, MAX_COLUMNS)
    if not columns:
        raise TableInvalidError(f"{path}: no JSON object was found.")
    n_rows = len(next(iter(columns.values())))
    return replace(_sample(path, "json", columns, n_rows), lists=lists, objects=objects)


def _sheet(path: Path, file: InputFile) -> TableSample:
    batches = list(islice(sheet_rows(file, TableSpec(file=str(path))), MAX_ROWS // 50_000))
    columns: dict[str, list[str]] = {}
    for batch in batches:
        for name, values in zip(batch.names, batch.columns, strict=False):
            columns.setdefault(name, []).extend(_plain(values))
    return _sample(path, "xlsx", columns, len(next(iter(columns.values()), [])))


def _plain(values: Iterable[str | None]) -> list[str]:
    return [value or "" for value in values]
