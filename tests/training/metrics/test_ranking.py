import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from pocketrec_training.metrics import ranking as metrics


def test_ranking_metrics_by_hand():
    found = metrics.at_k(np.array([0, 2, 10]), 10)
    assert found["hr@10"].tolist() == [1, 1, 0]
    assert found["ndcg@10"].tolist() == pytest.approx([1, 0.5, 0])  # 1 / log2(2 + 2)
    assert found["mrr@10"].tolist() == pytest.approx([1, 1 / 3, 0])


def test_ranking_metrics_of_sets_by_hand():
    # First case: targets at places 0 and 4; second: three targets, one inside at place 1.
    found = metrics.at_k(np.array([0, 4, 1, 7, 9]), 5, np.array([0, 2, 5]))
    assert found["recall@5"].tolist() == pytest.approx([1, 1 / 3])
    assert found["precision@5"].tolist() == pytest.approx([2 / 5, 1 / 5])
    assert found["hr@5"].tolist() == [1, 1]
    assert found["mrr@5"].tolist() == pytest.approx([1, 1 / 2])
    first = (1 + 1 / np.log2(6)) / (1 + 1 / np.log2(3))
    second = (1 / np.log2(3)) / (1 + 1 / np.log2(3) + 1 / 2)
    assert found["ndcg@5"].tolist() == pytest.approx([first, second])


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
@settings(deadline=None, max_examples=30)
def test_ndcg_of_sets_equals_scikit_learn(seed, k):
    rng = np.random.default_rng(seed)
    scores = rng.permutation(12).astype(float)
    relevant = rng.random(12) < 0.4
    relevant[rng.integers(12)] = True
    places = (-scores).argsort().argsort()[relevant]
    found = metrics.at_k(places, k, np.array([0, len(places)]))[f"ndcg@{k}"][0]
    # scikit-learn takes the ideal over k places of all items: the same for 0/1 relevance.
    assert found == pytest.approx(sk.ndcg_score(relevant[None], scores[None], k=k))


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


def test_value_ndcg_by_hand():
    # Case 0: value 8 at place 1 and 2 at place 0; case 1: 5 beyond the list; case 2: no value.
    found = metrics.value_ndcg(
        np.array([1, 0, 30, 0]), np.array([8.0, 2.0, 5.0, 0.0]), np.array([0, 2, 3, 4]), 20
    )
    assert found[0] == pytest.approx((2 + 8 / np.log2(3)) / (8 + 2 / np.log2(3)))
    assert found[1] == 0
    assert np.isnan(found[2])
    assert not len(metrics.value_ndcg(np.zeros(0, int), np.zeros(0), np.zeros(1, int), 20))


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
@settings(deadline=None, max_examples=30)
def test_value_ndcg_equals_scikit_learn_and_equal_values_give_ndcg(seed, k):
    rng = np.random.default_rng(seed)
    scores = rng.permutation(12).astype(float)
    gains = np.where(rng.random(12) < 0.4, rng.integers(1, 50, 12), 0).astype(float)
    gains[rng.integers(12)] = 7.0
    valued = np.flatnonzero(gains)
    places = (-scores).argsort().argsort()[valued]
    ends = np.array([0, len(places)])
    found = metrics.value_ndcg(places, gains[valued], ends, k)[0]
    assert found == pytest.approx(sk.ndcg_score(gains[None], scores[None], k=k))
    plain = metrics.value_ndcg(places, np.full(len(places), 3.0), ends, k)[0]
    assert plain == pytest.approx(metrics.at_k(places, k, ends)[f"ndcg@{k}"][0])
