import tracemalloc

import numpy as np
import pytest

pytest.importorskip("duckdb", reason="needs the train extra")

import pyarrow as pa
import pyarrow.parquet as pq

from pocketrec_bundle.items.catalogue import MAX_ID
from pocketrec_training.data import columns as col
from pocketrec_training.data.dataset import Items, load_dataset
from pocketrec_training.data.features.columns import feature_spec
from pocketrec_training.errors import RecipeInvalidError, TableInvalidError
from pocketrec_training.recipe.load import parse_recipe


@pytest.mark.parametrize(
    ("section", "key", "most"),
    [("retrieval", "dim", 1024), ("ranker", "candidates", 8192), ("ranker", "recent", 256)],
)
def test_what_no_device_would_take_is_refused_before_training(section, key, most):
    unknown = np.full(3, -1, np.float32)
    items = Items(
        ids=["a", "b", "c"],
        titles=["A", "B", "C"],
        categories=[("x",), (), ("y", "x")],
        price=unknown,
        year=unknown,
    )

    def spec(value):
        given = {"name": "big", "data": {"dataset": "d"}, section: {key: value}}
        return feature_spec(parse_recipe(given, "big.toml"), items)

    assert getattr(spec(most), key) == most
    with pytest.raises(RecipeInvalidError, match=rf"{key}: .*less than or equal to {most}"):
        spec(2 * most)


def written(folder, ids: list[str], events: int):
    """Write tables of so many events of users and items with these ids, in turns."""
    folder.mkdir()
    count, numbers = len(ids), range(events)
    interactions = {
        col.USER_ID: [ids[n % count] for n in numbers],
        col.ITEM_ID: [ids[(n * 7 + n // count) % count] for n in numbers],
        col.EVENT: ["rating"] * events,
        col.VALUE: [1.0] * events,
        col.TS: list(numbers),
    }
    unknown = pa.nulls(count, pa.float64())
    items = {col.ITEM_ID: ids, col.TITLE: ids, col.CATEGORIES: [""] * count}
    pq.write_table(pa.table(interactions), folder / col.INTERACTIONS_FILE)
    items |= {col.PRICE: unknown, col.YEAR: unknown}
    pq.write_table(pa.table(items), folder / col.ITEMS_FILE)
    return folder


def recipe():
    return parse_recipe({"name": "t", "data": {"interactions": "i.csv"}}, "t.toml")


def test_users_and_items_are_in_the_order_of_their_code_points(tmp_path):
    ids = ["b", "a", "é", "\uffff", "\U0001f600", "B", "a b", "a0", "0"]
    data = load_dataset(recipe(), written(tmp_path / "data", ids, 200))
    assert data.user_ids == data.items.ids == sorted(ids)
    assert np.diff(data.offsets).tolist() == [
        len(range(ids.index(one), 200, len(ids))) for one in sorted(ids)
    ]


def test_one_long_id_takes_no_more_memory_than_its_letters(tmp_path):
    """Numpy's arrays of texts pad every id: 2,000,000 events took 6.5 GB for .8."""
    peaks = []
    for longest in (10, MAX_ID):
        ids = ["x" * longest, *(f"u{n}" for n in range(999))]
        folder = written(tmp_path / str(longest), ids, 30_000)
        load_dataset(recipe(), folder)  # what is imported and kept once
        tracemalloc.start()
        load_dataset(recipe(), folder)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_more_hard_negatives_than_other_items_are_refused():
    unknown = np.full(3, -1, np.float32)
    ids = ["a", "b", "c"]
    items = Items(ids=ids, titles=ids, categories=[()] * 3, price=unknown, year=unknown)

    def spec(hard):
        retrieval = {"loss": "sampled", "hard_negatives": hard}
        given = {"name": "t", "data": {"dataset": "d"}, "retrieval": retrieval}
        return feature_spec(parse_recipe(given, "t.toml"), items)

    assert spec(2).dim == 64
    told = r"retrieval\.hard_negatives: 3 .* there are 3 items\. Set it to at most 2"
    with pytest.raises(RecipeInvalidError, match=told):
        spec(3)


def test_tables_with_events_of_another_recipe_are_refused(tmp_path):
    folder = written(tmp_path / "data", ["a", "b"], 6)
    events = {"default": "view", "types": ["view", "like"]}
    other = parse_recipe({"name": "t", "data": {"interactions": "i"}, "events": events}, "t")
    told = (
        r"interactions\.parquet: has the event types 'rating', but .* has 'like', 'view'\. "
        "Run `pocketrec data` again"
    )
    with pytest.raises(TableInvalidError, match=told):
        load_dataset(other, folder)


def test_tables_that_do_not_belong_together_or_are_damaged_are_refused(tmp_path):
    folder, fewer = (
        written(tmp_path / name, ids, 6) for name, ids in (("two", ["a", "b"]), ("one", ["a"]))
    )
    items, interactions = folder / col.ITEMS_FILE, folder / col.INTERACTIONS_FILE
    items.write_bytes((fewer / col.ITEMS_FILE).read_bytes())
    with pytest.raises(TableInvalidError, match=r"1 items are not in items\.parquet, such as 'b'"):
        load_dataset(recipe(), folder)
    interactions.write_bytes(items.read_bytes())
    with pytest.raises(TableInvalidError, match=r"interactions\.parquet: no column 'user_id'"):
        load_dataset(recipe(), folder)
    interactions.write_bytes(interactions.read_bytes()[:-20])
    with pytest.raises(TableInvalidError, match=r"interactions\.parquet: damaged .* again"):
        load_dataset(recipe(), folder)
