from dataclasses import replace

import keras
import numpy as np
import pytest

from pocketrec_bundle.declared import Feature, FittedFeature, FittedFeatures
from pocketrec_training.saved_model import load_model
from pocketrec_training.towers.feature_inputs import MAX_TEXT_WORDS, feature_inputs, input_sizes
from pocketrec_training.towers.item_content import item_inputs
from pocketrec_training.towers.item_tower import build_item_tower
from pocketrec_training.towers.word_codes import word_codes

NAN = np.nan
DECLARED = FittedFeatures(
    items=(
        FittedFeature(name="about", feature=Feature(kind="text", hash_buckets=64)),
        FittedFeature(name="brand", feature=Feature(kind="category"), names=("a", "b")),
        FittedFeature(name="image", feature=Feature(kind="vector", length=2)),
        FittedFeature(name="is_new", feature=Feature(kind="flag")),
        FittedFeature(
            name="stock", feature=Feature(kind="number", missing=5), edges=(0.0, 4.0, 8.0)
        ),
        FittedFeature(name="weight", feature=Feature(kind="number"), edges=(0.0, 1.0)),
        FittedFeature(name="tags", feature=Feature(kind="categories", most=2), names=("t",)),
    )
)
VALUES = {
    "about": np.array(["red lamp", "red box", ""], object),
    "brand": np.array(["b", "", "z"], object),
    "image": np.array([[3, 4], [NAN, NAN], [0, 0]], np.float32),
    "is_new": np.array([1, 0, NAN], np.float32),
    "stock": np.array([2, 5, 100], np.float32),
    "weight": np.array([0.25, NAN, -7], np.float32),
    "tags": np.array(["t|u", "", "u"], object),
}


@pytest.fixture
def items(world):
    return replace(world[2].items.pick([0, 1, 2]), features=VALUES)


def test_each_kind_has_its_input(items):
    found = feature_inputs(DECLARED, items)
    words = [word_codes(text, 64, MAX_TEXT_WORDS) for text in VALUES["about"]]
    assert [[c for c in row if c] for row in found["feature_about"].tolist()] == words
    assert [len(row) for row in words] == [3, 3, 0]
    assert found["feature_brand"].tolist() == [[2], [0], [0]]
    assert np.allclose(found["feature_image"], np.array([[0.6, 0.8], [0, 0], [0, 0]]))
    assert found["feature_is_new"].tolist() == [[1, 1], [1, 0], [0, 0]]
    assert found["feature_stock"].tolist() == [[1, 0.5, 0], [1, 1, 0.25], [1, 1, 1]]
    assert found["feature_weight"].tolist() == [[1, 0.25], [0, 0], [1, 0]]
    assert found["feature_tags"].tolist() == [[1, 0], [0, 0], [0, 0]]
    widths = {name: array.shape[1] for name, array in found.items()}
    assert widths == {name: width for name, (width, _) in input_sizes(DECLARED).items()}


def test_items_without_features_are_unknown(items):
    found = feature_inputs(DECLARED, replace(items, features={}))
    stock = found.pop("feature_stock")
    assert stock.tolist() == [[1, 1, 0.25]] * 3  # the declared value in place of a missing one
    assert not any(array.any() for array in found.values())


def test_features_add_to_the_item_s_vector_and_survive_the_file(world, items, tmp_path):
    recipe, spec, _ = world
    keras.utils.set_random_seed(1)
    tower = build_item_tower(recipe.retrieval, spec, 3, DECLARED)
    inputs = item_inputs(spec, items, recipe.retrieval.title_buckets, DECLARED, known=False)
    assert not np.asarray(tower(inputs)).any()  # parts start at 0
    layer = tower.get_layer("tower")
    brand = np.arange(3 * spec.dim, dtype=np.float32).reshape(3, -1)
    layer.feature_brand.embeddings.assign(brand)
    layer.feature_image.kernel.assign(np.eye(2, spec.dim, dtype=np.float32))
    expected = np.zeros((3, spec.dim), np.float32)
    expected[0] = brand[2]
    expected[0, :2] += (0.6, 0.8)
    assert np.allclose(np.asarray(tower(inputs)), expected)
    # "red" is in two of three texts, every other token in one, which would be an id.
    layer.weigh_tokens(inputs)
    words = np.zeros((65, spec.dim), np.float32)
    words[inputs["feature_about"][0, 0]] = 1.0
    layer.feature_about.embeddings.assign(words)
    expected[:2] += 1.0
    assert np.allclose(np.asarray(tower(inputs)), expected)
    tower.save(tmp_path / "tower.keras")
    assert np.array_equal(load_model(tmp_path / "tower.keras")(inputs), tower(inputs))
