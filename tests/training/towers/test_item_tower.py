import keras
import numpy as np
import pytest

from pocketrec_training.towers.item_content import MAX_TITLE_TOKENS
from pocketrec_training.towers.item_tower import ItemTower

N = 4000


@pytest.fixture
def tower():
    keras.utils.set_random_seed(5)
    layer = ItemTower(dim=3, n_items=N, title_buckets=9, n_categories=2, id_dropout=0.25)
    layer(**blank(1))
    return layer


def blank(n):
    return {
        "ids": np.zeros(n, np.int32),
        "tokens": np.zeros((n, MAX_TITLE_TOKENS), np.int32),
        "categories": np.zeros((n, 2), np.int32),
        "years": np.zeros((n, 2), np.int32),
        "price": np.full(n, -1, np.float32),
    }


def test_unknown_content_adds_nothing(tower):
    items = blank(2)
    items["tokens"][0, :3], items["categories"][0, 0] = (4, 9, 2), 1
    items["years"][0], items["price"][0] = (105, 27), 3.5
    assert not np.asarray(tower(**items)).any()


def test_parts_are_summed_over_the_root_of_their_number(tower):
    table = np.arange(30, dtype=np.float32).reshape(10, 3)
    tower.token_table.embeddings.assign(table)
    tower.category_table.embeddings.assign(table[:3])
    items = blank(2)
    items["tokens"][0, :4] = (1, 2, 3, 4)
    items["tokens"][1, 0], items["categories"][1, 0] = 5, 2
    found = np.asarray(tower(**items))
    assert np.allclose(found[0], table[1:5].sum(0) / 2)
    assert np.allclose(found[1], table[5] + table[2])


def test_rare_words_weigh_more_and_words_of_one_item_nothing(tower):
    inputs = blank(4)
    items = inputs["tokens"]
    items[:, 0] = 1  # of all: log(5 / 5) = 0
    items[:2, 1:3] = 2  # of two, twice each: log(5 / 3)
    items[3, 1] = 3  # of one
    tower.weigh_tokens(inputs)
    assert np.allclose(np.asarray(tower.token_weights)[1:4], [0, np.log(5 / 3), 0])
    tower.token_table.embeddings.assign(np.eye(10, 3, k=-2, dtype=np.float32))  # 2 is along x
    query = blank(2)
    query["tokens"][0, :3], query["tokens"][1, :2] = (1, 2, 3), (1, 3)
    assert np.allclose(tower(**query), [[1, 0, 0], [0, 0, 0]])


def test_near_prices_have_near_vectors_and_no_price_has_none(tower):
    rng = np.random.default_rng(0)
    tower.price_dense.kernel.assign(rng.normal(size=tower.price_dense.kernel.shape))
    items = blank(4)
    items["price"] = np.array([2.0, 2.1, 40.0, -1.0], np.float32)
    found = np.asarray(tower(**items))
    near, far = np.linalg.norm(found[0] - found[1]), np.linalg.norm(found[0] - found[2])
    assert near < 0.3 * far
    assert not found[3].any()


def test_ids_are_dropped_item_by_item_and_anew_each_step(tower):
    items = blank(N)
    items["ids"] = np.arange(1, N + 1, dtype=np.int32)
    whole = np.asarray(tower(**items))
    assert whole.any(axis=1).all()
    steps = [np.asarray(tower(**items, training=True)).any(axis=1) for _ in range(2)]
    for kept in steps:
        assert abs(kept.mean() - 0.75) < 0.05  # a standard deviation is .007
    assert abs((steps[0] & steps[1]).mean() - 0.75**2) < 0.05


def test_saved_tower_answers_the_same(tower, tmp_path):
    inputs = {
        name: keras.Input(a.shape[1:], dtype=str(a.dtype), name=name)
        for name, a in blank(1).items()
    }
    keras.Model(inputs, tower(**inputs)).save(tmp_path / "tower.keras")
    again = keras.models.load_model(tmp_path / "tower.keras")
    items = blank(2)
    items["ids"] = np.array([7, 0], np.int32)
    assert np.allclose(again(items), tower(**items))
