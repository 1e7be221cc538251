"""Rows come from three places of a file, whatever its form, and large files stay bounded."""

import bz2
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pocketrec_training.errors import TableInvalidError
from pocketrec_training.table_profile import sample as module
from pocketrec_training.table_profile.layouts import one_item_a_row
from pocketrec_training.table_profile.sample import read_sample

ROWS = [(f"u{n}", f"i{n % 7}", str(n)) for n in range(1000)]
CSV = "user,item,ts\n" + "".join(",".join(row) + "\n" for row in ROWS)
OBJECTS = [dict(zip(("user", "item", "ts"), row, strict=True)) for row in ROWS]


def written(folder, name):
    path = folder / name
    match name:
        case "a.csv":
            path.write_text(CSV)
        case "a.csv.gz":
            path.write_bytes(gzip.compress(CSV.encode()))
        case "a.csv.bz2":
            path.write_bytes(bz2.compress(CSV.encode()))
        case "a.jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in OBJECTS))
        case "array.json":
            path.write_text(json.dumps(OBJECTS))
        case "pretty.json":
            path.write_text("\n".join(json.dumps(row, indent=2) for row in OBJECTS))
        case _:
            pq.write_table(pa.Table.from_pylist(OBJECTS), path, row_group_size=100)
    return path


NAMES = ["a.csv", "a.csv.gz", "a.csv.bz2", "a.jsonl", "array.json", "pretty.json", "a.parquet"]


@pytest.mark.parametrize("name", NAMES)
def test_a_small_table_is_read_as_a_whole(tmp_path, name):
    found = read_sample(written(tmp_path, name))
    assert (found.n_rows, found.whole) == (1000, True)
    assert found.columns == {
        key: [row[at] for row in ROWS] for at, key in enumerate(("user", "item", "ts"))
    }


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_of_a_large_table_the_beginning_the_middle_and_the_end_are_read(
    tmp_path, monkeypatch, name
):
    monkeypatch.setattr(module, "WHOLE_BYTES", 3000)
    monkeypatch.setattr(module, "PART_BYTES", 1000)
    monkeypatch.setattr(module, "MAX_ROWS", 300)
    found = read_sample(written(tmp_path, name))
    times = [int(text) for text in found.columns["ts"]]
    assert not found.whole
    assert len(times) <= 300
    assert times == sorted(times)
    assert times[0] == 0
    assert any(400 < time < 600 for time in times)
    assert times[-1] > 950
    assert found.n_rows == pytest.approx(1000, rel=0.15)


def test_the_files_of_a_glob_are_one_table(tmp_path):
    for day in range(2):
        part = "".join(",".join(row) + "\n" for row in ROWS[day * 500 : day * 500 + 500])
        (tmp_path / f"day-{day}.csv").write_text("user,item,ts\n" + part)
    found = read_sample(tmp_path / "day-*.csv")
    assert (found.n_rows, found.whole) == (1000, True)
    assert found.columns["user"] == [row[0] for row in ROWS]


def test_lines_of_a_user_and_all_items_become_one_item_a_row(tmp_path):
    (tmp_path / "train.txt").write_text("0 11 12 13\n1 11\n2 14 15\n3 12 14\n")
    found = one_item_a_row(read_sample(tmp_path / "train.txt"))
    assert found.layout == "user_items"
    assert found.columns["1"] == ["0", "0", "0", "1", "2", "2", "3", "3"]
    assert found.columns["2"] == ["11", "12", "13", "11", "14", "15", "12", "14"]


def test_of_impressions_the_chosen_items_stay(tmp_path):
    rows = ["1\tU1\tN1-1 N2-0 N3-1", "2\tU2\tN4-0 N5-0", "3\tU1\tN2-1"]
    (tmp_path / "behaviors.tsv").write_text("\n".join(rows) + "\n")
    found = one_item_a_row(read_sample(tmp_path / "behaviors.tsv"))
    assert (found.layout, found.n_rows) == ("impressions", 3)
    assert found.columns["2"] == ["U1", "U1", "U1"]
    assert found.columns["3"] == ["N1", "N3", "N2"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"user,item,ts\n", "no rows"),
        ("a.json", b"[]", "no JSON object"),
        ("a.csv", b"<html><body>404</body></html>", "web page"),
        ("a.csv", b",".join(b"%d" % n for n in range(1500)), "1500 columns"),
    ],
)
def test_a_file_without_a_table_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableInvalidError, match=message):
        read_sample(tmp_path / name)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(TableInvalidError, match="no such file"):
        read_sample(tmp_path / "lost.csv")
