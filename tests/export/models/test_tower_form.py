"""The exported form of the user tower answers as the Keras model, and carries no table by pairs."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

import keras
import onnx
from tensorflow.lite.tools import flatbuffer_utils

from pocketrec_bundle.features import FeatureSpec
from pocketrec_export.models.convert import as_function, convert, run_keras, tower_signature
from pocketrec_export.models.tower_form import exported_form
from pocketrec_training.recipe.schema import RetrievalConfig
from pocketrec_training.towers.user_tower import build_user_tower
from pocketrec_training.warm_start.align import rotated_user_tower

LENGTH, DIM = 40, 32
SPEC = FeatureSpec(
    dim=DIM,
    max_history=LENGTH,
    event_types=("rating", "like"),
    categories=("a",),
    max_categories=1,
    heads=("engage",),
    head_weights=(1.0,),
    candidates=10,
)
SIGNATURE = tower_signature(SPEC)


def tower(attention: str, positions: str, blocks: int) -> keras.Model:
    """A tower whose weights, its biases by distance above all, are far from their small start."""
    settings: dict[str, Any] = {"attention": attention, "positions": positions, "blocks": blocks}
    keras.utils.set_random_seed(blocks)
    model = build_user_tower(RetrievalConfig(dim=DIM, heads=4, **settings), SPEC)
    rng = np.random.default_rng(3)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.2 * rng.normal(size=variable.shape))
    return model


def inputs(n: int, *, ends: bool = False) -> dict:
    """A history of n events; ends: values after its end too, which nothing may depend on."""
    rng = np.random.default_rng(n)
    keep = np.arange(LENGTH) < (LENGTH if ends else n)
    vectors = rng.normal(size=(1, LENGTH, DIM)) * keep[None, :, None]
    return {
        "history_vectors": vectors.astype(np.float32),
        "history_events": (rng.integers(1, 3, (1, LENGTH)) * keep).astype(np.int32),
        "history_ages_s": (np.sort(rng.uniform(0, 1e8, LENGTH))[::-1] * keep)[None].astype("f4"),
        "history_length": np.array([n], np.int32),
    }


CASES = [inputs(n) for n in (0, 1, 2, 17, LENGTH - 1, LENGTH)] + [inputs(5, ends=True)]


@pytest.mark.parametrize(
    ("attention", "positions", "blocks"),
    [
        ("softmax", "absolute", 2),
        ("softmax", "both", 1),
        ("gated", "relative", 3),
        ("gated", "both", 2),
        ("hstu", "absolute", 1),
        ("hstu", "relative", 2),
    ],
)
def test_answers_as_the_keras_model(attention, positions, blocks):
    model = tower(attention, positions, blocks)
    truth = as_function(model, SIGNATURE)
    form = as_function(exported_form(model), SIGNATURE)
    for one in CASES:
        assert np.abs(run_keras(form, one) - run_keras(truth, one)).max() <= 1e-5


def test_a_rotated_tower_keeps_its_rotation():
    matrix = np.linalg.qr(np.random.default_rng(1).normal(size=(DIM, DIM)))[0].astype(np.float32)
    model = rotated_user_tower(tower("gated", "relative", 2), matrix)
    truth = as_function(model, SIGNATURE)
    form = as_function(exported_form(model), SIGNATURE)
    for one in CASES:
        assert np.abs(run_keras(form, one) - run_keras(truth, one)).max() <= 1e-5


def test_other_models_stay_as_they_are():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert exported_form(model) is model


@pytest.mark.parametrize("positions", ["absolute", "both", "none"])
def test_no_file_holds_a_table_by_pairs_of_places(positions):
    files = convert(tower("gated", positions, 2), SIGNATURE, ("fp32",))
    by_engine = {made.engine: made.data for made in files}
    shapes = [list(t.dims) for t in onnx.load_from_string(by_engine["onnx"]).graph.initializer]
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(by_engine["litert"]))
    shapes += [
        tensor.shape.tolist()
        for tensor in model.subgraphs[0].tensors
        if tensor.shape is not None and model.buffers[tensor.buffer].data is not None
    ]
    assert [DIM, 2 * DIM] in shapes or [2 * DIM, DIM] in shapes  # weights were found
    assert not [shape for shape in shapes if sum(size > LENGTH for size in shape) > 1]
