"""Invented tables in any form, damaged anywhere, and recipe keys that may not fit them.

Strategies of hypothesis: a case is drawn, not counted, so a failing one shrinks to a small file.
"""

import bz2
import gzip
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from pocketrec_training.reading.decode import BLOCK_BYTES

FORMS = ("csv", "tsv", "colons", "semicolons", "json_lines", "json_array", "json_pretty", "parquet")
ENDINGS = {
    "csv": ".csv",
    "tsv": ".tsv",
    "colons": ".dat",
    "semicolons": ".csv",
    "json_lines": ".jsonl",
    "json_array": ".json",
    "json_pretty": ".json",
    "parquet": ".parquet",
}
SEPARATORS = {"csv": ",", "tsv": "\t", "colons": "::", "semicolons": ";"}
NAMES = ("user", "item", "ts")
DEEP = b"[" * 3_000
_PIECES = (
    *(b'"', b'""', b"\n", b"\r", b"\r\n", b"\r\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe"),
    *(b",", b";", b"\t", b"::", b" ", b"|", b"{", b"}", b"[", b"]", b"\\", b'\\"', b"\\ud83d"),
    *(b"\x1f", b"\x1f\x8b", b"PK\x03\x04", b"PAR1", b"\xc3", b"null", b"1e999", b"NaN", b"sep=;\n"),
    *(b"x" * 2_000, DEEP, b'"' * 999, b"\n" * 500, b"u1,i1\n" * 200),
)


@dataclass(frozen=True, slots=True)
class TableCase:
    """One file and the recipe keys that it is read with.

    Attributes:
        form: of `FORMS`, before it was damaged.
        damage: kinds of damage, in their order.
        name: of the file; its ending may be wrong.
        content: of the file.
        keys: of the recipe's `[data]`.
        block_bytes: how much the reader reads at a time, because small tables fit one block.
    """

    form: str
    damage: tuple[str, ...]
    name: str
    content: bytes
    keys: dict[str, Any]
    block_bytes: int


_words = st.one_of(
    st.sampled_from(
        ["u1", "i2", "7", "1.0", "1600000000", "", "nan", "\\N", "é", "日本", "\U0001f600"]
    ),
    st.text(st.characters(codec="utf-8"), max_size=6),
)
_row = st.tuples(_words, _words, st.integers(0, 2**34).map(str))
_plain = st.tuples(
    st.integers(0, 5).map(lambda k: f"u{k}"),
    st.integers(0, 5).map(lambda k: f"i{k}"),
    st.integers(1_500_000_000, 1_600_000_000).map(str),
)
_keys = st.fixed_dictionaries(
    {},
    optional={
        "separator": st.sampled_from(["", ",", ";", "\t", "::", " ", "|"]),
        "header": st.booleans(),
        "quote": st.sampled_from(["auto", "", '"']),
        "encoding": st.sampled_from(["utf-8", "cp1252", "latin-1", "utf-16", "utf-16-le", "cp037"]),
        "layout": st.sampled_from(["rows", "user_items", "impressions"]),
    },
)


@st.composite
def table_cases(draw: st.DrawFn) -> TableCase:
    """Draw a case: a sound table, damaged up to three times, then packed, then damaged again."""
    form = draw(st.sampled_from(FORMS))
    rows = draw(st.lists(draw(st.sampled_from([_plain, _row])), max_size=12))
    content, damage = _written(form, rows), []
    if form != "parquet":
        content = content.decode().encode(draw(_encodings), "replace")
    for kind in draw(st.lists(st.sampled_from(sorted(DAMAGE)), max_size=3)):
        content = DAMAGE[kind](draw, content)
        damage.append(kind)
    packing = draw(st.sampled_from(["", "", "", ".gz", ".zst", ".bz2", ".zip"]))
    ending = draw(st.sampled_from([ENDINGS[form]] * 3 + [".csv", ".txt", ".json", ".xlsx", ""]))
    name = f"i{ending}"
    content = _packed(packing, name, content)
    if packing and draw(st.booleans()):
        content = DAMAGE["cut"](draw, content)
        damage.append("cut packed")
    return TableCase(form, tuple(damage), name + packing, content, draw(_keys), draw(_blocks))


_blocks = st.sampled_from([BLOCK_BYTES, 7, 64])
_encodings = st.sampled_from(
    ["utf-8"] * 5 + ["utf-8-sig", "cp1252", "utf-16", "utf-32", "shift_jis"]
)


def _written(form: str, rows: Sequence[tuple[str, ...]]) -> bytes:
    if form in SEPARATORS:
        lines = [SEPARATORS[form].join(_field(value, form) for value in row) for row in rows]
        return "\n".join([SEPARATORS[form].join(NAMES), *lines, ""]).encode()
    objects = [dict(zip(NAMES, row, strict=True)) for row in rows]
    if form == "parquet":
        out = io.BytesIO()
        columns = [pa.array([row[k] for row in rows], pa.string()) for k in range(3)]
        pq.write_table(pa.table(columns, names=list(NAMES)), out)
        return out.getvalue()
    if form == "json_array":
        return json.dumps(objects).encode()
    indent = 1 if form == "json_pretty" else None
    return "\n".join(json.dumps(each, indent=indent) for each in objects).encode()


def _field(value: str, form: str) -> str:
    if form in ("csv", "semicolons") and any(c in value for c in ',;"\n'):
        return '"' + value.replace('"', '""') + '"'
    return value


def _packed(packing: str, name: str, content: bytes) -> bytes:
    match packing:
        case ".gz":
            return gzip.compress(content, mtime=0)
        case ".zst":
            return bytes(pa.compress(content, "zstd", asbytes=True))
        case ".bz2":
            return bz2.compress(content)
        case ".zip":
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(name, content)
            return out.getvalue()
    return content


def _place(draw: st.DrawFn, content: bytes) -> int:
    return draw(st.integers(0, len(content)))


def _cut(draw: st.DrawFn, content: bytes) -> bytes:
    return content[: _place(draw, content)]


def _insert(draw: st.DrawFn, content: bytes) -> bytes:
    at = _place(draw, content)
    return content[:at] + draw(st.sampled_from(_PIECES)) + content[at:]


def _remove(draw: st.DrawFn, content: bytes) -> bytes:
    at = _place(draw, content)
    return content[:at] + content[at + draw(st.integers(1, 20)) :]


def _repeat(draw: st.DrawFn, content: bytes) -> bytes:
    at, stop = sorted((_place(draw, content), _place(draw, content)))
    return content[:stop] + content[at:stop] * draw(st.integers(1, 3)) + content[stop:]


def _flip(draw: st.DrawFn, content: bytes) -> bytes:
    at = _place(draw, content)
    return (
        content[:at]
        + bytes(b ^ draw(st.integers(1, 255)) for b in content[at : at + 1])
        + content[at + 1 :]
    )


def _line(draw: st.DrawFn, content: bytes) -> bytes:
    lines = content.split(b"\n")
    at = draw(st.integers(0, len(lines) - 1))
    lines[at] = draw(
        st.sampled_from([b"", b"u1", lines[at] * 2, lines[at][::-1], b'"' + lines[at]])
    )
    return b"\n".join(lines)


def _ends(draw: st.DrawFn, content: bytes) -> bytes:
    return content.replace(b"\n", draw(st.sampled_from([b"\r", b"\r\n", b"\r\r\n", b"\n\n", b""])))


DAMAGE = {
    "cut": _cut,
    "insert": _insert,
    "remove": _remove,
    "repeat": _repeat,
    "flip": _flip,
    "line": _line,
    "line ends": _ends,
}
