import math

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

from pocketrec_training.ranker.losses import listwise, pairwise, pointwise

LABELS = np.array([[1, 0, 0], [0, 0, 0]], np.float32)[..., None]  # the second list has no positive
LOGITS = np.array([[2, 1, 0], [5, -5, 0]], np.float32)[..., None]
ALL = np.ones((2, 3), np.float32)


def test_listwise_is_the_softmax_of_lists_that_have_a_positive():
    total = math.exp(2) + math.exp(1) + 1
    assert float(listwise(LABELS, LOGITS, ALL)[0]) == pytest.approx(-math.log(math.exp(2) / total))


def test_a_weight_stands_for_so_many_equal_items():
    weights = np.array([[1, 4, 1], [1, 1, 1]], np.float32)
    total = math.exp(2) + 4 * math.exp(1) + 1
    wanted = -math.log(math.exp(2) / total)
    assert float(listwise(LABELS, LOGITS, weights)[0]) == pytest.approx(wanted, rel=1e-5)


def test_pairwise_compares_each_positive_with_each_negative_of_its_own_list():
    wanted = (math.log1p(math.exp(1 - 2)) + math.log1p(math.exp(0 - 2))) / 2
    assert float(pairwise(LABELS, LOGITS, ALL)[0]) == pytest.approx(wanted, rel=1e-5)


def test_pointwise_is_the_cross_entropy_of_a_list():
    terms = [math.log1p(math.exp(-2)), *(math.log1p(math.exp(x)) for x in (1, 0, 5, -5, 0))]
    assert float(pointwise(LABELS, LOGITS, ALL)[0]) == pytest.approx(sum(terms) / 2, rel=1e-5)


@pytest.mark.parametrize("loss", [listwise, pairwise, pointwise])
def test_an_item_of_weight_0_does_not_count(loss):
    weights = ALL.copy()
    weights[:, 2] = 0
    changed = LOGITS.copy()
    changed[:, 2] = 99
    one, two = loss(LABELS, LOGITS, weights), loss(LABELS, changed, weights)
    assert float(one[0]) == pytest.approx(float(two[0]), rel=1e-4)


@pytest.mark.parametrize("loss", [listwise, pairwise, pointwise])
def test_lists_without_any_positive_cost_nothing_or_a_finite_amount(loss):
    assert np.isfinite(float(loss(np.zeros_like(LABELS), LOGITS, ALL)[0]))
