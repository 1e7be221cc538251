import numpy as np
import pytest

from pocketrec_training.metrics import beyond_accuracy as beyond
from pocketrec_training.metrics.ranks import NOBODY

LISTS = np.array([[0, 1], [0, 2], [0, NOBODY]], np.int32)


def test_coverage_and_exposure_by_hand():
    assert beyond.coverage(LISTS, 6) == pytest.approx(3 / 6)
    # Shown 3, 1, 1, 0, 0, 0 times: sum of |x - y| over all pairs / (2 n^2 mean).
    shown = np.array([3, 1, 1, 0, 0, 0])
    gaps = np.abs(shown[:, None] - shown[None]).sum()
    assert beyond.exposure_gini(LISTS, 6) == pytest.approx(gaps / (2 * 36 * shown.mean()))
    even = np.array([[0, 1], [2, 3]], np.int32)
    assert beyond.exposure_gini(even, 4) == pytest.approx(0)


def test_novelty_is_mean_self_information():
    # Of 8 users, 4 have item 0, 1 has item 1, nobody has item 2 (counts as 1).
    found = beyond.novelty(LISTS, np.array([4, 1, 0]), 8)
    assert found == pytest.approx((1 + 1 + 1 + 3 + 3) / 5)


def test_popularity_of_what_is_shown():
    counts = np.array([10.0, 40.0, 0.0])
    assert beyond.mean_popularity(LISTS, counts) == pytest.approx((10 * 3 + 40) / 5)
    assert beyond.mean_popularity_rank(LISTS, counts) == pytest.approx((0.5 * 3 + 0 + 1) / 5)


def test_diversity_is_one_minus_the_mean_cosine_of_pairs():
    vectors = np.array([[2.0, 0], [0, 3], [1, 1]])
    found = beyond.diversity(np.array([[0, 1, 2], [0, NOBODY, NOBODY]], np.int32), vectors)
    assert found == pytest.approx(1 - (0 + np.sqrt(0.5) + np.sqrt(0.5)) / 3)
    same = beyond.diversity(np.array([[0, 0]], np.int32), vectors)
    assert same == pytest.approx(0)


def test_categories_without_overlap_are_all_the_diversity_there_is():
    table = beyond.category_vectors([("a",), ("a", "b"), ("c",)])
    assert table.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert beyond.diversity(np.array([[0, 2]], np.int32), table) == pytest.approx(1)
    assert beyond.diversity(np.array([[0, 1]], np.int32), table) == pytest.approx(1 - 0.5**0.5)
