"""The blend's weights: the likelihood of what came next, given its list."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

from pocketrec_training.ranker.blend import PENALTY, fit_blend


def lists(n, m, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, m)).astype("f4"), rng.normal(size=(n, m, 2)).astype("f4")


def test_weights_are_those_that_drew_the_answers():
    share, columns = lists(4_000, 8)
    true = np.array([0.5, 2.0, -1.0])
    odds = np.exp(share * true[0] + columns @ true[1:])
    drawn = np.random.default_rng(1).random((4_000, 1)) * odds.sum(axis=1, keepdims=True)
    labels = np.eye(8)[(odds.cumsum(axis=1) < drawn).sum(axis=1)]
    found = fit_blend(share, columns, labels, np.ones((4_000, 8), bool))
    np.testing.assert_allclose(found, true, atol=0.1)


def test_two_items_are_a_logistic_regression():
    """d/dw of w^2 / 2 + n log(1 + e^-w) is 0: the first item, one unit above, always came next."""
    n = 5
    share = np.zeros((n, 2), "f4")
    columns = np.tile(np.array([[[1.0], [0.0]]], "f4"), (n, 1, 1))
    labels = np.tile([1.0, 0.0], (n, 1))
    _, weight = fit_blend(share, columns, labels, np.ones((n, 2), bool))
    assert PENALTY * weight == pytest.approx(n / (1 + np.exp(weight)), rel=1e-3)


def test_what_the_mask_hides_tells_nothing():
    share, columns = lists(50, 6)
    labels = np.eye(6)[np.zeros(50, int)]
    real = np.ones((50, 6), bool)
    real[:, 4:] = False
    other = columns.copy()
    other[:, 4:] = 99.0
    one = fit_blend(share, columns, labels, real)
    np.testing.assert_allclose(fit_blend(share, other, labels, real), one)


def test_lists_without_an_answer_leave_retrieval_alone():
    share, columns = lists(5, 4)
    found = fit_blend(share, columns, np.zeros((5, 4)), np.ones((5, 4), bool))
    np.testing.assert_array_equal(found, [1.0, 0.0, 0.0])
