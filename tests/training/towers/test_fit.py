"""What the two towers' training refuses to save."""

import dataclasses

import pytest

pytest.importorskip("keras", reason="needs the train extra")

import keras
import tensorflow as tf

from pocketrec_training.errors import TrainingDivergedError
from pocketrec_training.towers.fit import fit_towers


def test_towers_that_diverge_are_refused_and_nothing_of_them_is_saved(world, tmp_path, request):
    """Scores that are NaN are below no other, so their NDCG would be 1."""
    tf.config.run_functions_eagerly(True)
    request.addfinalizer(lambda: tf.config.run_functions_eagerly(False))
    recipe, spec, data = world
    wild = dataclasses.replace(recipe.retrieval, learning_rate=1e30, warmup=0.0, epochs=2)
    keras.utils.set_random_seed(1)
    with pytest.raises(TrainingDivergedError, match=r"epoch 1 .* Lower retrieval\.learning_rate"):
        fit_towers(dataclasses.replace(recipe, retrieval=wild), spec, data, tmp_path / "c.npz", 0.0)
    assert not (tmp_path / "c.npz").exists()
