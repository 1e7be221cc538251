"""The ranker's layers say their shapes without a call; a call gives the same."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

import keras

from pocketrec_training.ranker.model import build_ranker
from pocketrec_training.recipe.schema import RankerConfig

CONFIG = RankerConfig(cross_layers=1, cross_rank=4, deep=(8,))


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
