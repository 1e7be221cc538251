"""A split that comes with the files is kept."""

from pathlib import Path

import pytest

from pocketrec_training.data.dataset import load_dataset
from pocketrec_training.data.folds import TEST, TRAIN, VALID
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.table_profile.held_out import split_files
from pocketrec_training.table_profile.profile import profile_files
from pocketrec_training.table_profile.recipe_text import recipe_text
from pocketrec_training.table_profile.report import profile_json

T0 = 1_600_000_000


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["train.txt", "test.txt"], {TRAIN: "train.txt", TEST: "test.txt"}),
        (["u1.base", "u1.test"], {TRAIN: "u1.base", TEST: "u1.test"}),
        (
            ["ml.item", "ml.test.inter", "ml.valid.inter", "ml.train.inter"],
            {TRAIN: "ml.train.inter", VALID: "ml.valid.inter", TEST: "ml.test.inter"},
        ),
        (["news_train/log.tsv", "news_dev/log.tsv"], {TRAIN: "log.tsv", TEST: "log.tsv"}),
        (["shop_train.csv", "blog_test.csv"], None),
        (["train.csv", "items.csv"], None),
        (["valid.csv", "test.csv"], None),
        (["trains.csv", "tests.csv"], None),
    ],
)
def test_files_are_a_split_if_their_names_differ_by_such_a_word_alone(names, found):
    splits = split_files([Path(name) for name in names])
    assert [{fold: path.name for fold, path in each.items()} for each in splits] == (
        [found] if found else []
    )


def load(profile, folder):
    (folder / "recipe.toml").write_text(recipe_text(profile))
    return load_recipe(folder / "recipe.toml")


def rows(n: int, first: int) -> list[tuple[int, int, int]]:
    return [
        (user, (3 * user + first + k) % 40, T0 + 1000 * user + first + k)
        for user in range(1, 41)
        for k in range(n)
    ]


def test_train_valid_and_test_files_are_read_as_given(tmp_path):
    for name, n, first in (("train", 6, 0), ("valid", 1, 6), ("test", 2, 7)):
        lines = "".join(f"{u}\t{i}\t{t}\n" for u, i, t in rows(n, first))
        head = "user_id:token\titem_id:token\ttimestamp:float\n"
        (tmp_path / f"ml.{name}.inter").write_text(head + lines)
    items = "".join(f"{n}\tThing number {n}\t[Drama, Sci Fi]\n" for n in range(40))
    (tmp_path / "ml.item").write_text("item_id:token\ttitle:token_seq\tclass:token_seq\n" + items)
    files = [
        tmp_path / f"ml.{name}" for name in ("test.inter", "item", "train.inter", "valid.inter")
    ]
    profile = profile_files(files)
    assert [table.holds for table in profile.tables] == [
        "test interactions",
        "items",
        "interactions",
        "validation interactions",
    ]
    assert profile.category_separator == "|"
    recipe = load(profile, tmp_path)
    assert recipe.split.kind == "given"
    build_tables(recipe, tmp_path / "out")
    data = load_dataset(recipe, tmp_path / "out")
    assert [int((data.fold == fold).sum()) for fold in (TRAIN, VALID, TEST)] == [240, 40, 80]
    assert data.items.categories[0] == ("Drama", "Sci Fi")


def test_lines_of_users_are_read_as_given_where_short_ones_hide_their_layout(tmp_path):
    for name, n, first in (("train", 5, 0), ("test", 1, 5)):
        lines = [
            " ".join(map(str, [user, *((user + first + k) % 40 for k in range(n + user % 3))]))
            for user in range(40)
            if name == "train" or user % 7 == 0
        ]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    profile = profile_files([tmp_path / "train.txt", tmp_path / "test.txt"])
    assert profile.log.sample.layout == "user_items"
    recipe = load(profile, tmp_path)
    assert (recipe.split.kind, recipe.columns.timestamp) == ("given", "")
    build_tables(recipe, tmp_path / "out")
    data = load_dataset(recipe, tmp_path / "out")
    assert len({*data.event_users[data.fold == TEST]}) == 6


def test_of_folders_for_train_and_test_the_items_are_those_of_train(tmp_path):
    for name, n, first in (("shop_train", 6, 0), ("shop_dev", 2, 6)):
        (tmp_path / name).mkdir()
        lines = "".join(f"{u},{i},{t}\n" for u, i, t in rows(n, first))
        (tmp_path / name / "log.csv").write_text("user,item,timestamp\n" + lines)
        items = "".join(f"{n},Thing number {n}\n" for n in range(40))
        (tmp_path / name / "goods.csv").write_text("item,title\n" + items)
    files = [
        tmp_path / folder / file
        for file in ("goods.csv", "log.csv")
        for folder in ("shop_dev", "shop_train")
    ]
    profile = profile_files(files)
    assert [table.holds for table in profile.tables] == [
        "",
        "items",
        "test interactions",
        "interactions",
    ]
    recipe = load(profile, tmp_path)
    assert recipe.split.test == (tmp_path / "shop_dev" / "log.csv").as_posix()
    assert build_tables(recipe, tmp_path / "out").interactions == 320


def test_a_column_that_says_train_and_test_is_the_split(tmp_path):
    words = ["train"] * 6 + ["VAL", "test"]
    lines = [
        f"{user},{item},{time},{words[n % 8]}\n" for n, (user, item, time) in enumerate(rows(8, 0))
    ]
    (tmp_path / "log.csv").write_text("user,item,timestamp,split\n" + "".join(lines))
    profile = profile_files([tmp_path / "log.csv"])
    assert profile.log.roles["split"].why == "train 240, valid 40, test 40"
    assert profile_json(profile)["settings"]["split.column"] == "split"
    recipe = load(profile, tmp_path)
    assert (recipe.split.kind, recipe.split.column) == ("given", "split")
    assert build_tables(recipe, tmp_path / "out").quarantined == 0


def test_numbers_of_a_cross_validation_are_not_a_split(tmp_path):
    lines = [f"{u},{i},{t},{n % 3}\n" for n, (u, i, t) in enumerate(rows(8, 0))]
    (tmp_path / "log.csv").write_text("user,item,timestamp,fold\n" + "".join(lines))
    assert "split" not in profile_files([tmp_path / "log.csv"]).log.roles


def test_files_of_other_columns_are_not_held_out(tmp_path):
    lines = "".join(f"{u},{i},{t}\n" for u, i, t in rows(8, 0))
    (tmp_path / "train.csv").write_text("user,item,timestamp\n" + lines)
    (tmp_path / "test.csv").write_text("question,answer\n1,2\n3,4\n")
    profile = profile_files([tmp_path / "train.csv", tmp_path / "test.csv"])
    assert profile.held_out == {}
    assert profile.proposal.split.value == "leave_last"
