"""Which files a table has, and their bytes: a file, a folder or a glob; compressed or not.

How a file is compressed is seen from its first bytes, because names are often wrong.
"""

import bz2
import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

import pyarrow as pa

from pocketrec_training.errors import TableInvalidError

Kind = Literal["text", "json", "parquet", "xlsx"]
KINDS: dict[str, Kind] = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".txt", ".dat", ".data", ".psv"), "text"),
    **dict.fromkeys((".inter", ".item", ".user"), "text"),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "json"),
    ".parquet": "parquet",
    ".xlsx": "xlsx",
}
"""Endings of files that a folder's table consists of; other names can be given one by one."""
PACKED = (".gz", ".zst", ".zip", ".bz2")
MAX_RATIO, FREE_BYTES = 300, 1 << 30
"""A file may become this many times larger than it is; up to so many bytes the ratio is free."""
HEAD_BYTES = 4096
_GZIP, _ZSTD, _BZIP2 = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of a table: its path, and its name in messages and in the quarantine file."""

    path: Path
    name: str


def table_files(path: Path) -> list[InputFile]:
    """Return the files of a table, in the order of their names; empty if nothing is there.

    Args:
        path: a file, a folder whose files are searched at any depth, or a glob such as
            `logs/*.csv.gz`.
    """
    if path.is_file():
        return [InputFile(path, path.name)]
    if path.is_dir():
        found = [each for each in path.rglob("*") if _belongs(each.relative_to(path))]
        # Spark and others leave notes beside the parts of a table.
        parquet = [each for each in found if each.suffix.lower() == ".parquet"]
        return _named(path, parquet or found)
    if any(c in str(path) for c in "*?["):
        base, pattern = _split_glob(path)
        try:
            found = [each for each in base.glob(pattern) if not each.name.startswith((".", "_"))]
        except (ValueError, NotImplementedError):
            return []
        return _named(base, found)
    return []


def _named(base: Path, paths: list[Path]) -> list[InputFile]:
    files = sorted(each for each in paths if each.is_file())
    return [InputFile(each, str(each.relative_to(base))) for each in files]


def _belongs(path: Path) -> bool:
    return (
        not any(part.startswith((".", "_")) for part in path.parts) and ending(path.name) in KINDS
    )


def _split_glob(path: Path) -> tuple[Path, str]:
    at = next(k for k, part in enumerate(path.parts) if any(c in part for c in "*?["))
    return Path(*path.parts[:at]), str(Path(*path.parts[at:]))


def ending(name: str) -> str:
    """Return a name's ending in small letters, without that of a compression: `a.CSV.gz`: .csv."""
    path = Path(name.lower())
    return (Path(path.stem) if path.suffix in PACKED else path).suffix


def kind_of(file: InputFile) -> Kind:
    """Return how a file is read: by its first bytes where they are plain, else by its ending.

    Raises:
        TableInvalidError: the file cannot be read, or is not a table.
    """
    with opened(file) as (stream, name):
        head = stream.read(HEAD_BYTES)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(_ZIP):
        return "xlsx"  # `opened` has looked into archives of other files
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:50].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise TableInvalidError(
            f"{file.name}: is a web page or XML, not a table. Was the download refused?"
        )
    if start.startswith(b"version https://git-lfs"):
        raise TableInvalidError(f"{file.name}: is a Git LFS pointer. Fetch the file itself.")
    kind = KINDS.get(ending(name), "text")
    if kind in ("parquet", "xlsx"):
        raise TableInvalidError(f"{file.name}: is not a {kind} file, whose name it has.")
    # A row of a text table may begin with a bracket, but not with an object.
    return "json" if start.startswith((b'{"', b"{\n", b'[{"', b"[\n")) else kind


@contextmanager
def opened(file: InputFile) -> Iterator[tuple[BinaryIO, str]]:
    """Open a file for reading, decompressed; also the name that its ending is taken from.

    Raises:
        TableInvalidError: the file cannot be read, its compressed data is damaged or cut off, or it
            becomes too large; inside the block too, where the stream is read.
    """
    try:
        with file.path.open("rb") as raw:
            head = raw.read(4)
            raw.seek(0)
            size = file.path.stat().st_size
            with _decompressed(file, raw, head) as (stream, name):
                packed = stream is not raw
                yield (
                    (cast(BinaryIO, _Limited(stream, size, file.name)) if packed else stream),
                    name,
                )
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, pa.ArrowException) as err:
        raise _damaged(file, err) from err
    except OSError as err:
        if err.errno is None:  # of a codec, not of the disk
            raise _damaged(file, err) from err
        raise TableInvalidError(f"{file.path}: cannot be read ({err.strerror}).") from err


def _damaged(file: InputFile, err: Exception) -> TableInvalidError:
    return TableInvalidError(
        f"{file.name}: its compressed data is cut off or damaged ({str(err)[:100]}). Get the file "
        "again, or decompress what is left of it."
    )


@contextmanager
def _decompressed(file: InputFile, raw: BinaryIO, head: bytes) -> Iterator[tuple[BinaryIO, str]]:
    if head.startswith(_GZIP):
        with gzip.open(raw) as stream:
            yield cast(BinaryIO, stream), file.name
    elif head.startswith(_BZIP2) and file.name.lower().endswith(".bz2"):
        with bz2.open(raw) as stream:
            yield cast(BinaryIO, stream), file.name
    elif head.startswith(_ZSTD):
        with pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd") as stream:
            yield stream, file.name
    elif head.startswith(_ZIP):
        with zipfile.ZipFile(raw) as archive:
            if any(name.startswith("xl/") for name in archive.namelist()):
                raw.seek(0)
                yield raw, file.name
                return
            member = _only_member(archive, file)
            with archive.open(member) as stream:
                yield cast(BinaryIO, stream), member.filename
    else:
        yield raw, file.name


def _only_member(archive: zipfile.ZipFile, file: InputFile) -> zipfile.ZipInfo:
    members = [
        each
        for each in archive.infolist()
        if not each.is_dir() and not each.filename.startswith(("__MACOSX/", "."))
    ]
    if len(members) != 1:
        names = ", ".join(each.filename for each in members[:5])
        raise TableInvalidError(
            f"{file.name}: holds {len(members)} files ({names}), so which one is the table is not "
            "known. Unpack it and name the file."
        )
    if members[0].flag_bits & 1:
        raise TableInvalidError(f"{file.name}: is encrypted. Unpack it and name the file.")
    return members[0]


class _Limited:
    """A stream that refuses to give more than a plausible multiple of the compressed size."""

    def __init__(self, stream: BinaryIO, packed_bytes: int, name: str) -> None:
        self.stream, self.name = stream, name
        self.left = max(FREE_BYTES, MAX_RATIO * packed_bytes)

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise TableInvalidError(
                f"{self.name}: becomes more than {MAX_RATIO} times as large when decompressed, "
                "which no table does. Decompress it first if it is one."
            )
        return data
