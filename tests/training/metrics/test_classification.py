"""Classification metrics against scikit-learn, in the sample and in every redrawn sample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from pocketrec_training.metrics import classification as own
from pocketrec_training.metrics import ranking
from pocketrec_training.metrics.classification import Judged


def judged(seed: int, lists: int = 12, size: int = 7, threshold: float | None = 0.4) -> Judged:
    rng = np.random.default_rng(seed)
    m = lists * size
    taken = rng.random(m) < 0.2
    taken[:2] = True, False
    probabilities = (rng.integers(0, 11, m) / 10).astype(np.float32)  # with ties
    return Judged(
        taken=taken,
        probabilities=probabilities,
        chosen=None if threshold is None else probabilities >= threshold,
        owners=np.repeat(np.arange(lists), size),
        n=lists,
    )


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_areas_of_redrawn_lists_equal_those_of_weighted_candidates_in_scikit_learn(seed):
    found = judged(seed)
    weights = np.random.default_rng(seed).integers(0, 3, (4, found.n)).astype(float)
    roc, pr = own.areas(found, weights)
    for draw, weight in enumerate(weights):
        each = weight[found.owners]
        if len(np.unique(found.taken[each > 0])) < 2:
            assert np.isnan(roc[draw]) and np.isnan(pr[draw])
            continue
        expected = sk.roc_auc_score(found.taken, found.probabilities, sample_weight=each)
        assert roc[draw] == pytest.approx(expected)
        expected = sk.average_precision_score(found.taken, found.probabilities, sample_weight=each)
        assert pr[draw] == pytest.approx(expected)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_values_are_those_of_the_plain_metrics(seed):
    one = judged(seed)
    found = own.classification(one, seed=1, draws=20)
    labels = one.taken.astype(int)
    assert found["roc_auc"]["value"] == pytest.approx(ranking.roc_auc(labels, one.probabilities))
    assert found["pr_auc"]["value"] == pytest.approx(ranking.pr_auc(labels, one.probabilities))
    assert found["log_loss"]["value"] == pytest.approx(ranking.log_loss(labels, one.probabilities))
    assert found["f1"]["value"] == pytest.approx(
        sk.f1_score(labels, one.probabilities >= np.float32(0.4), zero_division=0)
    )
    for each in found.values():
        assert each["low"] <= each["high"]


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_no_threshold_has_a_higher_f1_than_the_chosen_one(seed):
    one = judged(seed)
    best = own.best_threshold(one.taken, one.probabilities)
    assert best is not None
    values = {
        float(t): sk.f1_score(one.taken, one.probabilities >= t, zero_division=0)
        for t in np.unique(one.probabilities)
    }
    assert values[best] == pytest.approx(max(values.values()))


def test_a_rare_head_has_a_threshold_far_below_one_half():
    taken = np.zeros(1000, bool)
    taken[:10] = True
    probabilities = np.where(taken, 0.03, 0.01)
    assert own.best_threshold(taken, probabilities) == 0.03
    assert ranking.f1(taken, probabilities) == 0  # at one half


def test_without_a_positive_there_is_no_threshold():
    assert own.best_threshold(np.zeros(3, bool), np.array([0.1, 0.2, 0.3])) is None
    assert own.best_threshold(np.zeros(0, bool), np.zeros(0)) is None
    assert "f1" not in own.classification(judged(3, threshold=None), seed=1, draws=5)


def test_lists_are_redrawn_whole():
    """With one list there is nothing to redraw, however many candidates it has."""
    found = own.classification(judged(5, lists=1, size=60), seed=1, draws=50)
    for each in found.values():
        assert each["low"] == pytest.approx(each["high"])


def test_the_interval_shrinks_with_lists_and_holds_the_value():
    few, many = (own.classification(judged(2, lists=n), seed=1)["roc_auc"] for n in (20, 2000))
    assert many["high"] - many["low"] < few["high"] - few["low"]
    assert many["low"] < many["value"] < many["high"]
