import itertools

import numpy as np
import pytest
from scipy import stats

from pocketrec_training.metrics import significance


def test_permutation_test_equals_all_sign_flips():
    differences = np.array([0.3, 0.1, -0.2, 0.4, 0.25, -0.05, 0.15, 0.2])
    flips = np.array(list(itertools.product([-1, 1], repeat=8)))
    exact = (np.abs(flips @ differences) >= abs(differences.sum()) - 1e-12).mean()
    found = significance.permutation_test(differences[:, None], 0)[0]
    assert found == pytest.approx(exact, abs=0.02)  # 4 standard errors of 10,000 draws


def test_permutation_test_agrees_with_scipy():
    differences = np.random.default_rng(3).normal(0.06, 0.5, 200)
    expected = stats.permutation_test(
        (differences,), lambda x, axis: x.mean(axis), permutation_type="samples", rng=0
    ).pvalue
    found = significance.permutation_test(differences[:, None], 0)[0]
    assert found == pytest.approx(expected, abs=0.025)


def test_bootstrap_interval_agrees_with_scipy():
    differences = np.random.default_rng(4).exponential(1, 150)
    expected = stats.bootstrap(
        (differences,), np.mean, method="percentile", rng=0
    ).confidence_interval
    low, high = significance.paired_bootstrap(differences[:, None], 0)
    assert low[0] == pytest.approx(expected.low, abs=0.03)
    assert high[0] == pytest.approx(expected.high, abs=0.03)


def test_no_difference_is_never_significant():
    same = np.random.default_rng(5).random(50)
    found = significance.compare_means({"m": same}, {"m": same}, 1)["m"]
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert (found.wins, found.losses) == (0, 0)


def test_clear_difference_is_significant_and_has_its_sign():
    a = np.random.default_rng(6).random(80)
    found = significance.compare_means({"m": a}, {"m": a + 0.1}, 1)["m"]
    assert found.difference == pytest.approx(0.1)
    assert found.low == pytest.approx(found.high)
    assert found.p < 0.001
    assert (found.wins, found.losses) == (80, 0)
