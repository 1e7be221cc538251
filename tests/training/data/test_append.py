"""Daily deliveries give the tables of one run over all files; a kill leaves the old folder."""

import csv
import io
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec.cli import main
from pocketrec_training.data.ingest import append_tables, build_tables
from pocketrec_training.data.joins import Join
from pocketrec_training.errors import TableInvalidError
from pocketrec_training.recipe.load import parse_recipe
from pocketrec_training.recipe.schema import Recipe

TABLES = ("interactions.parquet", "items.parquet", "quarantine.jsonl", "data_report.json")
SECOND = {"interactions.csv": ["c,z,5,4"], "items.csv": ["x,Xylophone II,11", "z,Zither,3"]}
FIRST = {
    "interactions.csv": ["a,x,1,5", "b,y,2,3"],
    "items.csv": ["x,Xylophone,9.5", "y,Yo-yo,2"],
}
HEADS = {
    "interactions.csv": "user,item,time,stars",
    "items.csv": "sku,name,gbp",
    "users.csv": "user,age",
}


def recipe(**data: object) -> Recipe:
    columns = {"user": "user", "item": "item", "timestamp": "time", "value": "stars"}
    columns["timestamp_unit"] = "s"
    value = {
        "name": "t",
        "data": {"interactions": "interactions.csv", "items": "items.csv", **data},
        "columns": columns | {"item_id": "sku", "title": "name", "price": "gbp"},
        "events": {"like_value": 4.0},
    }
    return parse_recipe(value, "t.toml")


def deliver(folder: Path, files: dict[str, list[str]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (folder / name).write_text("\n".join([HEADS[name], *lines]) + "\n")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


def without_places(folder: Path) -> dict[str, object]:
    """Tables, bad rows and counts; file and line of a row differ if one file is split in two."""
    found: dict[str, object] = dict(contents(folder))
    report = json.loads((folder / "data_report.json").read_bytes())
    found["data_report.json"] = report | {"examples": sorted(report["examples"])}
    bad = map(json.loads, (folder / "quarantine.jsonl").read_text().splitlines())
    found["quarantine.jsonl"] = [(row["table"], row["reason"], row["row"]) for row in bad]
    return found


def csv_line(fields: tuple[str, ...]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(fields)
    return out.getvalue()


users = st.sampled_from(["a", "b", "c", ""])
names = st.sampled_from(["x", "y", "z", "w", ""])
# Few values: duplicates across days, late events and bad rows of each kind come by themselves.
interaction = st.tuples(
    users, names, st.sampled_from(["1", "2", "900", "soon", ""]), st.sampled_from(["5", "-0", "?"])
)
item = st.tuples(names, st.sampled_from(["X", "Y, Z", ""]), st.sampled_from(["1", "2.5", "", "?"]))
interactions_of_a_day = st.lists(interaction, max_size=6).filter(
    lambda rows: 2 * sum(time == "soon" for _, _, time, _ in rows) <= len(rows)  # else refused
)
day = st.tuples(interactions_of_a_day, st.lists(item, max_size=3))


@given(days=st.lists(day, min_size=1, max_size=3))
@settings(max_examples=8, deadline=None)
def test_deliveries_give_the_tables_of_one_run_over_all_files(days):
    chosen = recipe(max_bad_share=1.0, allow_unmatched=True)
    parts = [FIRST] + [
        {
            "interactions.csv": [csv_line(row) for row in interactions],
            # A row of its own a day: the same delivery again would count once by design.
            "items.csv": [*(csv_line(row) for row in items), f"n{number},N,{number}"],
        }
        for number, (interactions, items) in enumerate(days)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        build_tables(chosen, root / "grown", deliver(root / "0", parts[0]))
        for number, part in enumerate(parts[1:], 1):
            before = json.loads((root / "grown" / "data_report.json").read_bytes())
            added = append_tables(chosen, root / "grown", deliver(root / str(number), part))
            assert added.rows_in == len(part["interactions.csv"])
            assert added.report.interactions == before["interactions"] + added.interactions
        everything = {name: [line for part in parts for line in part[name]] for name in FIRST}
        whole = build_tables(chosen, root / "whole", deliver(root / "all", everything))
        assert without_places(root / "grown") == without_places(root / "whole")
        assert asdict(replace(added.report, examples={}, joins={})) == asdict(
            replace(whole, examples={}, joins={})  # ids that match are counted of a delivery
        )
        bad = (root / "whole" / "quarantine.jsonl").read_text().splitlines()
        assert len(bad) == whole.quarantined == sum(whole.reasons.values())
        good = whole.interactions + whole.duplicates
        bad_items = sum(n for key, n in whole.reasons.items() if key.startswith("items"))
        assert good + whole.quarantined - bad_items == whole.rows_in


def test_real_ratings_month_by_month_equal_one_run(data_root, tmp_path):
    """MovieTweetings: 100,000 ratings in four deliveries, items in the first."""
    columns = {"user": "user", "item": "item", "timestamp": "ts", "value": "stars"}
    given = {"name": "m", "data": {"interactions": "i.csv", "max_bad_share": 0.01}}
    chosen = parse_recipe({**given, "columns": columns}, "m.toml")
    lines = (data_root / "movietweetings" / "ratings.dat").read_text().splitlines()
    rows = sorted((line.split("::") for line in lines), key=lambda row: int(row[3]))
    quarter = len(rows) // 4 + 1
    parts = [rows[at : at + quarter] for at in range(0, len(rows), quarter)]
    for name, part in (("all", rows), *((str(n), part) for n, part in enumerate(parts))):
        (tmp_path / name).mkdir()
        text = "\n".join(",".join((u, i, t, s)) for u, i, s, t in part)
        (tmp_path / name / "i.csv").write_text("user,item,ts,stars\n" + text)
    build_tables(chosen, tmp_path / "grown", tmp_path / "0")
    for name in "321":  # late deliveries too
        append_tables(chosen, tmp_path / "grown", tmp_path / name)
    report = build_tables(chosen, tmp_path / "whole", tmp_path / "all")
    assert report.rows_in == len(rows) > 99_000
    assert contents(tmp_path / "grown") == contents(tmp_path / "whole")


def test_a_later_item_row_replaces_the_earlier_and_a_bare_one(tmp_path):
    out = tmp_path / "out"
    first = {
        "interactions.csv": [*FIRST["interactions.csv"], "a,z,3,1"],
        "items.csv": ["x,X,1", "y,Y,"],
    }
    build_tables(recipe(), out, deliver(tmp_path / "0", first))
    append_tables(
        recipe(), out, deliver(tmp_path / "1", {"items.csv": ["z,Z,1", "x,B,2", "x,A,3"]})
    )
    table = duckdb.sql("SELECT * FROM read_parquet(?)", params=[str(out / "items.parquet")])
    assert table is not None
    assert [row[:2] + row[3:4] for row in table.fetchall()] == [
        ("x", "A", 3.0),
        ("y", "Y", None),
        ("z", "Z", 1.0),
    ]


def test_the_same_delivery_again_changes_nothing(tmp_path):
    out = tmp_path / "out"
    build_tables(recipe(), out, deliver(tmp_path / "0", FIRST))
    added = append_tables(recipe(), out, deliver(tmp_path / "1", SECOND))
    assert (added.known, added.interactions, added.new_items) == (False, 1, 1)
    before = contents(out)
    again = append_tables(recipe(), out, tmp_path / "1")
    assert again.known
    assert again.report == replace(added.report, joins={})  # nothing was joined
    assert append_tables(recipe(), out, tmp_path / "0").known
    assert contents(out) == before


@pytest.mark.parametrize(
    ("files", "changed", "message"),
    [
        ({}, {}, "none of interactions.csv, items.csv"),
        ({"interactions.csv": ["a,x,never,1"]}, {}, "1 of 1 times cannot be right"),
        ({"interactions.csv": ["a,X,3,1"]}, {}, "the earlier items: 0 of 1 items of the inter"),
        (SECOND, {"events": {"like_value": 3.0}}, r"other \[data\], \[columns\] or \[events\]"),
    ],
)
def test_unusable_delivery_is_refused_and_the_tables_stay(tmp_path, files, changed, message):
    out = tmp_path / "out"
    build_tables(recipe(), out, deliver(tmp_path / "0", FIRST))
    before = contents(out)
    chosen = recipe()
    if changed:
        value = json.loads(json.dumps(asdict(chosen))) | changed
        chosen = parse_recipe(value, "t.toml")
    with pytest.raises(TableInvalidError, match=message):
        append_tables(chosen, out, deliver(tmp_path / "1", files))
    assert contents(out) == before


def test_a_delivery_may_interact_with_items_that_an_earlier_one_described(tmp_path):
    out = tmp_path / "out"
    build_tables(recipe(), out, deliver(tmp_path / "0", FIRST))
    notes: list[str] = []
    day = {"interactions.csv": ["a,y,3,1", "a,z,4,1"], "items.csv": ["w,W,1"]}
    added = append_tables(recipe(), out, deliver(tmp_path / "1", day), tell=notes.append)
    assert added.report.joins == {"items": Join(used=2, matched=1)}
    assert notes[0].startswith("items.csv and the earlier items: 1 of 2 items of the interactions")
    # z is in the tables now, but only because of its interaction: nothing describes it.
    lone = deliver(tmp_path / "2", {"interactions.csv": ["b,z,5,1"]})
    with pytest.raises(TableInvalidError, match="the earlier items: 0 of 1 items"):
        append_tables(recipe(), out, lone)
    append_tables(recipe(allow_unmatched=True), out, lone)


USERS = {"users.csv": ["a,30", "b,40"]}


def test_users_are_checked_in_each_delivery(tmp_path):
    given = recipe(users="users.csv")
    out = tmp_path / "out"
    notes: list[str] = []
    first = FIRST | {"users.csv": ["a,30", ",40"]}
    with pytest.raises(TableInvalidError, match="users: user id missing: 1"):
        build_tables(given, out, deliver(tmp_path / "bad", first))
    first = FIRST | {"users.csv": ["a,30"]}
    report = build_tables(given, out, deliver(tmp_path / "0", first), tell=notes.append)
    assert report.joins["users"] == Join(used=2, matched=1)
    assert notes[0].startswith("users.csv: 1 of 2 users of the interactions are in it")
    added = append_tables(
        given, out, deliver(tmp_path / "1", {"interactions.csv": ["b,y,4,1"]} | USERS)
    )
    assert added.report.joins["users"] == Join(used=1, matched=1)
    only = append_tables(given, out, deliver(tmp_path / "2", {"users.csv": ["d,1"]}))
    assert (only.interactions, only.report.joins) == (0, {})
    added = append_tables(given, out, deliver(tmp_path / "3", {"interactions.csv": ["d,x,6,1"]}))
    assert added.report.joins["users"] == Join(used=1, matched=1)
    strangers = deliver(tmp_path / "4", {"interactions.csv": ["A,x,7,1", "B,x,7,1", "a,x,7,1"]})
    with pytest.raises(TableInvalidError, match="In small letters, 2 of these 2 match"):
        append_tables(given, out, strangers)


def test_the_column_of_a_user_in_the_table_of_users_has_a_key_of_its_own(tmp_path):
    given = recipe(users="users.csv")
    given = replace(given, columns=replace(given.columns, user_id="uid"))
    source = deliver(tmp_path / "0", FIRST | {"users.csv": ["a,30"]})
    with pytest.raises(TableInvalidError, match=r"no column 'uid' for columns\.user_id"):
        build_tables(given, tmp_path / "out", source)
    (source / "users.csv").write_text("uid,age\na,30\nb,40\n")
    report = build_tables(given, tmp_path / "out", source)
    assert report.joins["users"] == Join(used=2, matched=2)


def test_append_without_tables_says_what_to_run(tmp_path):
    with pytest.raises(TableInvalidError, match="without --append"):
        append_tables(recipe(), tmp_path / "out", deliver(tmp_path / "1", SECOND))


KILLED = """
import os, signal, sys
sys.path[:0] = [sys.argv[1]]
import pocketrec_bundle.disk.files as files
real, when = files._swap, sys.argv[2]
def swap(one, two):
    if when == "after":
        real(one, two)
    os.kill(os.getpid(), signal.SIGKILL)
files._swap = swap
from pocketrec.cli import main
main(sys.argv[3:], prog_name="pocketrec")
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_append_leaves_the_old_folder_or_the_new_one(tmp_path, repository, when):
    """Killed before and after the one step that puts the new folder in place."""
    toml = tmp_path / "t.toml"
    toml.write_text(
        'name = "t"\n[data]\ninteractions = "interactions.csv"\nitems = "items.csv"\n[columns]\n'
        'item = "item"\nuser = "user"\ntimestamp = "time"\ntimestamp_unit = "s"\n'
        'item_id = "sku"\ntitle = "name"\n'
    )
    out = tmp_path / "out"
    words = ["data", str(toml), "--out", str(out), "--source"]
    main([*words, str(deliver(tmp_path / "0", FIRST))], standalone_mode=False)
    before = contents(out)
    append = [*words, str(deliver(tmp_path / "1", SECOND)), "--append", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(repository), when, *append],
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (contents(out) == before) == (when == "before")
    main(append, standalone_mode=False)
    grown = contents(out)
    shutil.rmtree(out)
    everything = {name: FIRST[name] + SECOND[name] for name in FIRST}
    main([*words, str(deliver(tmp_path / "2", everything))], standalone_mode=False)
    assert contents(out) == grown


def test_append_command_reports_what_came_in(tmp_path, runner):
    toml = tmp_path / "t.toml"
    toml.write_text(
        'name = "t"\n[data]\ninteractions = "interactions.csv"\n[columns]\n'
        'item = "item"\nuser = "user"\ntimestamp = "time"\ntimestamp_unit = "s"\n'
    )
    words = ["data", str(toml), "--out", str(tmp_path / "out")]
    first = runner.invoke(main, [*words, "--source", str(deliver(tmp_path / "0", FIRST))])
    assert first.exit_code == 0
    assert runner.invoke(main, [*words, "--append"]).exit_code == 2
    words += ["--append", "--source", str(deliver(tmp_path / "1", SECOND))]
    assert "added 1 interactions and 1 items" in runner.invoke(main, words).stdout
    assert "nothing changed" in runner.invoke(main, words).stdout
    found = json.loads(runner.invoke(main, [*words, "--json"]).stdout)
    assert found["known"] is True
    assert found["cases"]["test"]["users"] == 0
