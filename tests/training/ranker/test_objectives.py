"""Heads of several kinds on one body, and the formula, learned from a world with known values."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

import keras

from pocketrec_bundle.objectives import Objectives
from pocketrec_training.data.dataset import TEST, VALID
from pocketrec_training.ranker.calibration import fractional, isotonic
from pocketrec_training.ranker.epochs import score
from pocketrec_training.ranker.fit import fit_ranker
from pocketrec_training.ranker.losses import LOSSES, loss_of_heads, pointwise, tweedie
from pocketrec_training.ranker.model import build_ranker, set_start
from pocketrec_training.ranker.objectives import fit_objectives
from pocketrec_training.ranker.outcomes import Outcomes
from pocketrec_training.ranker.realised import list_quality, realised, scores_of
from pocketrec_training.recipe.objective import Objective
from pocketrec_training.recipe.objective_checks import with_objectives

OBJECTIVES = (
    Objective(name="engaged", events=("rating", "like")),
    Objective(name="revenue", events=("rating", "like"), kind="value", winsor=1.0),
    Objective(name="liked", events=("like",), kind="share"),
)


@pytest.fixture(scope="module", autouse=True)
def eagerly(uncompiled):
    """Rankers learn uncompiled: compilation takes most of a fit of a few steps."""
    with uncompiled():
        yield


@pytest.fixture(scope="module")
def shop(world, make_candidates):
    """(recipe, spec, generator, cases of the test): dear items are worth 20, others 1."""
    recipe, spec, data = world
    ranker = dataclasses.replace(
        recipe.ranker, formula="revenue + 0 * price", epochs=8, examples="train"
    )
    recipe = with_objectives(
        dataclasses.replace(recipe, ranker=ranker, objectives=OBJECTIVES), (), "world"
    )
    spec = dataclasses.replace(
        spec, heads=recipe.ranker.heads, head_weights=recipe.ranker.head_weights
    )
    worth = np.where(data.items.price[data.rows] > 5, 20.0, 1.0)
    data = dataclasses.replace(data, values=np.where(data.events == 1, worth, worth / 2))
    objectives, _ = fit_objectives(recipe, data, "world")
    assert objectives is not None and objectives.heads[1].scale == 20.0
    candidates = make_candidates(data)
    candidates.spec = spec
    candidates.outcomes = Outcomes.of(objectives, OBJECTIVES, data.items)
    return recipe, spec, candidates, candidates.lists_for(data.held_out(TEST))


def test_labels_are_values_divided_by_the_scale(shop):
    _, _, _candidates, lists = shop
    assert lists.labels.shape[2] == 3
    hit = lists.labels[..., 0] == 1
    assert set(np.unique(lists.labels[..., 1][hit])) == {
        np.float32(x) for x in (0.025, 0.05, 0.5, 1.0)
    }
    assert not lists.labels[~hit].any()


def test_each_kind_of_head_learns_and_the_formula_orders_by_value(shop):
    recipe, spec, candidates, lists = shop
    keras.utils.set_random_seed(0)
    fitted = fit_ranker(recipe, spec, candidates, 0.0)
    outputs = score(fitted.ranker, candidates, lists)
    assert fitted.gain.untrained is not None
    assert "of the realised score" in fitted.gain.sentence()
    means, wanted = outputs[lists.real].mean(axis=0), lists.labels[lists.real].mean(axis=0)
    assert means == pytest.approx(wanted, rel=0.5)
    dear = candidates.data.items.price[lists.rows] > 5
    expected = outputs[..., 1] / outputs[..., 0]  # of revenue, given an event
    assert expected[dear & lists.real].mean() > 3 * expected[~dear & lists.real].mean()
    # The order by value beats the order by probability, where value counts.
    objectives = candidates.objectives
    by_value = list_quality(spec, scores_of(spec, lists, outputs, objectives), lists, objectives)
    by_chance = list_quality(spec, outputs[..., 0].astype(np.float64), lists, objectives)
    assert by_value.mean() > by_chance.mean()


def test_what_a_candidate_was_worth_is_the_formula_over_its_outcomes(shop):
    _, spec, candidates, lists = shop
    found = realised(spec, lists, candidates.objectives)
    assert found == pytest.approx(lists.labels[..., 1] * 20.0)
    perfect = list_quality(spec, found, lists, candidates.objectives)
    assert perfect.mean() == pytest.approx(1.0)
    worth = found.max(axis=1)  # a list has one outcome, and the best order puts it first
    assert perfect == pytest.approx(worth / worth.mean())


def test_an_untrained_head_begins_at_the_mean_of_its_labels_in_the_order_of_retrieval(shop):
    recipe, spec, candidates, lists = shop
    ranker = build_ranker(recipe.ranker, spec)
    set_start(ranker, lists.labels, lists.real)
    outputs = score(ranker, candidates, lists)
    assert outputs[lists.real].mean(axis=0) == pytest.approx(
        lists.labels[lists.real].mean(axis=0), rel=0.3
    )
    for h in range(3):
        order = np.argsort(-outputs[..., h], axis=1, kind="stable")
        assert (order == np.arange(spec.candidates)).all()


def test_tweedie_is_least_at_the_mean_of_zeros_and_a_heavy_tail():
    labels = np.zeros((1, 1000, 1), np.float32)
    labels[0, :50, 0] = np.random.default_rng(1).lognormal(-4, 1.5, 50).clip(0, 1)
    mean, ones = labels.mean(), np.ones((1, 1000), np.float32)

    def loss(mu):
        logits = np.full(labels.shape, np.log(mu / (1 - mu)), np.float32)
        return float(tweedie(labels, logits, ones)[0])

    tried = mean * np.array([0.7, 0.9, 1.0, 1.1, 1.4])
    assert np.argmin([loss(mu) for mu in tried]) == 2
    # By hand: 2 y / sqrt(mu) + 2 sqrt(mu), summed over the list.
    assert loss(0.01) == pytest.approx(2 * labels.sum() / 0.1 + 1000 * 2 * 0.1, rel=1e-5)


def test_tweedie_stays_finite_for_logits_far_out():
    labels = np.array([[[1.0], [0.0]]], np.float32)
    for logit in (-1e4, 1e4):
        logits = np.full(labels.shape, logit, np.float32)
        assert np.isfinite(np.asarray(tweedie(labels, logits, np.ones((1, 2), np.float32)))).all()


def test_heads_have_the_loss_of_their_kind(shop):
    _, _, candidates, lists = shop
    objectives = candidates.objectives
    rng = np.random.default_rng(0)
    logits = rng.normal(size=lists.labels.shape).astype(np.float32)
    weights = lists.real.astype(np.float32)
    found = np.asarray(loss_of_heads("listwise", objectives)(lists.labels, logits, weights))
    for h, loss in enumerate((LOSSES["listwise"], tweedie, pointwise)):
        one = np.asarray(loss(lists.labels[..., h : h + 1], logits[..., h : h + 1], weights))
        assert found[h] == pytest.approx(one[0], rel=1e-6)


def test_without_objectives_the_loss_is_the_recipe_s_own():
    for name, loss in LOSSES.items():
        assert loss_of_heads(name, None) is loss
        heads: tuple = ()
        assert loss_of_heads(name, Objectives(heads=heads)) is loss


@pytest.mark.parametrize("fit", [fractional, isotonic])
def test_calibrated_values_have_the_mean_of_the_labels_and_keep_the_order(fit):
    rng = np.random.default_rng(5)
    logits = rng.normal(-6, 1, 20_000).astype(np.float32)
    chance = 1 / (1 + np.exp(-logits.astype(np.float64)))
    labels = np.where(rng.random(20_000) < 10 * chance, rng.beta(1, 20, 20_000), 0.0)
    curve = fit(logits, labels.astype(np.float32))
    found = curve.probabilities(logits)
    assert found.mean() == pytest.approx(labels.mean(), rel=0.02)
    order = np.argsort(logits, kind="stable")
    assert (np.diff(found[order]) >= 0).all()


def test_values_of_0_alone_keep_the_scores():
    curve = fractional(np.arange(5, dtype=np.float32), np.zeros(5, np.float32))
    assert (curve.scale, curve.shift) == (1.0, 0.0)


def test_learning_cases_are_of_the_validation_fold(shop):
    _, _, candidates, _ = shop
    cases = candidates.latest_cases(VALID, 10)
    assert len(cases) == 10 and candidates.lists_for(cases).labels[..., 1].any()
