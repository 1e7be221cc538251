"""The exported form of the ranker answers as the Keras model, and makes the user's half once."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("tensorflow", reason="needs the train extra")

import keras
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.lite.tools import flatbuffer_utils

from pocketrec_bundle.features import (
    CONTEXT,
    NEIGHBOUR_PAIR,
    NUMERIC,
    PAIR,
    REPEAT_PAIR,
    FeatureSpec,
)
from pocketrec_edge.engines.select import open_engine
from pocketrec_export.models.convert import as_function, convert, ranker_signature, run_keras
from pocketrec_export.models.ranker_form import exported_form
from pocketrec_training.ranker import model as ranker
from pocketrec_training.ranker.model import PiecewiseLinearEncoding, build_ranker
from pocketrec_training.recipe.schema import RankerConfig

N = 40
HEADS = ("engage", "like", "buy")


def spec_of(heads: int = 2, dim: int = 8, **changes) -> FeatureSpec:
    made: dict[str, Any] = {
        "dim": dim,
        "max_history": 4,
        "event_types": ("rating",),
        "categories": ("a", "b", "c"),
        "max_categories": 2,
        "heads": HEADS[:heads],
        "head_weights": (1.0,) * heads,
        "candidates": N,
        "neighbours": 1,
    }
    return FeatureSpec(**made | changes)


def ranker_of(config: RankerConfig, spec: FeatureSpec, seed: int, *, bent: bool) -> keras.Model:
    """A ranker with weights far from their start; bent: calibrated by pieces, as isotonic is."""
    rng = np.random.default_rng(seed)
    model = build_ranker(config, spec)
    for variable in model.weights:
        value = 0.3 * rng.normal(size=variable.shape)
        if variable.path.endswith("scale"):
            value = rng.uniform(0.5, 2.0, variable.shape)
        elif variable.path.endswith("slopes"):
            value = np.maximum(value, 0.0) * bent
        elif len(variable.shape) == 2:
            value = value / np.sqrt(variable.shape[0] / 4)
        variable.assign(value)
    standard, pieces = model.get_layer("standard"), model.get_layer("pieces")
    if not isinstance(pieces, PiecewiseLinearEncoding):
        return model
    rate, mean = pieces.rate.numpy().copy(), standard.mean.numpy().copy()
    narrow = rng.random(len(rate)) < 0.3  # pieces without width are 0, and so is their mean
    rate[narrow], mean[len(mean) - len(rate) :][narrow] = 0.0, 0.0
    pieces.rate.assign(rate)
    standard.mean.assign(mean)
    return model


def inputs_of(spec: FeatureSpec, seed: int) -> dict:
    """Ordinary numbers of every size, and -1, 0, 1e9 and denormals among them."""
    rng = np.random.default_rng(seed)
    found = {}
    value: NDArray[Any]
    for name, (shape, dtype) in ranker_signature(spec).inputs.items():
        if name == "item_categories":
            value = rng.integers(0, len(spec.categories) + 1, shape) * rng.integers(0, 2, shape)
        elif name.endswith(("vector", "vectors")):
            value = rng.normal(size=shape)
        else:
            sizes = 10.0 ** rng.uniform(-3, 4, (1, shape[1]))
            value = rng.normal(size=shape) * sizes
            extreme = rng.choice([-1.0, 0.0, 1e9, 1e-42], shape)
            value = np.where(rng.random(shape) < 0.3, extreme, value)
        found[name] = value.astype(dtype.as_numpy_dtype)
    return found


def difference(model: keras.Model, spec: FeatureSpec, seeds: range) -> float:
    signature = ranker_signature(spec)
    truth, form = (as_function(m, signature) for m in (model, exported_form(model)))
    apart = []
    for seed in seeds:
        one = inputs_of(spec, seed)
        wanted = run_keras(truth, one)
        assert wanted.std(axis=0).min() > 1e-3  # items differ, so that agreement says something
        apart.append(np.abs(run_keras(form, one) - wanted).max())
    return max(apart)


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    heads=st.integers(1, 3),
    layers=st.integers(1, 3),
    deep=st.sampled_from([(), (6,), (8, 4)]),
    bent=st.booleans(),
    context=st.permutations(CONTEXT),
    numeric=st.permutations([*NUMERIC, "popularity_7_days", "of_no_form"]),
    pair=st.permutations([*PAIR, *NEIGHBOUR_PAIR, *REPEAT_PAIR]),
    shorter=st.booleans(),
    pieces=st.sampled_from([0, 1, 6]),
    blend=st.booleans(),
)
def test_answers_as_the_keras_model(
    uncompiled, seed, heads, layers, deep, bent, context, numeric, pair, shorter, pieces, blend
):
    if shorter:
        context = [name for name in context if name not in ("recent_price", "hour", "weekday")]
        numeric = numeric[: 1 + max(numeric.index(name) for name in NUMERIC)]
        pair = [name for name in pair if name not in ("taste", *NEIGHBOUR_PAIR, *REPEAT_PAIR)]
    spec = spec_of(heads, context=tuple(context), numeric=tuple(numeric), pair=tuple(pair))
    config = RankerConfig(
        cross_layers=layers, cross_rank=3, deep=deep, ple_bins=pieces, blend=blend
    )
    model = ranker_of(config, spec, seed, bent=bent)
    with uncompiled():  # to trace the graphs takes most of a comparison
        assert difference(model, spec, range(seed, seed + 2)) <= 1e-5


def test_declared_numbers_have_the_same_form():
    spec = spec_of(numeric=(*NUMERIC, "popularity_7_days", "stock", "weight"))
    model = ranker_of(RankerConfig(), spec, 3, bent=True)
    assert difference(model, spec, range(3)) <= 1e-5


def test_other_models_stay_as_they_are():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert exported_form(model) is model


def test_a_ranker_that_learned_nothing_leaves_as_it_is():
    model = build_ranker(RankerConfig(), spec_of())
    assert exported_form(model) is model  # its read-out is 0 still


def test_names_and_shapes_stay_those_of_the_format():
    spec = spec_of()
    model = ranker_of(RankerConfig(), spec, 1, bent=False)
    form = exported_form(model)
    described = [{t.name: (t.shape, t.dtype) for t in m.inputs} for m in (model, form)]
    assert described[0] == described[1]
    assert model.output_shape == form.output_shape == (None, 2)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_files_answer_alike_and_hold_no_users_feature_for_every_item(layers, tmp_path):
    spec = spec_of(dim=32)
    config = RankerConfig(cross_layers=layers, cross_rank=4, ple_bins=1)
    model = ranker_of(config, spec, layers, bent=True)
    one = inputs_of(spec, 5)
    wanted = run_keras(as_function(model, ranker_signature(spec)), one)
    for made in convert(model, ranker_signature(spec), ("fp32",)):
        path = tmp_path / made.engine
        path.write_bytes(made.data)
        assert np.abs(open_engine(path, made.engine).run(one) - wanted).max() <= 1e-5
        if made.engine == "litert":
            graph = flatbuffer_utils.convert_bytearray_to_object(bytearray(made.data)).subgraphs[0]
            shapes = [t.shape.tolist() for t in graph.tensors if t.shape is not None]
    # Two vectors of 32, a content of 8, 11 numbers of the item, 10 of the pair and its share; in
    # training the user's vector and 18 numbers of the context besides. And a piece a number, but
    # none of the four of hour and weekday.
    size, pieces = model.get_layer("standard").mean.shape[0], model.get_layer("pieces").rate.numpy()
    assert (size, len(pieces)) == (93 + 32 + 18 + 35, 35)
    features = 93 + np.count_nonzero(pieces) - np.count_nonzero(pieces[1:15])
    assert max(shape[1] for shape in shapes if len(shape) == 2 and shape[0] == N) == features


def test_a_ranker_trained_before_there_were_pieces_is_exported(monkeypatch):
    no_encoding = keras.layers.Identity(name="pieces")
    monkeypatch.setattr(ranker, "PiecewiseLinearEncoding", lambda **_: no_encoding)
    spec = spec_of()
    model = ranker_of(RankerConfig(vector_gain=1.0), spec, 3, bent=False)
    assert not any(isinstance(layer, PiecewiseLinearEncoding) for layer in model.layers)
    assert difference(model, spec, range(5)) < 2e-5
