"""A run turned into the space of the release before has rotations in its towers: it exports."""

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_edge.engines.select import open_model
from pocketrec_edge.releases.selftest import replay
from pocketrec_export.build import export_bundle
from pocketrec_export.models.convert import as_function, run_keras, tower_signature
from pocketrec_training.towers.item_content import item_inputs
from pocketrec_training.trained import TrainedRun, load_trained
from pocketrec_training.warm_start.align import rotated_item_tower, rotated_user_tower

# As for towers without rotations (tests/export/models/test_convert.py).
LARGEST_ERROR = {"fp32": 1e-5, "fp16": 5e-3, "dynamic": 0.15}


@pytest.fixture(scope="module")
def rotation():
    found, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(32, 32)))
    return found.astype(np.float32)


@pytest.fixture(scope="module")
def aligned_dir(run_dir: Path, rotation, tmp_path_factory) -> Path:
    """`run_dir` as a warm start saves it: both towers and the item vectors rotated."""
    folder = Path(shutil.copytree(run_dir, tmp_path_factory.mktemp("aligned") / "run"))
    plain = load_trained(run_dir)
    rotated_user_tower(plain.user_tower, rotation).save(folder / "user_tower.keras")
    rotated_item_tower(plain.item_tower, rotation).save(folder / "item_tower.keras")
    np.save(folder / "item_vectors.npy", plain.item_vectors @ rotation)
    return folder


@pytest.fixture(scope="module")
def aligned(aligned_dir: Path) -> TrainedRun:
    return load_trained(aligned_dir)


@pytest.fixture(scope="module")
def bundle(aligned_dir: Path) -> Bundle:
    # By force: with twelve users one pair in another order is .002 of AUC, twice what gates allow.
    export_bundle(run=aligned_dir, out=aligned_dir.parent / "bundle", all_variants=True, force=True)
    return open_bundle(aligned_dir.parent / "bundle")


def history(trained: TrainedRun, seed: int) -> dict:
    """The latest items of someone, oldest first, as a phone reads them."""
    rng = np.random.default_rng(seed)
    length = trained.spec.max_history
    known = seed % (length + 1)
    vectors, ages = np.zeros((1, length, trained.spec.dim)), np.zeros((1, length))
    vectors[0, :known] = trained.item_vectors[rng.permutation(len(trained.items))[:known]]
    ages[0, :known] = np.sort(rng.uniform(0, 3e8, known))[::-1]
    return {
        "history_vectors": vectors.astype(np.float32),
        "history_events": (np.arange(length) < known).astype(np.int32)[None],
        "history_ages_s": ages.astype(np.float32),
        "history_length": np.array([known], np.int32),
    }


@pytest.mark.parametrize("variant", LARGEST_ERROR)
@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_every_variant_of_a_rotated_tower_agrees_with_keras(engine, variant, aligned, bundle):
    runner = open_model(bundle, "user_tower", engine, variant)
    truth = as_function(aligned.user_tower, tower_signature(aligned.spec))
    for seed in range(8):
        inputs = history(aligned, seed)
        found = runner.run(inputs)
        assert np.abs(found - run_keras(truth, inputs)).max() <= LARGEST_ERROR[variant]


@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_the_exported_tower_answers_as_the_one_before_the_rotation(
    engine, aligned, bundle, run_dir, rotation
):
    """f'(V R) = f(V) R, so every score is that of the run as trained."""
    plain = load_trained(run_dir)
    runner = open_model(bundle, "user_tower", engine, "fp32")
    truth = as_function(plain.user_tower, tower_signature(plain.spec))
    for seed in range(8):
        found = runner.run(history(aligned, seed))
        wanted = run_keras(truth, history(plain, seed))
        assert np.abs(found - wanted @ rotation).max() < 1e-4
        np.testing.assert_allclose(
            found @ aligned.item_vectors.T, wanted @ plain.item_vectors.T, atol=1e-3
        )


@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_golden_vectors_hold(engine, bundle):
    assert replay(bundle, engine) == 6


def test_the_item_tower_loads_with_its_rotation(aligned):
    inputs = item_inputs(aligned.spec, aligned.items, aligned.recipe.retrieval.title_buckets)
    # `run_dir` makes its vectors twenty times as long as its item tower does.
    assert np.allclose(20 * np.asarray(aligned.item_tower(inputs)), aligned.item_vectors, atol=1e-4)
