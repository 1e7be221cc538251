import numpy as np
import pytest
from scipy.sparse import csr_matrix

from pocketrec_training.cold_start import neighbour_average
from pocketrec_training.cold_start.neighbour_average import NeighbourAverage
from pocketrec_training.neighbours import similar_items


def sparse(rows):
    return csr_matrix(np.array(rows, np.float32))


def test_the_mean_is_weighed_by_likeness_squared():
    vectors = np.array([[1, 0], [0, 1], [5, 5]], np.float32)
    neighbours = NeighbourAverage(
        sparse([[1, 0, 0], [0, 1, 0], [0, 0, 1]]), vectors, np.array([3, 2, 1])
    )
    found = neighbours.vectors(sparse([[0.5, 0.25, 0]]))
    # Likenesses .5, .25 and 0: weights .25, .0625 and 0, of .3125.
    np.testing.assert_allclose(found, [[0.8, 0.2]], rtol=1e-6)


def test_what_is_like_nothing_gets_zeros():
    neighbours = NeighbourAverage(
        sparse([[1, 0], [1, 0]]), np.ones((2, 3), np.float32), np.array([1, 1])
    )
    assert neighbours.vectors(sparse([[0, 1]])).tolist() == [[0, 0, 0]]


def test_a_known_item_does_not_lend_to_itself():
    features = sparse([[1, 0.1], [0.9, 0.2], [0, 1]])
    vectors = np.eye(3, dtype=np.float32)
    found = NeighbourAverage(features, vectors, np.array([1, 1, 1])).vectors(features, np.arange(3))
    assert (np.diag(found) == 0).all()
    assert found[0, 1] > found[0, 2] > 0
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


def plain(features, vectors, fresh, k):
    found = []
    for row in fresh.toarray():
        alike = features.toarray() @ row
        nearest = np.argsort(-alike, kind="stable")[:k]
        weights = alike[nearest] ** 2
        found.append(weights @ vectors[nearest] / weights.sum())
    return np.array(found)


@pytest.mark.parametrize("similarities", [1, 100, 1 << 24])
def test_equals_the_plain_sum_whatever_the_block(similarities, monkeypatch):
    rng = np.random.default_rng(3)
    monkeypatch.setattr(similar_items, "_SIMILARITIES", similarities)
    monkeypatch.setattr(neighbour_average, "NEAREST", 7)
    features = csr_matrix(rng.random((60, 12), np.float32))
    fresh = csr_matrix(rng.random((11, 12), np.float32))
    vectors = rng.normal(size=(60, 4)).astype(np.float32)
    found = NeighbourAverage(features, vectors, rng.integers(1, 9, 60)).vectors(fresh)
    np.testing.assert_allclose(found, plain(features, vectors, fresh, 7), rtol=1e-4, atol=1e-5)


def test_where_there_are_many_those_with_the_most_events_lend(monkeypatch):
    monkeypatch.setattr(neighbour_average, "MAX_NEIGHBOURS", 2)
    neighbours = NeighbourAverage(
        sparse(np.ones((4, 1))), np.eye(4, dtype=np.float32), np.array([1, 9, 0, 5])
    )
    assert neighbours.rows.tolist() == [1, 3]
    np.testing.assert_allclose(neighbours.vectors(sparse([[1]])), [[0, 0.5, 0, 0.5]])
