"""Read files of invented tables; tests below `reading/` see what the reader makes of them."""

import io
import zipfile
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from xml.sax.saxutils import escape

import ibis
import pytest

from pocketrec_training.reading.spec import TableSpec
from pocketrec_training.reading.table import read_table


@dataclass
class Found:
    names: tuple[str, ...]
    rows: list[tuple[object, ...]]
    lines: list[int]
    broken: list[tuple[int, str]]
    nested: dict[str, tuple[str, str]]


@pytest.fixture(scope="session")
def connection():
    return ibis.duckdb.connect()


@pytest.fixture
def read(tmp_path, connection):
    """Return a function: write files, read them as one table."""
    numbers = count()

    def read(content: bytes | str | dict[str, bytes], name: str = "i.csv", **keys: Any) -> Found:
        files = content if isinstance(content, dict) else {name: content}
        for file, data in files.items():
            path = tmp_path / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode() if isinstance(data, str) else data)
        spec = replace(TableSpec(file=name), **keys)
        # A new name each time: DuckDB keeps pages of a file by its path and time.
        scratch = tmp_path / f".scratch-{next(numbers)}"
        raw = read_table(connection, tmp_path / name, spec, scratch)
        values = [f"c{k}" for k in range(len(raw.names))]
        rows = raw.table.order_by("place").to_pyarrow().to_pylist()
        good = [row for row in rows if row["broken"] is None]
        return Found(
            names=raw.names,
            rows=[tuple(row[value] for value in values) for row in good],
            lines=[row["line"] for row in good],
            broken=[(row["line"], row["broken"]) for row in rows if row["broken"] is not None],
            nested=raw.nested,
        )

    return read


def workbook(rows: list[list[object]]) -> bytes:
    """A minimal workbook: texts inline, numbers as Excel stores them, None for an empty cell."""
    cells = []
    for at, row in enumerate(rows, 1):
        cells.append(f'<row r="{at}">')
        for column, value in zip("ABCDEFG", row, strict=False):
            if isinstance(value, str):
                text = f"<is><t>{escape(value)}</t></is>"
                cells.append(f'<c r="{column}{at}" t="inlineStr">{text}</c>')
            elif value is not None:
                cells.append(f'<c r="{column}{at}"><v>{value}</v></c>')
        cells.append("</row>")
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    document = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{document}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{document}"><sheets>'
        '<sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="r1" Type="{document}/worksheet" Target="worksheets/s.xml"/>'
        "</Relationships>",
        "xl/worksheets/s.xml": f'<worksheet xmlns="{main}"><sheetData>{"".join(cells)}'
        "</sheetData></worksheet>",
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return out.getvalue()


@pytest.fixture
def make_workbook():
    return workbook
