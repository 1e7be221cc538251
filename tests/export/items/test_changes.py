import json
from pathlib import Path

import pytest

pytest.importorskip("duckdb", reason="needs the train extra")

from pocketrec_bundle.errors import InputError
from pocketrec_export.items import changes
from pocketrec_export.items.changes import read_changes

LISTS = {
    "add": [
        {"item_id": "n1", "title": "é", "categories": ["a|b", ""], "price": 2.5, "year": 1999.5},
        {"item_id": "n2", "categories": ["a", "b"], "price": -1},
        {"item_id": "n3", "regions": ["DE|AT", "CH"], "age_rating": 12},
    ],
    "change": [
        {"item_id": "i1", "title": "new"},
        {"item_id": "i2", "regions": [], "age_rating": None},
    ],
    "withdraw": ["i2"],
    "restore": ["i3", "i4"],
}


def as_lines(lists: dict) -> str:
    return "\n".join(json.dumps({kind: one}) for kind, each in lists.items() for one in each)


def test_json_and_json_lines_say_the_same(tmp_path: Path):
    (tmp_path / "c.json").write_text(json.dumps(LISTS))
    (tmp_path / "c.jsonl").write_text(as_lines(LISTS).replace("\n", "\n\n"))
    one, two = read_changes(tmp_path / "c.json"), read_changes(tmp_path / "c.jsonl")
    assert one.counts() == two.counts() == {"add": 3, "change": 2, "withdraw": 1, "restore": 2}
    assert (one.change, one.withdraw, one.restore) == (two.change, two.withdraw, two.restore)
    for found in (one.add, two.add):
        assert found.ids == ["n1", "n2", "n3"]
        assert found.titles == ["é", "n2", "n3"]
        assert found.categories == [("a", "b"), ("a", "b"), ()]
        assert found.price.tolist() == [2.5, -1, -1]
        assert found.year.tolist() == [1999, -1, -1]
        assert found.audience is not None
        assert found.audience.regions == [(), (), ("DE", "AT", "CH")]
        assert found.audience.age_ratings.tolist() == [255, 255, 12]
    assert [(c.regions, c.age_rating) for c in one.change] == [(None, None), ((), 255)]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ("{}", "object"),
        ('{"add": {"item_id": "a"}, "withdraw": "b"}', "object"),
        ('{"added": {"item_id": "a"}}', "object"),
        ('{"add": {"title": "no id"}}', "no id"),
        ('{"add": {"item_id": ""}}', "item_id"),
        ('{"add": {"item_id": "a", "colour": "red"}}', "red"),
        ('{"add": {"item_id": "a", "price": true}}', "True"),
        ('{"add": {"item_id": "a", "price": NaN}}', "nan"),
        ('{"add": {"item_id": "a", "price": Infinity}}', "inf"),
        ('{"add": {"item_id": "a", "price": 1e300}}', "1e\\+300"),
        ('{"add": {"item_id": "a", "year": 1e300}}', "1e\\+300"),
        ('{"add": {"item_id": "%s"}}' % ("a" * 10_000), "10000 characters: 'aaa.*most 256"),
        ('{"add": {"item_id": "a", "title": "\\ud800"}}', "ud800"),
        ('{"change": {"item_id": "a", "title": null}}', "None"),
        ('{"add": {"item_id": "a", "regions": "DE"}}', "DE"),
        ('{"add": {"item_id": "a", "age_rating": 12.0}}', "12.0"),
        ('{"change": {"item_id": "a", "age_rating": 100}}', "100"),
        ('{"withdraw": ["a"]}', "item id"),
        ('{"restore": 5}', "item id"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, line: str, told: str):
    path = tmp_path / "c.jsonl"
    path.write_text(f'{{"withdraw": "i1"}}\n\n{line}\n')
    with pytest.raises(InputError, match=rf"c\.jsonl, line 3: .*{told}"):
        read_changes(path)


def test_files_and_lines_beyond_the_limits_are_refused(tmp_path: Path, monkeypatch):
    for name in ("c.json", "c.jsonl"):
        (tmp_path / name).write_text('{"withdraw": "0123456789"}')
    monkeypatch.setattr(changes, "MAX_LINE_BYTES", 20)
    with pytest.raises(InputError, match="line 1: longer than 20 bytes"):
        read_changes(tmp_path / "c.jsonl")
    monkeypatch.setattr(changes, "MAX_LINES_BYTES", 20)
    with pytest.raises(InputError, match="larger than 20 bytes"):
        read_changes(tmp_path / "c.jsonl")
    monkeypatch.setattr(changes, "MAX_JSON_BYTES", 20)
    with pytest.raises(InputError, match=r"use JSON Lines \(\.jsonl\)"):
        read_changes(tmp_path / "c.json")


def test_a_missing_file_is_named(tmp_path: Path):
    for name in ("none.json", "none.jsonl"):
        with pytest.raises(InputError, match=name):
            read_changes(tmp_path / name)
