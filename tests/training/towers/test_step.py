import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.quantize import quantize_rows
from pocketrec_training.recipe.schema import RetrievalConfig
from pocketrec_training.towers.item_content import item_inputs
from pocketrec_training.towers.schedule import learning_rate
from pocketrec_training.towers.sequences import batches
from pocketrec_training.towers.step import TowerFit, int8_rows, nearest_items
from pocketrec_training.towers.user_tower import build_user_tower

SPEC = FeatureSpec(
    dim=8,
    max_history=6,
    event_types=("rating", "like"),
    categories=("a",),
    max_categories=1,
    heads=("engage",),
    head_weights=(1.0,),
    candidates=5,
)
KINDS = [
    ("softmax", "absolute"),
    ("softmax", "both"),
    ("gated", "relative"),
    ("hstu", "relative"),
]


@pytest.fixture(params=KINDS, ids=["-".join(k) for k in KINDS])
def states(request):
    """The tower's layer with weights large enough that a leak would show."""
    keras.utils.set_random_seed(2)
    attention, positions = request.param
    config = RetrievalConfig(dim=8, max_history=6, attention=attention, positions=positions)
    layer = build_user_tower(config, SPEC).get_layer("tower")
    rng = np.random.default_rng(0)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(0, 0.3, weight.shape).astype(np.float32))
    return layer


def history(length, n=2):
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(n, 6, 8)).astype(np.float32)
    events = rng.integers(1, 3, (n, 6)).astype(np.int32)
    ages = np.sort(rng.uniform(0, 1e5, (n, 6)))[:, ::-1].astype(np.float32)
    return vectors[:, :length], events[:, :length], ages[:, :length]


def test_every_state_depends_on_earlier_events_only(states):
    one = np.asarray(states(*history(6)))
    vectors, events, ages = history(6)
    vectors, events, ages = vectors.copy(), 3 - events, ages.copy()
    vectors[:, :4], events[:, :4] = history(6)[0][:, :4], history(6)[1][:, :4]
    vectors[:, 4:] += 1.0
    ages[:, 4:] = 0.0
    two = np.asarray(states(vectors, events, ages))
    np.testing.assert_allclose(one[:, :5], two[:, :5], atol=1e-5)
    assert np.abs(one[:, 5:] - two[:, 5:]).max() > 1e-2


def test_a_shorter_batch_gives_the_same_states(states):
    whole, part = np.asarray(states(*history(6))), np.asarray(states(*history(3)))
    np.testing.assert_allclose(whole[:, :4], part, atol=1e-5)


def test_order_matters(states):
    vectors, events, ages = history(6)
    turned = vectors[:, [0, 1, 2, 4, 3, 5]]
    changed = np.asarray(states(turned, events, ages)) - np.asarray(states(*history(6)))
    assert np.abs(changed[:, 6]).max() > 1e-4  # float noise is below 1e-5


def test_rounding_is_that_of_the_index_and_lets_gradients_pass():
    table = np.random.default_rng(1).normal(size=(20, 8)).astype(np.float32)
    table[3] = 0.0
    rows, scales = quantize_rows(table)
    with tf.GradientTape() as tape:
        variable = tf.Variable(table)
        rounded = int8_rows(variable)
        total = tf.reduce_sum(rounded * 2.0)
    np.testing.assert_allclose(rounded, rows * scales[:, None], atol=1e-6)
    np.testing.assert_allclose(tape.gradient(total, variable), np.full((20, 8), 2.0))


def test_learning_rate_rises_then_falls():
    config = RetrievalConfig(learning_rate=1.0, warmup=0.1)
    rates = [learning_rate(config, done) for done in np.linspace(0, 1, 101)]
    assert np.argmax(rates) == 10
    assert rates[0] == 0.0
    assert rates[-1] == pytest.approx(0.02)
    assert (np.diff(rates[10:]) <= 0).all()
    flat = dataclasses.replace(config, schedule="constant")
    assert {learning_rate(flat, done) for done in (0.0, 0.5, 1.0)} == {1.0}


def test_nearest_items_are_those_of_plain_loops():
    table = np.random.default_rng(4).normal(size=(30, 5)).astype(np.float32)
    found = nearest_items(table, 3, part=7)
    for i, row in enumerate(table):
        cosine = [
            -9.0 if j == i else row @ other / np.linalg.norm(row) / np.linalg.norm(other)
            for j, other in enumerate(table)
        ]
        assert set(found[i].tolist()) == set(np.argsort(cosine)[-3:].tolist())


LOSSES = {
    "softmax": {},
    "sampled": {"negatives": 16, "hard_negatives": 2},
    "gbce": {"negatives": 16},
}


def fitted(world, kind="leave_last", **retrieval):
    """Towers of the small world without dropout, and a batch with padded windows."""
    recipe, spec, data = world
    settings = {"dropout": 0.0, "id_dropout": 0.0, "batch": 8, "quantize_from": 0.5} | retrieval
    recipe = dataclasses.replace(
        recipe,
        retrieval=dataclasses.replace(recipe.retrieval, **settings),
        split=dataclasses.replace(recipe.split, kind=kind),
    )
    keras.utils.set_random_seed(3)
    fit = TowerFit(recipe, spec, data, item_inputs(spec, data.items, 64))
    fit.begin_epoch()
    parts = batches(data, spec.max_history, 8, np.random.default_rng(4), baskets=fit.baskets)
    part = max(parts, key=lambda part: (part.real == 0).sum())
    assert (part.real == 0).sum() > 5
    return fit, part


@pytest.mark.parametrize("kind", ["leave_last", "last_basket"])
@pytest.mark.parametrize("loss", LOSSES)
def test_scoring_real_targets_alone_gives_loss_and_gradients_of_all_places(
    loss, kind, world, uncompiled, monkeypatch
):
    fit, part = fitted(world, kind, loss=loss, **LOSSES[loss])
    every_place = np.arange(part.rows.size, dtype=np.int32)
    real = np.flatnonzero(part.real.ravel()).astype(np.int32)
    found, gradients = [], []
    monkeypatch.setattr(
        fit._optimizer, "apply_gradients", lambda pairs: gradients.append([g for g, _ in pairs])
    )
    with uncompiled():
        for places in (every_place, real, part.places):
            scored = dataclasses.replace(part, places=places)
            found.append(fit.step(scored, 0.3, np.random.default_rng(5)))
    for value, slopes in zip(found[1:], gradients[1:], strict=True):
        assert value == pytest.approx(found[0], rel=1e-5)
        for mine, whole in zip(slopes, gradients[0], strict=True):
            np.testing.assert_allclose(mine, whole, rtol=1e-3, atol=1e-6)
    assert max(float(tf.reduce_max(tf.abs(g))) for g in gradients[0]) > 1e-3


def test_a_shape_has_one_graph_whether_items_are_rounded_or_not(world):
    fit, part = fitted(world)
    for done in (0.2, 0.9):
        assert np.isfinite(fit.step(part, done, np.random.default_rng(5)))
    assert fit._compiled.experimental_get_tracing_count() == 1
    rows, scales = quantize_rows(fit.item_table())
    rounded = fit._item_vectors(None, tf.constant(True))
    np.testing.assert_allclose(rounded, rows * scales[:, None], atol=1e-6)
    np.testing.assert_array_equal(fit._item_vectors(None, tf.constant(False)), fit.item_table())
