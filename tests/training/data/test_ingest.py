import hashlib
import json
from dataclasses import asdict, replace

import duckdb
import numpy as np
import pytest

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.items.catalogue import MAX_ID, MAX_PRICE, CatalogueItem, write_catalogue
from pocketrec_training.data.dataset import load_items
from pocketrec_training.data.fields.items import MAX_CATEGORIES, MAX_TITLE
from pocketrec_training.data.ingest import append_tables, build_tables
from pocketrec_training.errors import RecipeInvalidError, TableInvalidError
from pocketrec_training.recipe.load import load_recipe, parse_recipe
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.recipe.tables import Events


def recipe(**data: object) -> Recipe:
    """Times are declared, so that the tests may use 1, 2, 3."""
    columns = {"user": "user", "item": "item", "timestamp": "time", "value": "stars"}
    columns["timestamp_unit"] = "s"
    value = {
        "name": "t",
        "data": {"interactions": "i.csv", "max_bad_share": 0.9, **data},
        "columns": columns | {"item_id": "sku", "title": "name", "price": "gbp"},
        "events": {"like_value": 4.0},
    }
    return parse_recipe(value, "t.toml")


def rows(folder, file):
    found = duckdb.sql("SELECT * FROM read_parquet(?)", params=[str(folder / file)])
    assert found is not None
    return found.fetchall()


GOOD = "user,item,time,stars\n"


def test_bad_rows_are_quarantined_with_their_reason(tmp_path):
    (tmp_path / "i.csv").write_text(
        GOOD + "a,x,1,5\nb,y,2,3\n,x,3,1\na,,4,1\na,x,,1\na,x,soon,1\na,x,9999999999999,1\n"
        "a,x,-5,1\na,x,5,good\na,x,6,inf\na,x,1,5\n"
    )
    report = build_tables(recipe(), tmp_path / "out", tmp_path)
    assert (report.rows_in, report.interactions, report.duplicates) == (11, 2, 1)
    assert report.reasons == {
        "interactions: item id missing": 1,
        "interactions: timestamp before 1970": 1,
        "interactions: timestamp in the future": 1,
        "interactions: timestamp missing": 1,
        "interactions: timestamp unreadable": 1,
        "interactions: user id missing": 1,
        "interactions: value is not a number": 2,
    }
    saved = json.loads((tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()[0])
    assert saved["reason"] == "item id missing"
    assert saved["row"] == "user=a; item=; time=4; stars=1"


def test_items_are_completed_and_checked(tmp_path):
    (tmp_path / "i.csv").write_text(f"{GOOD}a,x,1,5\nb,y,2,3\n")
    (tmp_path / "p.jsonl").write_text(
        '{"sku": "x", "name": "Xylophone", "gbp": 9.5}\n{"sku": "z", "name": "Zither", "gbp": 1}\n'
        '{"sku": "w", "name": "W", "gbp": "dear"}\n'
    )
    report = build_tables(recipe(items="p.jsonl"), tmp_path / "out", tmp_path)
    assert (report.reasons, report.nulled) == ({}, {"price": 1})
    assert [r[:2] + r[3:4] for r in rows(tmp_path / "out", "items.parquet")] == [
        ("w", "W", None),
        ("x", "Xylophone", 9.5),
        ("y", "y", None),
        ("z", "Zither", 1.0),
    ]


LONG, LONGEST = "x" * 10_000, "é" * MAX_ID


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"{LONG},x,1,5", f"user id longer than {MAX_ID} characters"),
        (f"{LONGEST}e,x,1,5", f"user id longer than {MAX_ID} characters"),
        (f"a,{LONG},1,5", f"item id longer than {MAX_ID} characters"),
        ("a,x,inf,5", "timestamp unreadable"),
        ("a,x,1e300,5", "timestamp unreadable"),
        ("a,x,infinity,5", "timestamp unreadable"),
        ("a,x,-infinity,5", "timestamp unreadable"),
        ("a,x,294247-01-10,5", "timestamp unreadable"),
        ("a,x,nan,5", "timestamp missing"),
        ("a,x,1,inf", "value is not a number"),
        ("a,x,1,-Infinity", "value is not a number"),
        ("a,x,1,1e301", "value is not a number"),
        ("a,x,1,1e400", "value is not a number"),
    ],
    ids=lambda text: text[-30:],
)
def test_an_interaction_that_nothing_downstream_takes_is_quarantined(tmp_path, row, reason):
    (tmp_path / "i.csv").write_text(f"{GOOD}a,x,1,5\n{LONGEST},y,2,3\n{row}\n")
    report = build_tables(recipe(), tmp_path / "out", tmp_path)
    assert (report.reasons, report.interactions) == ({f"interactions: {reason}": 1}, 2)
    (saved,) = map(json.loads, (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines())
    assert saved["row"].endswith(row[-40:].rpartition(",")[2])
    loaded = {user for user, *_ in rows(tmp_path / "out", "interactions.parquet")}
    assert loaded == {"a", LONGEST}


def test_an_event_of_any_length_that_the_recipe_does_not_know_is_quarantined(tmp_path):
    (tmp_path / "i.csv").write_text(f"user,item,time,stars\na,x,1,like\nb,y,2,like\na,y,3,{LONG}\n")
    given = recipe()
    columns = replace(given.columns, event="stars", value="")
    report = build_tables(replace(given, columns=columns), tmp_path / "out", tmp_path)
    assert report.reasons == {"interactions: event unknown": 1}


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("z,Z,inf,,,", "price"),
        ("z,Z,$12.99,,,", "price"),
        ("z,Z,1e300,,,", "price"),
        ("z,Z,-1e13,,,", "price"),
        ("z,Z,,inf,,", "year"),
        ("z,Z,,1e300,,", "year"),
        (f"z,{LONG}x,,,,", "title"),
        (f"z,Z,,,{'|'.join(map(str, range(2000)))},", "categories"),
        (f"z,Z,,,,DE|{'r' * 201}", "regions"),
    ],
    ids=lambda text: text[-30:],
)
def test_a_field_that_no_bundle_takes_is_nulled_and_its_item_stays(tmp_path, row, field):
    (tmp_path / "i.csv").write_text(f"{GOOD}a,x,1,5\nb,y,2,3\na,z,3,4\n")
    (tmp_path / "p.csv").write_text(
        f"sku,name,gbp,year,kinds,where\nx,X,1e12,-9999,a|b,DE\n{row}\n"
    )
    given = recipe(items="p.csv")
    columns = replace(given.columns, year="year", categories="kinds", regions="where")
    told: list[str] = []
    report = build_tables(
        replace(given, columns=columns), tmp_path / "out", tmp_path, tell=told.append
    )
    assert (report.reasons, report.nulled) == ({}, {field: 1})
    assert told[0].startswith(f"{field}: 1 value ")
    assert "(p.csv:3)" in told[0]
    items = load_items(tmp_path / "out")
    assert (items.ids, items.titles) == (["x", "y", "z"], ["X", "y", "z" if row[2] == "x" else "Z"])
    assert items.price.tolist() == [np.float32(MAX_PRICE), -1, -1]
    assert (items.categories[2], items.for_whom().regions[2]) == ((), ())


def test_an_item_id_that_no_bundle_takes_is_quarantined(tmp_path):
    (tmp_path / "i.csv").write_text(f"{GOOD}a,x,1,5\nb,y,2,3\n")
    (tmp_path / "p.csv").write_text(f"sku,name,gbp\nx,X,1\n{LONG},Z,\n")
    report = build_tables(recipe(items="p.csv"), tmp_path / "out", tmp_path)
    assert report.reasons == {f"items: item id longer than {MAX_ID} characters": 1}
    assert load_items(tmp_path / "out").ids == ["x", "y"]


def test_a_later_empty_field_does_not_erase_an_earlier_one(tmp_path):
    (tmp_path / "i.csv").write_text(f"{GOOD}a,x,1,5\nb,y,2,3\n")
    (tmp_path / "p.csv").write_text("sku,name,gbp\nx,X,\nx,,2.5\nx,X II,\nx,,\nx,,much\n")
    build_tables(recipe(items="p.csv"), tmp_path / "out", tmp_path)
    items = load_items(tmp_path / "out")
    assert (items.ids, items.titles, items.price.tolist()) == (["x", "y"], ["X II", "y"], [2.5, -1])


def test_categories_are_trimmed_and_each_counts_once(tmp_path):
    (tmp_path / "i.csv").write_text(f"{GOOD}a,x,1,5\nb,y,2,3\n")
    (tmp_path / "p.csv").write_text(
        'sku,name,gbp,kinds\nx,X,,"Drama, Comedy, ,Drama,"\ny,Y,," , "\n'
    )
    given = recipe(items="p.csv")
    columns = replace(given.columns, categories="kinds", categories_separator=",")
    report = build_tables(replace(given, columns=columns), tmp_path / "out", tmp_path)
    assert load_items(tmp_path / "out").categories == [("Drama", "Comedy"), ()]
    assert report.nulled == {}


def test_a_list_in_a_cell_is_several_categories(tmp_path):
    (tmp_path / "i.csv").write_text(f"{GOOD}a,x,1,5\nb,y,2,3\n")
    cells = ["['Sci-Fi', \"Children's\"]", '["War | Peace", "War"]', "[Drama, ]", "[REC] 2|Horror"]
    items = [{"sku": f"i{n}", "genres": cell} for n, cell in enumerate([*cells, "[]"])]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, items)))
    given = recipe(items="p.jsonl", allow_unmatched=True)
    given = replace(given, columns=replace(given.columns, categories="genres", title="", price=""))
    report = build_tables(given, tmp_path / "out", tmp_path)
    assert [row[2] for row in rows(tmp_path / "out", "items.parquet")][:5] == [
        "Sci-Fi|Children's",
        "War / Peace|War",
        "Drama",
        "[REC] 2|Horror",
        "",
    ]
    assert report.nulled == {}


def test_rows_that_the_recipe_leaves_out_are_counted_and_are_not_bad(tmp_path):
    (tmp_path / "i.csv").write_text(
        f"{GOOD}a,x,1,5\nb,y,2,3\na,y,3,-1\n,y,soon,0\nb,x,4,\nb,x,5,1e-3\n"
    )
    given = recipe(above={"stars": 0}, max_bad_share=0.0)
    report = build_tables(given, tmp_path / "out", tmp_path)
    assert report.reasons == {"interactions: filtered by data.above.stars": 2}
    assert (report.interactions, report.quarantined) == (4, 2)
    saved = (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()
    assert {json.loads(line)["reason"] for line in saved} == {"filtered by data.above.stars"}
    given = recipe(above={"starz": 0})
    with pytest.raises(
        TableInvalidError, match=r"'starz' for data\.above\.starz .* Is it \"stars\"\?"
    ):
        build_tables(given, tmp_path / "out", tmp_path)
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "i.csv").write_text(f"{GOOD}a,x,9,5\n")
    with pytest.raises(TableInvalidError, match=r"made with other \[data\]"):
        append_tables(recipe(), tmp_path / "out", tmp_path / "day")


def test_a_price_below_0_is_unknown_as_on_the_device(tmp_path):
    (tmp_path / "i.csv").write_text(f"{GOOD}a,x,1,5\nb,y,2,3\n")
    (tmp_path / "p.csv").write_text("sku,name,gbp\nx,X,-5\ny,Y,0\n")
    build_tables(recipe(items="p.csv"), tmp_path / "out", tmp_path)
    assert [r[3] for r in rows(tmp_path / "out", "items.parquet")] == [None, 0.0]


def test_the_largest_item_that_is_let_in_fits_a_catalogue(tmp_path):
    """Letters of four bytes each: what the tables take must not stop the export after training."""
    widest = "\U0001f600"
    texts = (widest * MAX_ID, widest * MAX_TITLE, widest * MAX_CATEGORIES)
    item = CatalogueItem(0, *texts, price=MAX_PRICE, year=-9999)
    write_catalogue(tmp_path / "catalogue.sqlite", [item])


def test_regions_and_age_ratings_are_read_and_checked(tmp_path):
    (tmp_path / "i.csv").write_text(f"{GOOD}a,x,1,5\nb,y,2,3\na,z,3,3\n")
    (tmp_path / "p.csv").write_text(
        "sku,name,gbp,where,age\nx,X,1,DE;AT,12\ny,Y,2,,0\nz,Z,3,CH,\n"
        "u,U,4,DE,teen\nv,V,5,DE,-1\nw,W,6,DE,6.5\nq,Q,7,DE,1e300\nr,R,8,DE,inf\n"
    )
    given = recipe(items="p.csv", max_bad_share=1.0)
    columns = replace(given.columns, regions="where", age_rating="age", categories_separator=";")
    given = replace(given, columns=columns)
    report = build_tables(given, tmp_path / "out", tmp_path)
    assert (report.reasons, report.nulled) == ({}, {"age_rating": 5})
    items = load_items(tmp_path / "out")
    assert "".join(items.ids) == "qruvwxyz"
    assert items.audience is not None
    assert items.audience.regions[-3:] == [("DE", "AT"), (), ("CH",)]
    assert items.audience.age_ratings.tolist() == [255] * 5 + [12, 0, 255]


def test_tables_from_before_regions_are_read_and_added_to(tmp_path):
    (tmp_path / "i.csv").write_text(f"{GOOD}a,x,1,5\nb,y,2,3\n")
    build_tables(recipe(), tmp_path / "out", tmp_path)
    path = tmp_path / "out" / "items.parquet"
    older = "SELECT * EXCLUDE (regions, age_rating) FROM read_parquet(?) ORDER BY item_id"
    table = duckdb.sql(older, params=[str(path)])
    assert table is not None
    table.write_parquet(str(tmp_path / "older.parquet"))
    (tmp_path / "older.parquet").replace(path)
    assert load_items(tmp_path / "out").audience is None
    ingested = json.loads((tmp_path / "out" / "ingested.json").read_bytes())
    assert ingested["reading"] == reading_before_regions(recipe())
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "i.csv").write_text(f"{GOOD}a,z,4,5\n")
    append_tables(recipe(), tmp_path / "out", tmp_path / "day")
    items = load_items(tmp_path / "out")
    assert items.audience is not None
    assert (items.ids, items.audience.regions) == (["x", "y", "z"], [(), (), ()])
    assert items.audience.age_ratings.tolist() == [255, 255, 255]


def reading_before_regions(given) -> str:
    """As `ingested.json` had it when recipes had no regions and age ratings."""
    columns = asdict(given.columns)
    del columns["regions"], columns["age_rating"], columns["user_id"]
    if columns["timestamp_unit"] == "auto":
        del columns["timestamp_unit"]
    events = asdict(given.events)
    del events["values"]
    rules = {"dataset": "", "columns": columns, "events": events}
    return hashlib.sha256(canonical_json(rules)).hexdigest()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "i.csv"),
        (GOOD, "no rows"),
        ("usr,item,time,stars\na,x,1,1\n", r'columns\.user = "usr"'),
        (f"{GOOD}a,x,1,1\na,y,2,1\n", "1 user"),
        (f"{GOOD}a,x,1,1\nb,x,2,1\n", r"1 item\(s\)"),
        (f"{GOOD}a,x,1,1\n" + "a,x,2,bad\n" * 10, "10 of 11 rows are bad"),
        (f"{GOOD}a,x,1,1\n" + "a,x,never,1\n" * 10, "10 of 11 times cannot be right"),
    ],
)
def test_unusable_table_is_refused_and_the_old_one_stays(tmp_path, text, message):
    (tmp_path / "i.csv").write_text(text)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("kept")
    with pytest.raises(TableInvalidError, match=message):
        build_tables(recipe(), tmp_path / "out", tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["i.csv", "out"]
    assert (tmp_path / "out" / "old").read_text() == "kept"


def test_missing_file_is_named(tmp_path):
    with pytest.raises(TableInvalidError, match=r"i\.csv: no such file"):
        build_tables(recipe(), tmp_path / "out", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "Invalid value|invalid"),
        ('name = "x"\n[data]\ndataset = "d"\n[columns]\nuzer = "u"', "did you mean 'user'"),
        ('name = "x"\n[data]\ndataset = "d"\n[retrieval]\ndim = "64"', r"retrieval\.dim"),
        ('name = "x"\n[data]\ndataset = "d"\n[retrieval]\ndim = 63', "multiple"),
        ('name = "x"', "dataset or interactions"),
        ('name = "x"\n[data]\ndataset = "d"\n[ranker]\nhead_weights = [1.0]', "head_weights"),
        (
            'name = "x"\n[data]\ndataset = "d"\n[neighbours]\nper_item = 4\n'
            '[ranker]\nexamples = "train"',
            r"neighbours\.per_item needs",
        ),
        (
            'name = "x"\n[data]\ndataset = "d"\n[neighbours]\nper_item = 4\n'
            "[ranker]\ncandidates = 40",
            r"50 \+ 0 in use",
        ),
        ('name = "x"\n[data]\ndataset = "d"\n[neighbours]\ndecay = 1.0', r"neighbours\.decay"),
    ],
)
def test_bad_recipe_says_which_key(tmp_path, text, message):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(RecipeInvalidError, match=message) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("wrong", ["%Q%%%", "%s", "%"])
def test_time_stamp_format_that_is_not_one_is_refused(tmp_path, wrong):
    (tmp_path / "i.csv").write_text(f"{GOOD}a,x,1577836800,5\nb,y,1577836801,3\n")
    chosen = recipe()
    chosen = replace(chosen, columns=replace(chosen.columns, timestamp_format=wrong))
    with pytest.raises(
        RecipeInvalidError, match=rf"columns\.timestamp_format: '{wrong}' is not a format"
    ):
        build_tables(chosen, tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["self", "_place", "place", "c0", "User", "file_row_number", ""])
def test_column_may_have_any_name(tmp_path, name):
    (tmp_path / "i.csv").write_text(f"user,item,time,stars,{name}\na,x,1,5,9\nb,y,2,3,9\n")
    assert build_tables(recipe(), tmp_path / "out", tmp_path).interactions == 2


def test_a_broken_line_far_into_a_file_costs_its_row_and_is_named(tmp_path):
    good = '{"user": "%s", "item": "x%s", "time": 1, "stars": 5}\n'
    lines = [good % (k % 5, k % 7) for k in range(3_000)]
    (tmp_path / "i.jsonl").write_text("".join([*lines, '{"user": broken\n', lines[0]]))
    report = build_tables(recipe(interactions="i.jsonl"), tmp_path / "out", tmp_path)
    assert report.rows_in == 3_002
    assert report.reasons == {"interactions: not JSON": 1}
    assert report.examples == {"interactions: not JSON": "i.jsonl:3001"}
    (saved,) = map(json.loads, (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines())
    assert saved == {
        "table": "interactions",
        "reason": "not JSON",
        "row": '{"user": broken',
        "place": "i.jsonl:3001",
    }


def test_unknown_events_are_listed_with_counts_and_the_key(tmp_path):
    lines = [f"a,x,{n},{'View' if n % 4 else 'cart'}" for n in range(40)]
    (tmp_path / "i.csv").write_text("user,item,time,stars\n" + "\n".join(lines))
    given = recipe(max_bad_share=0.5)
    given = replace(
        given,
        columns=replace(given.columns, event="stars", value=""),
        events=Events(default="view", types=("view", "like")),
    )
    with pytest.raises(TableInvalidError, match=r"events\.types") as refused:
        build_tables(given, tmp_path / "out", tmp_path)
    assert "'View' (30 rows), 'cart' (10 rows)" in str(refused.value)
    assert "Is 'View' the type 'view'?" in str(refused.value)


ITEMS = "sku,name,gbp\n"


@pytest.mark.parametrize(
    ("interactions", "items", "told"),
    [
        (["1.0", "2.0"], ["1", "2"], "Without a final '.0', 2 of these 2 match"),
        (["0012", "0013"], ["12", "13"], "Without leading zeros, 2 of these 2 match"),
        (["AB-1", "AB-2"], ["ab-1", "ab-2"], "In small letters, 2 of these 2 match"),
        (["A 1", "A 2"], ["A1", "A2"], "Without blanks, 2 of these 2 match"),
        (["x", "y"], ["v", "w"], "data.allow_unmatched = true"),
    ],
)
def test_items_that_do_not_match_stop_the_run_with_a_hint(tmp_path, interactions, items, told):
    lines = [f"{user},{item},{n},1" for n, item in enumerate(interactions) for user in "ab"]
    (tmp_path / "i.csv").write_text(GOOD + "\n".join(lines))
    (tmp_path / "p.csv").write_text(ITEMS + "\n".join(f"{item},T,1" for item in items))
    with pytest.raises(TableInvalidError, match=r"p\.csv: 0 of 2 items of the int") as refused:
        build_tables(recipe(items="p.csv"), tmp_path / "out", tmp_path)
    assert told in str(refused.value)
    notes: list[str] = []
    given = recipe(items="p.csv", allow_unmatched=True)
    report = build_tables(given, tmp_path / "out", tmp_path, tell=notes.append)
    assert (report.joins["items"].used, report.joins["items"].matched) == (2, 0)
    assert notes[0].startswith("p.csv: 0 of 2 items")


def test_the_decision_on_times_is_kept_for_later_deliveries(tmp_path):
    given = recipe()
    given = replace(given, columns=replace(given.columns, timestamp_unit="auto"))
    (tmp_path / "i.csv").write_text(f"{GOOD}a,x,9/13/2020,5\nb,y,9/2/2020,3\n")
    report = build_tables(given, tmp_path / "out", tmp_path)
    assert report.time is not None
    assert report.time.order == "month"
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "i.csv").write_text(f"{GOOD}c,x,10/2/2020,5\n")
    added = append_tables(given, tmp_path / "out", tmp_path / "day")
    assert added.report.time == report.time
    assert rows(tmp_path / "out", "interactions.parquet")[-1][-1] == 1_601_596_800  # 2 October
    saved = json.loads((tmp_path / "out" / "data_report.json").read_bytes())
    assert saved["time"]["order"] == "month"


def test_a_folder_from_before_the_decision_reads_dates_day_first(tmp_path):
    given = recipe()
    given = replace(given, columns=replace(given.columns, timestamp_unit="auto"))
    (tmp_path / "i.csv").write_text(f"{GOOD}a,x,1600000000,5\nb,y,1600000001,3\n")
    build_tables(given, tmp_path / "out", tmp_path)
    path = tmp_path / "out" / "data_report.json"
    older = json.loads(path.read_bytes())
    for key in ("time", "nulled"):
        del older[key]
    path.write_bytes(canonical_json(older))
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "i.csv").write_text(f"{GOOD}c,x,2/10/2020,5\n")
    append_tables(given, tmp_path / "out", tmp_path / "day")
    assert rows(tmp_path / "out", "interactions.parquet")[-1][-1] == 1_601_596_800  # 2 October
