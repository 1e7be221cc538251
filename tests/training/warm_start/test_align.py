"""Alignment: the rotation is found, no score changes, and what it saves is measured."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_bundle.features import FeatureSpec
from pocketrec_training.recipe.schema import RetrievalConfig
from pocketrec_training.towers.item_tower import build_item_tower
from pocketrec_training.towers.user_tower import build_user_tower
from pocketrec_training.warm_start.align import (
    delta_bytes,
    measure,
    movement,
    procrustes,
    rotated_item_tower,
    rotated_user_tower,
)

DIM = 8
SPEC = FeatureSpec(
    dim=DIM,
    max_history=6,
    event_types=("rating", "like"),
    categories=("a", "b"),
    max_categories=2,
    heads=("engage",),
    head_weights=(1.0,),
    candidates=5,
)
CONFIG = RetrievalConfig(dim=DIM, blocks=1, title_buckets=16)


def orthogonal(rng, dim=DIM):
    q, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    return q.astype(np.float32)


@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 16), extra=st.integers(0, 30))
@settings(max_examples=30, deadline=None)
def test_a_rotation_is_recovered_exactly(seed, dim, extra):
    rng = np.random.default_rng(seed)
    old = rng.normal(size=(dim + extra, dim)).astype(np.float32)
    if np.linalg.cond(old) > 1e3:
        return  # a rotation of what spans no full space is not one only
    turned = orthogonal(rng, dim)
    found = procrustes(old, old @ turned.T)
    assert np.allclose(found, turned, atol=1e-3)
    assert np.allclose(found.T @ found, np.eye(dim), atol=1e-5)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_no_other_rotation_brings_rows_nearer(seed):
    rng = np.random.default_rng(seed)
    old, new = rng.normal(size=(2, 20, DIM)).astype(np.float32)
    best = np.linalg.norm(new @ procrustes(old, new) - old)
    assert best <= np.linalg.norm(new - old) + 1e-4
    assert best <= np.linalg.norm(new @ orthogonal(rng) - old) + 1e-4


def test_procrustes_by_hand():
    """A quarter turn in the plane, with a row longer than the others."""
    old = np.array([[1, 0], [0, 2], [3, 3]], np.float32)
    new = np.array([[0, 1], [-2, 0], [-3, 3]], np.float32)
    assert np.allclose(procrustes(old, new), [[0, -1], [1, 0]], atol=1e-6)


def user_inputs(rng, n=5):
    return [
        rng.normal(size=(n, SPEC.max_history, DIM)).astype(np.float32),
        rng.integers(0, 3, (n, SPEC.max_history)).astype(np.int32),
        np.sort(rng.uniform(0, 1e6, (n, SPEC.max_history)))[:, ::-1].astype(np.float32),
        np.arange(n, dtype=np.int32),
    ]


def test_alignment_changes_no_score(tmp_path):
    """Towers of random weights, rotated, saved and loaded: u . v stays for all users and items."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(0)
    user_tower = build_user_tower(CONFIG, SPEC)
    item_tower = build_item_tower(CONFIG, SPEC, 12)
    inputs = {
        name: rng.integers(0, 3, (12, *one.shape[1:])).astype(np.int32)
        for name, one in item_tower.input.items()
    }
    inputs["ids"] = np.arange(12, dtype=np.int32)
    inputs["price"] = rng.uniform(0, 50, 12).astype(np.float32)
    rotation = orthogonal(rng)
    turned = rotated_user_tower(user_tower, rotation), rotated_item_tower(item_tower, rotation)
    for name, tower in zip(("u", "i"), turned, strict=True):
        tower.save(tmp_path / f"{name}.keras")
    loaded = [keras.models.load_model(tmp_path / f"{n}.keras", compile=False) for n in ("u", "i")]
    table = np.asarray(item_tower(inputs))
    new_table = np.asarray(loaded[1](inputs))
    assert np.allclose(new_table, table @ rotation, atol=1e-5)
    assert not np.allclose(new_table, table, atol=1e-3)
    history = user_inputs(rng)
    users = np.asarray(user_tower(history))
    history[0] = history[0] @ rotation
    new_users = np.asarray(loaded[0](history))
    assert np.allclose(new_users, users @ rotation, atol=1e-4)
    assert np.allclose(new_users @ new_table.T, users @ table.T, atol=1e-4)
    assert [one.name for one in loaded[0].inputs] == [one.name for one in user_tower.inputs]


def test_movement_by_hand():
    old = np.array([[3, 4], [0, 5]], np.float32)
    assert movement(old, old + np.array([[1, 0], [0, 0]], np.float32)) == pytest.approx(0.1)


def test_delta_of_an_equal_matrix_is_next_to_nothing_and_of_a_turned_one_is_not():
    rng = np.random.default_rng(0)
    old = rng.normal(size=(500, 32)).astype(np.float32)
    moved = old + rng.normal(size=old.shape).astype(np.float32) * 0.02
    turned = moved @ orthogonal(rng, 32)
    back = turned @ procrustes(old, turned)
    found = measure(old, turned, back, new_items=0, max_score_change=0.0)
    assert delta_bytes(old, old) < 100
    assert found.delta_bytes_after < 0.6 * found.delta_bytes_before
    assert found.delta_bytes_before > 0.9 * found.rows_bytes
    assert found.movement_after < 0.05 < found.movement_before
