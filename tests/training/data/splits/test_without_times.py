"""Tables without times: a seeded split by user, and no input that times or order change."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

import keras

from pocketrec_bundle.features import History, tower_inputs
from pocketrec_bundle.ranker_features import ItemColumns, Request, ranker_features
from pocketrec_training.data.dataset import TEST, TRAIN, VALID, load_dataset
from pocketrec_training.data.features.columns import feature_spec
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.data.splits.check import check_split
from pocketrec_training.errors import RecipeInvalidError, RunInvalidError
from pocketrec_training.recipe.load import parse_recipe
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.towers.sequences import batches
from pocketrec_training.towers.user_tower import build_user_tower

N_USERS, N_ITEMS = 20, 10


def recipe(**changes: object) -> Recipe:
    value = {
        "name": "t",
        "data": {"interactions": "i.csv"},
        "columns": {"user": "user", "item": "item", "timestamp": ""},
        "events": {"types": ["rating"]},
        "split": {"kind": "random", "valid_share": 0.2, "test_share": 0.3},
        "retrieval": {"dim": 4, "blocks": 1, "heads": 1, "max_history": 8},
        "neighbours": {"per_item": 2, "kind": "next"},
        "ranker": {"popularity_days": [7], "candidates": 100},
        "rerank": {"repeats": True, "slate": 5},
    }
    return parse_recipe({**value, **changes}, "t.toml")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """(folder, data): 20 users with 10 items each, and one with 2."""
    folder = tmp_path_factory.mktemp("timeless")
    lines = [f"u{u:02},i{i}" for u in range(N_USERS) for i in range(N_ITEMS)]
    (folder / "i.csv").write_text("\n".join(["user,item", *lines, "few,i1", "few,i2"]))
    report = build_tables(recipe(), folder / "data", folder)
    assert (report.first_ts, report.last_ts, report.time) == (0, 0, None)
    return folder, load_dataset(recipe(), folder / "data")


def test_shares_of_each_users_items_are_held_out(loaded):
    data = loaded[1]
    for user, name in enumerate(data.user_ids):
        fold = data.fold[data.offsets[user] : data.offsets[user + 1]]
        expected = [5, 2, 3] if name != "few" else [2, 0, 0]
        assert [int((fold == each).sum()) for each in (TRAIN, VALID, TEST)] == expected
        assert fold.tolist() == sorted(fold)  # held-out events are at the end
    check_split(recipe(), data, "data")


def test_draw_depends_on_the_seed_alone(loaded):
    folder, data = loaded
    again = load_dataset(recipe(), folder / "data")
    other = load_dataset(recipe(seed=8), folder / "data")
    np.testing.assert_array_equal(again.rows, data.rows)
    assert (other.rows != data.rows).any()


def test_popularity_with_a_half_life_is_that_without(loaded):
    data = loaded[1]
    np.testing.assert_array_equal(data.popularity(7.0), data.popularity())


def test_settings_of_order_are_off():
    found = recipe()
    assert found.retrieval.positions == "none"
    assert found.neighbours.kind == "together"
    assert found.ranker.popularity_days == ()


@pytest.mark.parametrize("kind", ["leave_last", "global_time", "last_basket"])
def test_split_in_time_without_times_is_refused_and_names_the_one_that_fits(kind):
    with pytest.raises(RecipeInvalidError, match=r'columns\.timestamp.*split\.kind = "random"'):
        recipe(split={"kind": kind})


def test_equal_times_are_refused_with_the_random_split_named(tmp_path):
    lines = [f"u{u},i{i},1600000000" for u in range(9) for i in range(6)]
    (tmp_path / "i.csv").write_text("\n".join(["user,item,time", *lines]))
    columns = {"user": "user", "item": "item", "timestamp": "time"}
    given = recipe(columns=columns, split={"kind": "leave_last"})
    build_tables(given, tmp_path / "data", tmp_path)
    data = load_dataset(given, tmp_path / "data")
    with pytest.raises(RunInvalidError, match=r'"random" \(without times, 9 validation and 9 test'):
        check_split(given, data, "data")
    # The times are there, and a random split leaves them alone.
    drawn = load_dataset(replace(given, split=recipe().split), tmp_path / "data")
    assert drawn.ts.min() == 1_600_000_000


def test_each_epoch_reads_the_training_items_in_a_new_order(loaded):
    data = loaded[1]
    epochs = []
    for seed in (1, 2):
        parts = batches(data, 8, 64, np.random.default_rng(seed), shuffles=True)
        windows = [row for part in parts for row, real in zip(part.rows, part.real, strict=True)]
        epochs.append(sorted(tuple(row) for row in windows))
    assert epochs[0] != epochs[1]
    assert sorted(map(sorted, epochs[0])) == sorted(map(sorted, epochs[1]))


def test_a_phone_whose_events_have_times_computes_the_same(loaded):
    data = loaded[1]
    given = recipe()
    spec = feature_spec(given, data.items)
    keras.utils.set_random_seed(3)
    tower = build_user_tower(given.retrieval, spec)
    rng = np.random.default_rng(3)
    table = rng.normal(size=(N_ITEMS, 4)).astype(np.float32)
    columns = ItemColumns(
        np.zeros((N_ITEMS, spec.max_categories), np.int32),
        np.zeros((N_ITEMS, len(spec.numeric)), np.float32),
    )
    spec = replace(spec, pair=tuple(n for n in spec.pair if not n.startswith("neighbour")))
    rows = np.array([4, 1, 7], np.int32)
    answers = []
    for ts, now in (([5, 5, 5], 6), ([1_600_000_000, 1_600_090_000, 1_700_000_000], 1_700_009_999)):
        history = History(rows, np.zeros(3, np.int32), np.array(ts, np.int64))
        inputs = tower_inputs(spec, history, table[rows], now)
        vector = keras.ops.convert_to_numpy(tower(inputs))
        request = Request(history, now, vector, table[rows])
        features = ranker_features(spec, columns, request, np.arange(9), table[:9])
        answers.append((vector, features))
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    for name, value in answers[0][1].items():
        np.testing.assert_array_equal(value, answers[1][1][name], err_msg=name)
