import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from training import metrics


def test_ranking_metrics_by_hand():
    found = metrics.at_k(np.array([0, 2, 10]), 10)
    assert found["hr@10"].tolist() == [1, 1, 0]
    assert found["ndcg@10"].tolist() == pytest.approx([1, 0.5, 0])  # 1 / log2(2 + 2)
    assert found["mrr@10"].tolist() == pytest.approx([1, 1 / 3, 0])


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_classification_metrics_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 60)
    labels[:2] = 0, 1
    scores = rng.integers(0, 11, 60) / 10  # with ties
    assert metrics.roc_auc(labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores))
    expected = sk.average_precision_score(labels, scores)
    assert metrics.pr_auc(labels, scores) == pytest.approx(expected)
    assert metrics.f1(labels, scores) == pytest.approx(
        sk.f1_score(labels, scores >= 0.5, zero_division=0)
    )
    safe = np.clip(scores, 1e-7, 1 - 1e-7)
    assert metrics.log_loss(labels, scores) == pytest.approx(sk.log_loss(labels, safe))


def test_calibration_error_by_hand():
    probabilities = np.array([0.15, 0.15, 0.95, 0.95])
    labels = np.array([0, 1, 1, 1])
    assert metrics.ece(labels, probabilities) == pytest.approx((0.35 + 0.05) / 2)


def test_interval_holds_the_mean_and_shrinks_with_cases():
    rng = np.random.default_rng(0)
    few, many = (metrics.interval(rng.normal(size=n), 1) for n in (50, 5000))
    assert few["low"] < few["value"] < few["high"]
    assert many["high"] - many["low"] < few["high"] - few["low"]
