"""A split that somebody else made: as a column, or as files, such as LightGCN's."""

import json

import numpy as np
import pytest

from pocketrec_training.data.dataset import TEST, TRAIN, VALID, load_dataset
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.data.splits.check import check_split
from pocketrec_training.errors import RecipeInvalidError, RunInvalidError, TableInvalidError
from pocketrec_training.metrics.cases import held_out_cases
from pocketrec_training.recipe.load import load_recipe, parse_recipe

LIGHTGCN = """
name = "twin"
[data]
interactions = "train.txt"
header = false
layout = "user_items"
[columns]
user = "1"
item = "2"
timestamp = ""
[events]
default = "visit"
types = ["visit"]
[split]
kind = "given"
test = "test.txt"
"""
COLUMN = """
name = "column"
[data]
interactions = "i.csv"
[columns]
user = "user"
item = "item"
timestamp = ""
[events]
default = "view"
types = ["view"]
[split]
kind = "given"
column = "set"
"""


def lightgcn(users=12, items=30, seed=0):
    """Lines of a user and his items, as in LightGCN's data/gowalla; the item ids are invented."""
    rng = np.random.default_rng(seed)
    train, test = {}, {}
    for user in range(users):
        met = rng.permutation(items)[:10].tolist()
        train[user], test[user] = met[:8], met[8:]
    return train, test


def written(pairs):
    return "".join(f"{user} {' '.join(map(str, of))}\n" for user, of in pairs.items())


def built(folder, recipe, **files):
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    (folder / "r.toml").write_text(recipe)
    told: list[str] = []
    read = load_recipe(folder / "r.toml")
    report = build_tables(read, folder / "tables", folder, tell=told.append)
    return read, report, told


def pairs_of(data, *folds):
    chosen = np.flatnonzero(np.isin(data.fold, folds))
    users = data.event_users
    return {(data.user_ids[users[at]], data.items.ids[data.rows[at]]) for at in chosen}


def as_texts(pairs):
    return {(str(user), str(item)) for user, of in pairs.items() for item in of}


def test_a_twin_of_lightgcns_split_is_held_out_as_given(tmp_path):
    train, test = lightgcn()
    recipe, report, told = built(
        tmp_path, LIGHTGCN, train__txt=written(train), test__txt=written(test)
    )
    data = load_dataset(recipe, tmp_path / "tables")
    assert report.interactions == 12 * 10
    assert pairs_of(data, TEST) == as_texts(test)
    assert pairs_of(data, TRAIN, VALID) == as_texts(train)
    assert pairs_of(data, VALID)  # epochs are chosen on a part of the training pairs
    assert any("no validation interactions" in sentence for sentence in told)


def test_a_case_of_the_twin_has_all_training_items_as_its_past(tmp_path):
    """The published protocol: rank all items that the user has not in training."""
    train, test = lightgcn()
    recipe, _, _ = built(tmp_path, LIGHTGCN, train__txt=written(train), test__txt=written(test))
    data = load_dataset(recipe, tmp_path / "tables")
    cases = held_out_cases(data, TEST, "new_to_user")
    assert len(cases) == len(test)
    for place, (user, end) in enumerate(cases.pairs):
        name = int(data.user_ids[user])
        known = {int(data.items.ids[row]) for row in data.history(user, end).rows}
        wanted = {int(data.items.ids[row]) for row in cases.targets_of(place)}
        assert (known, wanted) == ({*train[name]}, {*test[name]})


def test_a_file_of_validation_pairs_leaves_training_alone(tmp_path):
    train, test = lightgcn()
    valid = {user: of[:2] for user, of in train.items()}
    train = {user: of[2:] for user, of in train.items()}
    recipe, _, told = built(
        tmp_path,
        LIGHTGCN + 'valid = "valid.txt"\n',
        train__txt=written(train),
        valid__txt=written(valid),
        test__txt=written(test),
    )
    data = load_dataset(recipe, tmp_path / "tables")
    assert pairs_of(data, VALID) == as_texts(valid)
    assert pairs_of(data, TRAIN) == as_texts(train)
    assert told == []


def rows(*words, users=3):
    lines = [f"u{user},i{n},{words[n % len(words)]}" for user in range(users) for n in range(9)]
    return "user,item,set\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "words", [("train", "valid", "test"), ("Training", "dev", "TEST"), ("0", "1", "2")]
)
def test_a_column_of_words_or_numbers_says_the_fold(tmp_path, words):
    recipe, _, _ = built(tmp_path, COLUMN, i__csv=rows(*words))
    data = load_dataset(recipe, tmp_path / "tables")
    for fold in (TRAIN, VALID, TEST):
        expected = {(f"u{user}", f"i{n}") for user in range(3) for n in range(fold, 9, 3)}
        assert pairs_of(data, fold) == expected


def test_another_word_costs_its_row(tmp_path):
    text = rows("train", "valid", "test") + "u0,i1,trial\n"
    _, report, _ = built(
        tmp_path, COLUMN.replace("[columns]", "max_bad_share = 0.1\n[columns]"), i__csv=text
    )
    assert report.reasons == {"interactions: split is not train, valid or test": 1}


def test_pairs_on_both_sides_are_told(tmp_path):
    text = rows("train", "valid", "test") + "u0,i0,test\n"
    _, _, told = built(tmp_path, COLUMN, i__csv=text)
    assert told == [
        "1 held-out pairs of user and item are in the training interactions too; they are no cases "
        "of new items"
    ]


def test_tables_of_another_split_are_refused_by_name(tmp_path):
    built(tmp_path, COLUMN, i__csv=rows("train", "valid", "test"))
    other = COLUMN.replace('kind = "given"\ncolumn = "set"', 'kind = "random"')
    built(tmp_path, other, i__csv=rows("train", "valid", "test"))
    (tmp_path / "r.toml").write_text(COLUMN)
    with pytest.raises(TableInvalidError, match="Run `pocketrec data` again"):
        load_dataset(load_recipe(tmp_path / "r.toml"), tmp_path / "tables")


def test_a_split_without_test_rows_is_refused(tmp_path):
    recipe, _, _ = built(tmp_path, COLUMN, i__csv=rows("train", "valid"))
    data = load_dataset(recipe, tmp_path / "tables")
    with pytest.raises(RunInvalidError, match="leaves no test case"):
        check_split(recipe, data, "tables")


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"kind": "given"}, "needs split.column"),
        ({"kind": "given", "column": "set", "test": "t.csv"}, "needs split.column"),
        ({"kind": "given", "column": "set", "valid": "v.csv"}, "split.valid is a file"),
        ({"kind": "random", "column": "set"}, 'needs split.kind = "given"'),
    ],
)
def test_keys_that_do_not_fit_are_refused(split, words):
    recipe = {"name": "x", "data": {"interactions": "i.csv"}, "split": split}
    with pytest.raises(RecipeInvalidError, match=words):
        parse_recipe(json.loads(json.dumps(recipe)), "r.toml")
