"""Files become a recipe without questions, and doubt is written into the recipe."""

import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from pocketrec.cli import main
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.errors import RecipeInvalidError, TableInvalidError
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.table_profile.profile import profile_files, recipe_name
from pocketrec_training.table_profile.recipe_text import questions, recipe_text
from pocketrec_training.table_profile.report import profile_lines

T0 = 1_600_000_000


def two_tables(folder: Path) -> list[Path]:
    """Ratings of 40 users with a time each, and the films."""
    draw = random.Random(1)  # noqa: S311 (invented rows)
    rows = [
        f"{user},{item},{draw.choice([1, 2, 3.5, 5])},{T0 + 7919 * (20 * user + n)}"
        for user in range(1, 41)
        for n, item in enumerate(draw.sample(range(1, 31), 12))
    ]
    ratings, films = folder / "ratings.csv", folder / "movies.csv"
    ratings.write_text("userId,movieId,rating,timestamp\n" + "\n".join(rows) + "\n")
    films.write_text(
        "movieId,title,genres\n"
        + "".join(
            f'{n},"Film, The ({1960 + n})",{("Drama", "War|Drama")[n % 2]}\n' for n in range(1, 31)
        )
    )
    return [ratings, films]


def load(text: str, folder: Path):
    (folder / "recipe.toml").write_text(text)
    return load_recipe(folder / "recipe.toml")


def test_two_tables_become_a_recipe_that_reads_them(tmp_path):
    profile = profile_files(two_tables(tmp_path))
    recipe = load(recipe_text(profile), tmp_path)
    columns = recipe.columns
    assert (columns.user, columns.item, columns.timestamp) == ("userId", "movieId", "timestamp")
    assert (columns.value, columns.title, columns.categories) == ("rating", "title", "genres")
    assert columns.item_id == "movieId"
    assert recipe.events.like_value == 4.0
    assert recipe.split.kind == "leave_last"
    report = build_tables(recipe, tmp_path / "out")
    assert (report.interactions, report.users, report.items) == (480, 40, 30)
    assert report.quarantined == 0


def test_facts_of_the_interactions_are_counted(tmp_path):
    log = tmp_path / "log.csv"
    rows = ["a,x,10", "a,y,11", "a,x,12", "b,x,13", "b,y,13", "c,x,14"]
    log.write_text("user,item,ts\n" + "\n".join(f"{row}00000000" for row in rows) + "\n")
    facts = profile_files([log]).facts
    assert (facts.n, facts.n_users, facts.n_items) == (6, 3, 2)
    assert facts.users_by_events == {"1": 1, "2-4": 2, "5-19": 0, "20+": 0}
    assert facts.tied_last_share == 0.5  # of a and b, b's last two have one time
    assert facts.repeat_share == pytest.approx(1 / 6)


def test_a_choice_that_is_not_sure_is_a_question_that_names_the_key(tmp_path):
    log = tmp_path / "log.csv"
    rows = [f"u{n % 20},a{n % 7},p{n % 5},{T0 + n * 60}" for n in range(200)]
    log.write_text("user,asin,parent_asin,ts\n" + "\n".join(rows) + "\n")
    profile = profile_files([log])
    assert [key for key, _ in questions(profile)] == ["columns.item"]
    with pytest.raises(RecipeInvalidError, match=r"columns.item: choose one of 'asin', 'parent_"):
        load(recipe_text(profile), tmp_path)


def test_a_column_of_times_that_cannot_be_read_is_a_question(tmp_path):
    log = tmp_path / "log.csv"
    rows = [f"u{n % 20},i{n % 7},{2015 + n % 5}" for n in range(200)]
    log.write_text("user,item,date\n" + "\n".join(rows) + "\n")
    profile = profile_files([log])
    assert questions(profile) == [("columns.timestamp", ("", "date"))]
    with pytest.raises(RecipeInvalidError, match=r"columns.timestamp: choose one of '', 'date'"):
        load(recipe_text(profile), tmp_path)


def test_a_letter_beyond_utf8_far_down_decides_the_encoding(tmp_path):
    log = tmp_path / "log.csv"
    rows = [f"u{n % 20},i{n % 7},{T0 + n}" for n in range(60_000)]
    rows[55_000] = f"ué,i1,{T0}"
    log.write_bytes("\n".join(["user,item,ts", *rows, ""]).encode("cp1252"))
    assert log.stat().st_size > 1 << 20
    assert 'encoding = "cp1252"' in recipe_text(profile_files([log]))


def test_control_characters_of_a_file_reach_neither_terminal_nor_comment(tmp_path):
    log = tmp_path / "log.csv"
    rows = [f"u{n % 20},i{n % 7},{T0 + n * 60},see\x1b[2J\x0e" for n in range(200)]
    log.write_text("user,item,ts,event\n" + "\n".join(rows) + "\n")
    profile = profile_files([log])
    assert load(recipe_text(profile), tmp_path).events.types == ("see\x1b[2J\x0e",)
    assert all(line.isprintable() for line in profile_lines(profile))


def test_the_items_file_decides_between_two_ids(tmp_path):
    log, items = tmp_path / "log.csv", tmp_path / "meta.csv"
    rows = [f"u{n % 20},a{n % 7},p{n % 5},{T0 + n * 60}" for n in range(200)]
    log.write_text("user,asin,parent_asin,ts\n" + "\n".join(rows) + "\n")
    items.write_text("parent_asin,title\n" + "".join(f"p{n},Thing {n}\n" for n in range(5)))
    profile = profile_files([log, items])
    assert questions(profile) == []
    assert load(recipe_text(profile), tmp_path).columns.item == "parent_asin"


def test_ids_that_look_alike_but_differ_are_reported(tmp_path):
    log, items = tmp_path / "log.csv", tmp_path / "items.csv"
    rows = [f"u{n % 20},{n % 7}.0,{T0 + n * 60}" for n in range(200)]
    log.write_text("user,item,ts\n" + "\n".join(rows) + "\n")
    items.write_text("item,title\n" + "".join(f"{n},Thing {n}\n" for n in range(7)))
    join = profile_files([log, items]).item_join
    assert join is not None
    assert (join.found, join.n, join.found_after) == (0, 7, 7)
    assert join.change == "without '.0' at the end"


def test_files_without_interactions_are_refused_with_their_columns(tmp_path):
    items = tmp_path / "items.csv"
    items.write_text("sku,title\n" + "".join(f"s{n},Thing {n}\n" for n in range(60)))
    with pytest.raises(TableInvalidError, match=r"no file has interactions[\s\S]*sku, title"):
        profile_files([items])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("My ratings.csv.gz", "my-ratings"), ("ml-100k.inter", "ml-100k"), ("___.csv", "recommender")],
)
def test_a_recipe_is_named_after_its_file(name, expected):
    assert recipe_name(Path(name)) == expected


def test_init_writes_a_recipe_and_names_the_next_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    two_tables(tmp_path)
    done = CliRunner().invoke(main, ["init", "ratings.csv", "movies.csv"])
    assert done.exit_code == 0, done.output
    assert done.output.endswith("next: pocketrec data recipe.toml --out work/data\n")
    assert "30 of 30 interacted items are in movies.csv (100.0%)" in done.output
    assert load_recipe(Path("recipe.toml")).data.interactions == "ratings.csv"


def test_init_keeps_an_existing_recipe(tmp_path):
    files = [str(path) for path in two_tables(tmp_path)]
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("mine")
    words = ["init", *files, "--out", str(recipe)]
    refused = CliRunner().invoke(main, words)
    assert (refused.exit_code, recipe.read_text()) == (2, "mine")
    assert CliRunner().invoke(main, [*words, "--force"]).exit_code == 0
    assert recipe.read_text() != "mine"
