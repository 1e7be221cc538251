"""Estimates against hand calculations, exact enumeration and scipy."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_bundle.errors import InputError
from pocketrec_experiments.off_policy import (
    WeightedLog,
    doubly_robust,
    effective_sample_size,
    ips,
    snips,
)
from pocketrec_experiments.off_policy.estimators import (
    clipped,
    difference,
    fit,
    logged_value,
    mean_of_requests,
    student,
)


def weighted(users, request, reward, weight, **changes):
    n = len(users)
    found = WeightedLog(
        users=np.array(users),
        request=np.array(request),
        reward=np.array(reward, np.float64),
        weight=np.array(weight, np.float64),
        control=np.ones(len(request)),
        group=np.zeros(len(request), np.int64),
        expected=np.ones((n, 1)),
        features=np.zeros((len(request), 0)),
        target_features=np.zeros((n, 0)),
        supported=np.ones(n),
        places=np.ones(n),
        support_known=True,
        explored=1.0,
    )
    return dataclasses.replace(found, **changes)


def test_estimates_by_hand():
    log = weighted([1, 1, 2], [0, 1, 2], [1.0, 0.0, 2.0], [2.0, 1.0, 0.5])
    assert logged_value(log).value == 1.0
    assert ips(log).value == pytest.approx((2 + 0 + 1) / 3)
    assert snips(log).value == pytest.approx((2 + 0 + 1) / 3.5)
    assert effective_sample_size(log) == pytest.approx(3.5**2 / 5.25)
    # user sums of deviations: (2 + 0) - 2 * 1 = 0 and 1 - 1 = 0
    assert ips(log).se == pytest.approx(0.0)
    # logged: (1 + 0) - 2 * 1 = -1 and 2 - 1 = 1: sqrt(2 / 1 * (1 + 1)) / 3
    assert logged_value(log).se == pytest.approx(2 / 3)
    assert difference(log, "ips").value == pytest.approx(0.0)
    cut = clipped(log, 1.0)
    assert cut.weight.tolist() == [1.0, 1.0, 0.5]
    with pytest.raises(InputError, match="clip"):
        clipped(log, 0.0)


def test_the_same_policy_earns_what_was_logged():
    rng = np.random.default_rng(1)
    n = 60
    reward = rng.random(n)
    features = rng.random((n, 2))
    log = weighted(
        np.arange(n) // 3,
        np.arange(n),
        reward,
        np.ones(n),
        features=features,
        target_features=features,
    )
    for estimate in (ips(log), snips(log), doubly_robust(log)):
        assert dataclasses.astuple(estimate) == pytest.approx(
            dataclasses.astuple(logged_value(log))
        )
    assert difference(log, "dr").low == pytest.approx(0.0)


def all_logs(propensity, reward):
    """Yield the probability and each log of two requests with two items, one place."""
    for items in itertools.product(range(2), repeat=2):
        chance = np.prod([propensity[r][i] for r, i in enumerate(items)])
        yield chance, [reward[r][i] for r, i in enumerate(items)], items


@given(
    st.lists(st.floats(0.1, 0.9), min_size=2, max_size=2),
    st.lists(st.floats(-2, 2), min_size=4, max_size=4),
    st.lists(st.floats(0, 1), min_size=2, max_size=2),
    st.lists(st.floats(-3, 3), min_size=4, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_ips_and_doubly_robust_are_unbiased_whatever_the_model(first, rewards, wanted, predicted):
    """The mean over all logs that can happen is the truth, for any (wrong) reward model."""
    propensity = [(p, 1 - p) for p in first]
    reward, model = np.reshape(rewards, (2, 2)), np.reshape(predicted, (2, 2))
    target = np.array([(p, 1 - p) for p in wanted])
    truth = (target * reward).sum() / 2
    means = {"ips": 0.0, "dr": 0.0}
    for chance, earned, items in all_logs(propensity, reward):
        weight = [target[r, i] / propensity[r][i] for r, i in enumerate(items)]
        log = weighted([1, 2], [0, 1], earned, weight)
        means["ips"] += chance * ips(log).value
        told = np.array([model[r, i] for r, i in enumerate(items)])
        direct = (target * model).sum(axis=1)
        correction = log.per_request(log.weight * (log.reward - told))
        means["dr"] += chance * float((direct + correction).mean())
    assert means == pytest.approx({"ips": truth, "dr": truth}, abs=1e-9)


def test_a_right_model_leaves_the_doubly_robust_estimate_without_noise_of_the_draws():
    """Rewards are exactly linear, so every log gives the truth; IPS does not."""
    rng = np.random.default_rng(2)
    n = 400
    taste, slope = rng.random(n), 3.0
    shown = rng.random(n) < 0.1  # the target shows item 1, which logging shows to a tenth
    features = np.stack([shown * taste, ~shown * taste], axis=1)
    log = weighted(
        np.arange(n),
        np.arange(n),
        slope * shown * taste,
        np.where(shown, 10.0, 0.0),
        features=features,
        target_features=np.stack([taste, np.zeros(n)], axis=1),
    )
    truth = slope * taste.mean()
    assert doubly_robust(log).value == pytest.approx(truth, rel=5e-3)
    assert abs(ips(log).value - truth) > 10 * abs(doubly_robust(log).value - truth)
    # 10 in place of a right 20: IPS is half as large, the model still tells the truth
    wrong = dataclasses.replace(log, weight=log.weight / 2)
    assert doubly_robust(wrong).value == pytest.approx(truth, rel=5e-3)


def test_users_who_come_often_widen_the_interval():
    rng = np.random.default_rng(3)
    mood = rng.normal(size=40)
    values = np.repeat(mood, 5)
    alone = mean_of_requests(np.arange(200), values)
    together = mean_of_requests(np.repeat(np.arange(40), 5), values)
    assert together.value == alone.value
    assert together.se == pytest.approx(np.std(mood, ddof=1) / np.sqrt(40))
    assert together.se > 2 * alone.se


def test_intervals_of_no_and_of_one_user_are_without_end():
    assert mean_of_requests(np.zeros(0, np.int64), np.zeros(0)).high == np.inf
    one = mean_of_requests(np.array([4, 4]), np.array([1.0, 3.0]))
    assert one.value == 2.0 and one.low == -np.inf


def test_student_s_quantiles_are_scipy_s():
    stats = pytest.importorskip("scipy.stats")
    for freedom in (1, 2, 3, 5, 10, 30, 1000):
        assert student(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-3)


def test_the_fit_is_least_squares():
    rng = np.random.default_rng(4)
    features = rng.normal(size=(500, 3))
    reward = features @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=500)
    exact = np.linalg.lstsq(features, reward, rcond=None)[0]
    assert fit(features, reward) == pytest.approx(exact, rel=2e-3)
    assert fit(np.zeros((5, 2)), np.ones(5)).tolist() == [0.0, 0.0]
