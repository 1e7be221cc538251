"""The ranker's layers say their shapes without a call; a call gives the same."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

import keras

from pocketrec_training.ranker.feature_transform import column_places
from pocketrec_training.ranker.model import build_ranker
from pocketrec_training.recipe.schema import RankerConfig

CONFIG = RankerConfig(cross_layers=1, cross_rank=4, deep=(8,))


def test_a_declared_number_is_read_in_logarithms_with_whether_it_is_known(world):
    _, spec, _ = world
    more = replace(spec, numeric=(*spec.numeric, "stock"))
    added = column_places(more)["stock"]
    assert len(added) == 2
    numbers = build_ranker(CONFIG, more).get_layer("numbers")
    item = np.array([[3, 1990, 4, stock] for stock in (-1, 0, np.e - 1)], np.float32)
    names = {"context": (1, len(spec.context)), "pair": (3, len(spec.pair))}
    features, _ = numbers(
        user_vector=np.zeros((1, spec.dim), np.float32),
        item_vectors=np.zeros((3, spec.dim), np.float32),
        item_categories=np.zeros((3, spec.max_categories), np.int32),
        item_numeric=item,
        **{name: np.zeros(shape, np.float32) for name, shape in names.items()},
    )
    expected = [[0, 0], [0, 1], [1 / 3, 1]]
    assert np.allclose(np.asarray(features)[:, added], np.array(expected), atol=1e-6)


@pytest.mark.parametrize("without", [(), ("taste",), ("recent_price", "year", "recent_year")])
def test_shapes_said_are_those_of_a_call(world, without):
    _, spec, _ = world
    spec = replace(
        spec,
        **{
            group: tuple(name for name in getattr(spec, group) if name not in without)
            for group in ("context", "numeric", "pair")
        },
    )
    ranker = build_ranker(CONFIG, spec)
    said = [tensor for layer in ranker.layers for tensor in keras.tree.flatten(layer.output)]
    inputs = [np.zeros((3, *tensor.shape[1:]), tensor.dtype) for tensor in ranker.inputs]
    for expected, found in zip(said, keras.Model(ranker.inputs, said)(inputs), strict=True):
        assert tuple(found.shape) == (3, *expected.shape[1:])
