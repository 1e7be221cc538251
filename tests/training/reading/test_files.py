"""Compressed files, folders and globs; files that are no tables."""

import bz2
import gzip
import io
import zipfile
from hashlib import sha256

import pyarrow as pa
import pytest

from pocketrec_training.errors import TableInvalidError

TABLE = b"who,what\n" + b"".join(b"a%d,x\n" % k for k in range(300))


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, "zstd", asbytes=True))


PACKED = {
    "i.csv.gz": gzip.compress(TABLE),
    "i.csv.zst": zstd(TABLE),
    "i.csv.bz2": bz2.compress(TABLE),
    "i.zip": zipped({"inner.csv": TABLE, "__MACOSX/._inner.csv": b"x"}),
    "misnamed.csv": gzip.compress(TABLE),
    "unpacked.csv.gz": TABLE,
}


@pytest.mark.parametrize("name", list(PACKED))
def test_compressed_files_are_read(read, name):
    found = read(PACKED[name], name)
    assert found.names == ("who", "what")
    assert found.rows[-1] == ("a299", "x")


@pytest.mark.parametrize("name", ["i.csv.gz", "i.csv.zst", "i.csv.bz2", "i.zip"])
def test_compressed_data_that_is_cut_off_is_refused(read, name):
    noise = "".join(sha256(bytes([k])).hexdigest() for k in range(90)).encode()
    pack = {"gz": gzip.compress, "zst": zstd, "bz2": bz2.compress}.get(name.rpartition(".")[2])
    whole = pack(TABLE + noise) if pack else zipped({"inner.csv": TABLE + noise})
    with pytest.raises(TableInvalidError, match=rf"{name}: .*(cut off|damaged)"):
        read(whole[:-20], name)


def test_what_becomes_too_large_is_refused(read, monkeypatch):
    monkeypatch.setattr("pocketrec_training.reading.files.FREE_BYTES", 1000)
    with pytest.raises(TableInvalidError, match="more than 300 times"):
        read(gzip.compress(TABLE + bytes(10_000_000)), "i.csv.gz")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (zipped({"a.csv": TABLE, "b.csv": TABLE}), r"holds 2 files \(a.csv, b.csv\)"),
        (zipped({}), "holds 0 files|empty"),
        (b"<!DOCTYPE html><title>Sign in</title>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"PAR1" + bytes(100), "cannot be read as Parquet"),
    ],
)
def test_what_is_no_table_is_named(read, content, words):
    with pytest.raises(TableInvalidError, match=words):
        read(content, "i.csv")


def test_a_folder_is_one_table_by_names(read):
    files = {"d/2.csv": b"what,who\ny,b\n", "d/1.csv": b"who,what\na,x\n", "d/_SUCCESS": b""}
    found = read(files | {"d/sub/3.csv.gz": gzip.compress(b"who,extra\nc,1\n")}, "d")
    assert found.names == ("who", "what", "extra")
    assert found.rows == [("a", "x", None), ("b", "y", None), ("c", None, "1")]


def test_a_glob_names_some_files_of_a_folder(read):
    files = {f"d/{k}.csv": b"who\n%d\n" % k for k in range(12)} | {"d/1.json": b"{}"}
    assert read(files, "d/1*.csv").rows == [("1",), ("10",), ("11",)]


def test_files_of_two_kinds_are_refused(read):
    with pytest.raises(TableInvalidError, match=r"text and json files \(1.csv, 2.json\)"):
        read({"d/1.csv": b"who\na\n", "d/2.json": b'{"who": 1}'}, "d")
