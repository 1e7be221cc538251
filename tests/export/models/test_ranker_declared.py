"""Declared features in the ranker's graph, and in its files."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("tensorflow", reason="needs the train extra")

import keras

from pocketrec_bundle.declared import Feature, FittedFeature, FittedFeatures
from pocketrec_bundle.features import NUMERIC, FeatureSpec
from pocketrec_edge.engines.select import open_engine
from pocketrec_export.models.convert import (
    VARIANTS,
    as_function,
    convert,
    ranker_signature,
    run_keras,
)
from pocketrec_export.models.ranker_form import exported_form
from pocketrec_training.ranker.declared_parts import DeclaredParts, settings_of
from pocketrec_training.ranker.model import build_ranker
from pocketrec_training.recipe.schema import RankerConfig

N = 32
SPEC = FeatureSpec(
    dim=8,
    max_history=4,
    event_types=("rating",),
    categories=("a", "b", "c"),
    max_categories=2,
    heads=("engage", "like"),
    head_weights=(1.0, 0.5),
    candidates=N,
    numeric=NUMERIC,
    neighbours=1,
)


def _number(name, edges, **options):
    return FittedFeature(
        name=name, feature=Feature(kind="number", ranker=True, **options), edges=edges
    )


FEATURES = FittedFeatures(
    items=(
        FittedFeature(
            name="brand",
            feature=Feature(kind="category", hash_buckets=3, embedding=5, ranker=True),
            names=("x", "y"),
        ),
        FittedFeature(name="image", feature=Feature(kind="vector", length=6, ranker=True)),
        _number("margin", (-9.0, -1.0, 0.0, 1.0, 2.0, 50.0)),
        _number("sold", (0.0, 1.0, 2.0, 6.0), log=True, clip=(0.0, 1000.0)),
        FittedFeature(name="new", feature=Feature(kind="flag", ranker=True)),
        FittedFeature(
            name="tags", feature=Feature(kind="categories", most=3, ranker=True), names=("p", "q")
        ),
    )
)


def _inputs(seed, features=FEATURES):
    rng = np.random.default_rng(seed)
    found = {}
    for name, (shape, dtype) in ranker_signature(SPEC, features).inputs.items():
        value: NDArray[Any] = rng.normal(size=shape)
        if name == "item_categories":
            value = rng.integers(0, 4, shape)
        elif name == "item_codes":
            value = rng.integers(0, [6, 3, 3, 3], shape)
        elif name == "item_numbers":
            n = shape[1] // 2
            known = rng.random((N, n)) < 0.8
            values = value[:, :n] * [5, 300, 1]
            value = np.concatenate([np.where(known, values, 0.0), known], axis=1)
        elif name in ("item_numeric", "context", "pair"):
            value = np.abs(value) * 3
        found[name] = value.astype(dtype.as_numpy_dtype)
    return found


def _ranker(seed, features=FEATURES, config=None):
    rng = np.random.default_rng(seed)
    model = build_ranker(config or RankerConfig(), SPEC, features)
    for variable in model.trainable_variables:
        variable.assign(0.3 * rng.normal(size=variable.shape))
    raw = keras.Model(model.inputs, model.get_layer("pieces").input)
    signature = ranker_signature(SPEC, features)
    sample = np.concatenate(
        [run_keras(as_function(raw, signature), _inputs(s, features)) for s in range(8)]
    )
    pieces = model.get_layer("pieces")
    pieces.fit(sample)
    model.get_layer("standard").fit(np.asarray(pieces(sample)))
    return model


def test_numbers_are_clipped_scaled_and_0_where_unknown():
    layer = DeclaredParts(**settings_of(FEATURES))
    # Margin 3, unknown, -9; sold e - 1, 5000 and unknown; the flag 1, 0, unknown.
    values = np.array([[3, np.e - 1, 1], [0, 5000, 0], [-9, 0, 0]], np.float32)
    known = np.array([[1, 1, 1], [0, 1, 1], [1, 0, 0]], np.float32)
    found = np.asarray(layer.scaled(np.hstack([values, known])))
    # Edges 1 and 4 of margin are 1/8 and 7/8 of its range, edge 2 the middle: (3 - 0) / (2 + 1).
    # Sold is log(1 + number) first; 5000 is clipped to 1000. Edges 0 and 3; the middle is edge 2.
    sold = [(1 - 2) / 6, (np.log(1001) - 2) / 6]
    assert found[:, :3] == pytest.approx(
        np.array([[1, sold[0], 1], [0, sold[1], 0], [-3, 0, 0]]), abs=1e-5
    )
    assert found[:, 3:].tolist() == known.tolist()


def test_names_have_the_mean_of_their_vectors_and_unknown_ones_0():
    layer = DeclaredParts(**settings_of(FEATURES))
    layer.build()
    rng = np.random.default_rng(2)
    for table in (*layer.tables, *layer.kernels):
        table.assign(rng.normal(size=table.shape))
    codes = np.array([[0, 0, 0, 0], [4, 2, 1, 0]], np.int32)
    images = rng.normal(size=(2, 6)).astype(np.float32)
    found = np.asarray(layer.learned(codes, images))
    brand, tags = (np.asarray(one) for one in layer.tables)
    assert found[0, :13].tolist() == [0] * 13
    assert found[1, :5] == pytest.approx(brand[4])
    assert found[1, 5:13] == pytest.approx((tags[1] + tags[2]) / 2)
    assert found[:, 13:] == pytest.approx(images @ np.asarray(layer.kernels[0]), abs=1e-5)


def test_the_ranker_is_saved_and_loaded_with_its_features(tmp_path):
    model = _ranker(1)
    model.save(tmp_path / "ranker.keras")
    loaded = keras.models.load_model(tmp_path / "ranker.keras")
    signature, one = ranker_signature(SPEC, FEATURES), _inputs(3)
    first, second = (run_keras(as_function(each, signature), one) for each in (model, loaded))
    assert first.tolist() == second.tolist()


@pytest.mark.parametrize("blend", [False, True])
def test_the_exported_form_answers_as_the_keras_model(blend):
    model = _ranker(2, config=RankerConfig(blend=blend))
    signature = ranker_signature(SPEC, FEATURES)
    truth, form = (as_function(each, signature) for each in (model, exported_form(model)))
    for seed in range(10, 14):
        one = _inputs(seed)
        wanted = run_keras(truth, one)
        assert wanted.std(axis=0).min() > 1e-3
        assert np.abs(run_keras(form, one) - wanted).max() <= 1e-5


@pytest.mark.parametrize("place", range(len(FEATURES.items)))
def test_every_feature_alone_changes_the_answers(place):
    features = FittedFeatures(items=(FEATURES.items[place],))
    signature = ranker_signature(SPEC, features)
    (name,) = signature.inputs.keys() - ranker_signature(SPEC).inputs.keys()
    model = build_ranker(RankerConfig(), SPEC, features)
    rng = np.random.default_rng(4)
    for variable in model.trainable_variables:
        variable.assign(0.1 * rng.normal(size=variable.shape))
    shape, dtype = signature.inputs[name]
    base = {n: np.zeros(s, t.as_numpy_dtype) for n, (s, t) in signature.inputs.items()}
    other = base | {name: np.ones(shape, dtype.as_numpy_dtype)}
    for each in (model, exported_form(model)):
        function = as_function(each, signature)
        apart = np.abs(run_keras(function, base) - run_keras(function, other))
        assert apart.max() > 1e-4


def test_all_files_answer_as_the_model(tmp_path):
    model, signature = _ranker(5), ranker_signature(SPEC, FEATURES)
    variants = tuple(dict.fromkeys(v for some in VARIANTS.values() for v in some))
    calibration = [_inputs(seed) for seed in range(30, 46)]
    inputs = [_inputs(seed) for seed in range(50, 54)]
    truth = as_function(model, signature)
    # The largest and the mean error; weights and numbers of 8 bits round more.
    rough = (0.5, 0.03)
    within = {"fp32": (1e-5, 1e-6), "fp16": (0.02, 1e-3)}
    for made in convert(model, signature, variants, calibration):
        path = tmp_path / f"{made.engine}.{made.variant}"
        path.write_bytes(made.data)
        engine = open_engine(path, made.engine)
        for one in inputs:
            apart = np.abs(engine.run(one) - run_keras(truth, one))
            assert np.isfinite(apart).all()
            largest, mean = within.get(made.variant, rough)
            assert apart.max() <= largest and apart.mean() <= mean, (made.engine, made.variant)
