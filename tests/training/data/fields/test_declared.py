"""Declared features from files to arrays."""

import json

import duckdb
import numpy as np
import pytest

from pocketrec_training.data.dataset import load_items
from pocketrec_training.data.ingest import append_tables, build_tables
from pocketrec_training.errors import TableInvalidError
from pocketrec_training.recipe.load import parse_recipe

FEATURES = {
    "brand": {"column": "Brand", "kind": "category"},
    "tags": {"kind": "categories"},
    "stock": {"kind": "number"},
    "is_new": {"kind": "flag"},
    "image": {"kind": "vector", "length": 2},
}
LOG = "user_id,item_id,timestamp\n" + "".join(
    f"u{n % 5},i{n % 4},{1_700_000_000 + n}\n" for n in range(20)
)
ITEMS = """item_id,Brand,tags,stock,is_new,image
i0,Acme,a|b,3,yes,"[0.1, -0.2]"
i1,Bolt | Co,b,-4.5,0,0.5 1e3
i2,NULL,,,,
i3,Acme,c|a|c,-0.0,TRUE,0.5;2
"""


def recipe(features=FEATURES, **data):
    value = {
        "name": "t",
        "data": {"interactions": "log.csv", "items": "items.csv", **data},
        "features": {"items": features},
    }
    return parse_recipe(value, "t.toml")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "items.csv").write_text(ITEMS)
    return tmp_path


def equal(one, two):
    return all(np.array_equal(one[name], two[name], equal_nan=name in NUMBERS) for name in FEATURES)


NUMBERS = ("stock", "is_new", "image")
UNKNOWN = np.nan


def expected():
    return {
        "brand": ["Acme", "Bolt | Co", "", "Acme"],
        "tags": ["a|b", "b", "", "c|a"],
        "stock": np.array([3, -4.5, UNKNOWN, 0], np.float32),
        "is_new": np.array([1, 0, UNKNOWN, 1], np.float32),
        "image": np.array([[0.1, -0.2], [0.5, 1e3], [UNKNOWN] * 2, [0.5, 2]], np.float32),
    }


def test_each_kind_is_read_from_texts(folder):
    report = build_tables(recipe(), folder / "out", folder)
    assert report.nulled == {}
    assert equal(load_items(folder / "out").features, expected())


def test_json_and_parquet_lists_give_the_same(folder):
    rows = [
        {"item_id": "i0", "Brand": "Acme", "tags": ["a", "b"], "stock": 3, "is_new": True}
        | {"image": [0.1, -0.2]},
        {"item_id": "i1", "Brand": "Bolt | Co", "tags": ["b"], "stock": -4.5, "is_new": False}
        | {"image": [0.5, 1000.0]},
        {"item_id": "i2", "Brand": None, "tags": [], "stock": None, "is_new": None, "image": None},
        {"item_id": "i3", "Brand": "Acme", "tags": ["c", "a"], "stock": 0, "is_new": True}
        | {"image": [0.5, 2.0]},
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    duckdb.read_json(str(folder / "items.jsonl")).write_parquet(str(folder / "items.parquet"))
    for name in ("items.jsonl", "items.parquet"):
        build_tables(recipe(items=name), folder / "out", folder)
        assert equal(load_items(folder / "out").features, expected()), name


def test_a_bad_value_is_unknown_and_named_and_the_item_stays(folder):
    more = 'i4,Acme,a,many,perhaps,"[1, 2, 3]"\ni5,Acme,a,inf,1,"[1, nan]"\n'
    (folder / "items.csv").write_text(ITEMS + more)
    told: list[str] = []
    report = build_tables(recipe(), folder / "out", folder, tell=told.append)
    assert report.nulled == {"feature_image": 2, "feature_is_new": 1, "feature_stock": 2}
    assert any("feature_image: 2 values not a list of 2 finite numbers" in text for text in told)
    assert any("'perhaps' (items.csv:6)" in text for text in told)
    found = load_items(folder / "out").features
    assert found["brand"].tolist()[4:] == ["Acme", "Acme"]
    assert np.isnan(found["stock"][4:]).all() and np.isnan(found["image"][4:]).all()


@pytest.mark.parametrize(
    ("features", "told"),
    [
        ({"brand": {"column": "Brandd", "kind": "category"}}, "no column 'Brandd'"),
        ({"maker": {"kind": "category"}}, r"no column 'maker' for features\.items\.maker\.column"),
        ({"brand": {"column": "Brand", "kind": "number"}}, r"not of the kind \"number\".*'Acme'"),
        ({"image": {"kind": "vector", "length": 384}}, "not a list of 384 finite numbers"),
    ],
)
def test_a_wrong_column_or_kind_stops_the_run(folder, features, told):
    with pytest.raises(TableInvalidError, match=told):
        build_tables(recipe(features), folder / "out", folder)


def test_a_text_is_read_as_it_is_and_a_long_one_is_unknown(folder):
    rows = [
        {"item_id": "i0", "about": " A lamp, | red\nand blue "},
        {"item_id": "i1", "about": "x" * 10_001},
        {"item_id": "i2", "about": None},
        {"item_id": "i3", "about": "a rope"},
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    features = {"about": {"kind": "text", "hash_buckets": 8}}
    told: list[str] = []
    build_tables(recipe(features, items="items.jsonl"), folder / "out", folder, tell=told.append)
    found = load_items(folder / "out").features["about"].tolist()
    assert found == ["A lamp, | red\nand blue", "", "", "a rope"]
    assert any("feature_about: 1 value longer than 10,000 characters" in text for text in told)


def test_objects_are_no_names(folder):
    rows = [{"item_id": f"i{n}", "brand": {"name": "Acme"}} for n in range(4)]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(TableInvalidError, match=r"features\.items\.brand\.column"):
        build_tables(recipe({"brand": {"kind": "category"}}, items="items.jsonl"), folder, folder)


def test_deliveries_give_the_tables_of_one_run(folder, tmp_path):
    day = tmp_path / "day"
    day.mkdir()
    later = "item_id,Brand,tags,stock,is_new,image\ni1,,,7,,\ni9,Dux,d,1,1,1 1\n"
    (day / "items.csv").write_text(later)
    build_tables(recipe(), folder / "out", folder)
    append_tables(recipe(), folder / "out", day)
    (folder / "items.csv").write_text(ITEMS + later.partition("\n")[2])
    build_tables(recipe(), folder / "whole", folder)
    tables = [str(folder / name / "items.parquet") for name in ("out", "whole")]
    one, two = (duckdb.read_parquet(table).fetchall() for table in tables)
    assert one == two
    assert load_items(folder / "out").features["stock"].tolist()[1] == 7
    changed = recipe(FEATURES | {"image": {"kind": "vector", "length": 3}})
    with pytest.raises(TableInvalidError, match="Build the folder again"):
        append_tables(changed, folder / "out", day)


def test_a_declared_value_takes_the_place_of_missing_ones_in_every_delivery(folder, tmp_path):
    features = {"stock": {"kind": "number", "missing": 9}}
    build_tables(recipe(features), folder / "out", folder)
    assert load_items(folder / "out").features["stock"].tolist() == [3, -4.5, 9, 0]
    day = tmp_path / "day"
    day.mkdir()
    (day / "items.csv").write_text("item_id,stock\ni0,\ni2,4\ni8,\n")
    append_tables(recipe(features), folder / "out", day)
    assert load_items(folder / "out").features["stock"].tolist() == [3, -4.5, 4, 0, 9]


def test_items_that_only_the_log_names_are_unknown(folder):
    (folder / "items.csv").write_text(ITEMS.replace("i3,", "i7,"))
    build_tables(recipe(), folder / "out", folder)
    items = load_items(folder / "out")
    row = items.ids.index("i3")
    assert items.features["brand"][row] == "" and np.isnan(items.features["image"][row]).all()
    assert items.pick([row, 0]).features["brand"].tolist() == ["", "Acme"]
