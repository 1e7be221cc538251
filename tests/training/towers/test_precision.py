"""Mixed precision is a matter of the step: it learns as well, and nothing of it is saved."""

import dataclasses

import keras
import numpy as np
import pytest

from pocketrec_export.models.freeze import as_function, freeze, run_keras, tower_signature
from pocketrec_training.towers.fit import fit_towers
from pocketrec_training.towers.item_content import item_inputs
from pocketrec_training.towers.sequences import batches
from pocketrec_training.towers.step import TowerFit
from pocketrec_training.towers.user_tower import build_user_tower

MIXED = {"mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}


def with_retrieval(recipe, **changes):
    return dataclasses.replace(recipe, retrieval=dataclasses.replace(recipe.retrieval, **changes))


@pytest.fixture(scope="module")
def learned(world, tmp_path_factory, uncompiled):
    """The walkers' world, learned in each precision from the same start."""
    recipe, spec, data = world
    folder = tmp_path_factory.mktemp("precision")
    found = {}
    for precision in ("float32", *MIXED):
        keras.utils.set_random_seed(1)
        changed = with_retrieval(
            recipe,
            precision=precision,
            epochs=12,
            batch=16,
            average=0.9,
            learning_rate=0.01,
            quantize_from=1.0,
        )
        with uncompiled():
            found[precision] = fit_towers(changed, spec, data, folder / f"{precision}.npz", 60.0)
    return found


@pytest.mark.parametrize("precision", MIXED)
def test_mixed_precision_learns_about_as_well(precision, learned):
    plain, mixed = learned["float32"].curve, learned[precision].curve
    assert mixed[0]["loss"] != plain[0]["loss"]  # it did compute otherwise
    assert plain[-1]["loss"] < 0.85 * plain[0]["loss"]
    # The first steps leave a plateau, where rounding decides a little of when: 3% of the loss here.
    assert mixed[-1]["loss"] == pytest.approx(plain[-1]["loss"], rel=0.06)
    best = [max(point["ndcg10"] for point in curve) for curve in (plain, mixed)]
    assert best[1] > 0.9 * best[0]


@pytest.mark.parametrize("precision", MIXED)
def test_what_is_kept_and_exported_is_float32(precision, learned, world, tmp_path):
    _, spec, _ = world
    fitted = learned[precision]
    weights = [*fitted.user_tower.weights, *fitted.item_tower.weights]
    assert {v.dtype for v in weights} == {"float32"}
    fitted.user_tower.save(tmp_path / "user_tower.keras")
    loaded = keras.models.load_model(tmp_path / "user_tower.keras")
    plain = build_user_tower(world[0].retrieval, spec)
    plain.set_weights(fitted.user_tower.get_weights())
    signature = tower_signature(spec)
    graph = freeze(fitted.user_tower, signature).graph
    made = {tensor.dtype.name for op in graph.get_operations() for tensor in op.outputs}
    assert made <= {"float32", "int32", "int64", "bool"}
    inputs = {
        name: np.ones(shape, dtype.as_numpy_dtype)
        for name, (shape, dtype) in signature.inputs.items()
    }
    one, *others = (
        run_keras(as_function(model, signature), inputs)
        for model in (fitted.user_tower, loaded, plain)
    )
    assert one.dtype == np.float32
    assert all(np.array_equal(other, one) for other in others)


@pytest.mark.parametrize("attention", ["softmax", "gated", "hstu"])
@pytest.mark.parametrize("precision", MIXED)
def test_only_the_products_are_mixed_and_only_in_the_block(precision, attention, world):
    recipe, spec, _ = world
    changed = with_retrieval(recipe, attention=attention)
    states = build_user_tower(changed.retrieval, spec).get_layer("tower")
    rng = np.random.default_rng(0)
    # A year in seconds: float16 ends at 65,504, bfloat16 has 8 bits.
    ages = np.sort(rng.uniform(0, 3e7, (4, 6)))[:, ::-1].astype(np.float32)
    history = rng.normal(size=(4, 6, spec.dim)).astype(np.float32), np.ones((4, 6), int), ages
    before = states(*history)
    with states.computing_in(precision):
        inside = states(*history)
        product = states.mix[0](states.norms[0](history[0]))
    assert product.dtype.name == MIXED[precision]
    assert inside.dtype.name == "float32"
    assert 0 < np.abs(inside - before).max() < 0.1
    assert np.array_equal(states(*history), before)


def test_a_step_that_overflows_is_left_out_and_the_scale_halved(world):
    """This one is compiled, as trainings are."""
    recipe, spec, data = world
    fit = TowerFit(
        with_retrieval(recipe, precision="mixed_float16"),
        spec,
        data,
        item_inputs(spec, data.items, recipe.retrieval.title_buckets),
    )
    (scale,) = [v for v in fit.everything if v.name == "dynamic_scale"]
    rng = np.random.default_rng(0)
    part = next(batches(data, spec.max_history, 16, rng, baskets=False))
    before = [v.numpy() for v in fit.user_tower.trainable_variables]
    scale.assign(2.0**120)
    fit.step(part, 0.5, rng)
    assert float(scale) == 2.0**119
    for variable, value in zip(fit.user_tower.trainable_variables, before, strict=True):
        assert np.array_equal(variable, value)
    scale.assign(2.0**10)
    fit.step(part, 0.5, rng)
    assert float(scale) == 2.0**10
    assert not np.array_equal(fit.user_tower.trainable_variables[0], before[0])
