import dataclasses

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

import keras

from pocketrec_training.data.dataset import VALID
from pocketrec_training.ranker.epochs import RankerFit, draw
from pocketrec_training.ranker.model import (
    LIMIT,
    PiecewiseLinearEncoding,
    Standardization,
    build_ranker,
)


def test_drawn_negatives_stand_for_the_whole_list(world, make_candidates):
    recipe, _, data = world
    lists = make_candidates(data).lists_for(data.held_out(VALID))
    drawn, weights = draw(lists, recipe.ranker, np.random.default_rng(0))
    assert drawn.rows.shape == (len(lists), 10)
    for i in range(len(lists)):
        chosen = drawn.rows[i][weights[i] > 0]
        assert len(set(chosen.tolist())) == len(chosen)
        assert weights[i].sum() == pytest.approx(lists.real[i].sum())
        assert drawn.labels[i].sum() == lists.labels[i].sum()
    hard = np.isin(drawn.rows[0], lists.rows[0, :2]) & (weights[0] > 0)
    assert hard.sum() == 2  # the first tenth of 20 holds two, both are taken


def test_kept_weights_are_a_running_average_of_the_steps(world, make_candidates):
    recipe, spec, data = world
    candidates = make_candidates(data)
    lists = candidates.lists_for(data.held_out(VALID))

    def weights(average):
        config = dataclasses.replace(recipe.ranker, average=average, batch=len(lists))
        keras.utils.set_random_seed(3)
        fit = RankerFit(config, spec, candidates, np.random.default_rng(3))
        made = fit.run(lists, lists.take(np.arange(0)), 1, 5.0)
        return [v.numpy() for v in made.logits.trainable_variables]

    keras.utils.set_random_seed(3)
    before = [v.numpy() for v in build_ranker(recipe.ranker, spec).trainable_variables]
    # One step: a young average keeps 1 / 11 of the past, an old one at most `average`.
    for average, past in ((0.98, 1 / 11), (0.05, 0.05)):
        found = weights(average)
        for start, after, kept in zip(before, weights(0.0), found, strict=True):
            assert kept == pytest.approx(past * start + (1 - past) * after, abs=1e-6)


def test_the_first_features_enter_at_their_gain_after_the_limit():
    layer = Standardization(gains=[(2, 0.5)])
    features = np.array([[0.0, 1.0, 0.0], [2.0, 1.0, 4.0]], np.float32)  # spreads 1, 0 and 2
    layer.build(features.shape)
    layer.fit(features)
    asked = np.array([[3.0, 2.0, 3.0], [99.0, 1.0, 99.0]], np.float32)
    again = Standardization.from_config(layer.get_config())
    again.build(features.shape)
    again.set_weights(layer.get_weights())
    wanted = [[1.0, 0.5, 0.5], [LIMIT / 2, 0.0, LIMIT]]
    for one in (layer, again):
        assert np.asarray(one(asked)) == pytest.approx(np.array(wanted))


def test_pieces_rise_between_quantiles_by_hand():
    layer = PiecewiseLinearEncoding(columns=[1, 2, 3], per_feature=2)
    layer.build((None, 4))
    # Medians 2, 0 and 1; the second has one piece with a width, the third only two values.
    features = np.array([[9, 0, 0, 0], [9, 2, 0, 1], [9, 8, 4, 1]], np.float32)
    layer.fit(features)
    again = PiecewiseLinearEncoding.from_config(layer.get_config())
    again.build((None, 4))
    again.set_weights(layer.get_weights())
    asked = np.array([[7, 1, 2, 0.5], [7, 5, 9, 9], [7, -3, -1, 0]], np.float32)
    wanted = [[0.5, 0, 0, 0, 0, 0], [1, 0.5, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]
    for one in (layer, again):
        found = np.asarray(one(asked))
        assert (found[:, :4] == asked).all()
        assert found[:, 4:] == pytest.approx(np.array(wanted))
