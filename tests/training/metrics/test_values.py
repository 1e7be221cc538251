import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import spearmanr

from pocketrec_training.metrics.values import value_bins, value_metrics


@pytest.fixture
def sample():
    rng = np.random.default_rng(3)
    owners = np.repeat(np.arange(40), 25)
    actual = np.where(rng.random(1000) < 0.1, rng.lognormal(2, 1, 1000), 0.0)
    predicted = actual * 0.3 + rng.gamma(1.0, 1.0, 1000)
    return predicted, actual, owners


def test_figures_are_those_of_scipy(sample):
    predicted, actual, owners = sample
    found = value_metrics(predicted, actual, owners, 40, seed=1)
    assert found["rmse"]["value"] == pytest.approx(math.sqrt(np.mean((predicted - actual) ** 2)))
    assert found["bias"]["value"] == pytest.approx(predicted.mean() - actual.mean())
    assert found["spearman"]["value"] == pytest.approx(spearmanr(predicted, actual).statistic)
    above = actual > 0
    wanted = spearmanr(predicted[above], actual[above]).statistic
    assert found["spearman_positive"]["value"] == pytest.approx(wanted)
    for each in found.values():
        assert each["low"] < each["value"] < each["high"]


def test_intervals_cover_the_truth_of_many_samples():
    rng, inside = np.random.default_rng(0), 0
    for seed in range(60):  # the error is normal with a spread of 2, so the RMSE is 2
        away = rng.normal(0, 2, 600)
        found = value_metrics(away + 5, np.full(600, 5.0), np.repeat(np.arange(60), 10), 60, seed)
        inside += found["rmse"]["low"] <= 2 <= found["rmse"]["high"]
    assert 51 <= inside <= 60


def test_constant_predictions_have_no_rank_correlation():
    found = value_metrics(np.ones(6), np.arange(6.0), np.arange(6), 6, seed=1)
    assert math.isnan(found["spearman"]["value"])
    assert found["rmse"]["value"] == pytest.approx(math.sqrt(np.mean((1 - np.arange(6.0)) ** 2)))


def test_bins_are_of_equal_size_and_rise(sample):
    predicted, actual, _ = sample
    bins = value_bins(predicted, actual)
    assert [one["n"] for one in bins] == [100] * 10
    assert all(a["predicted"] < b["predicted"] for a, b in pairwise(bins))
    assert np.mean([one["observed"] for one in bins]) == pytest.approx(actual.mean())
