import dataclasses

import numpy as np
import pytest

from pocketrec_training.data.dataset import VALID
from pocketrec_training.ranker.gain import LEAST_USERS, ranker_gain


@pytest.fixture
def lists(world, make_candidates):
    """Make lists with the one positive on a given place; as many as asked for."""
    _, _, data = world
    some = make_candidates(data).lists_for(data.held_out(VALID)[:10])

    def make(n, place):
        many = some.take(np.arange(n) % 10)
        labels = np.zeros_like(many.labels)
        labels[:, place, 0] = 1
        return dataclasses.replace(many, labels=labels, real=np.ones_like(many.real))

    return make


def with_positive_at(n, m, old, new):
    """Scores that move the item on place `old` to place `new` of each list of m."""
    scores = -np.arange(m, dtype=np.float64)
    scores[old] = -new + (0.5 if new < old else -0.5)
    return np.tile(scores, (n, 1))


def test_a_ranker_that_pushes_the_target_down_hurts_and_does_not_ship(lists):
    n = LEAST_USERS
    many = lists(n, 1)
    found = ranker_gain(with_positive_at(n, 20, 1, 5), many, np.arange(n), seed=1)
    assert found.verdict == "hurts"
    assert not found.ships_ranker
    assert found.retrieval == pytest.approx(1 / np.log2(3))
    assert found.ranker == pytest.approx(1 / np.log2(7))
    assert "keeps retrieval's order" in found.sentence()


def test_a_ranker_that_lifts_the_target_helps(lists):
    n = LEAST_USERS
    found = ranker_gain(with_positive_at(n, 20, 5, 0), lists(n, 5), np.arange(n), seed=1)
    assert (found.verdict, found.ships_ranker) == ("helps", True)


def test_too_few_users_decide_nothing_whatever_the_number_of_lists(lists):
    n = 2 * LEAST_USERS
    users = np.arange(n) % (LEAST_USERS - 1)
    found = ranker_gain(with_positive_at(n, 20, 1, 5), lists(n, 1), users, seed=1)
    assert (found.verdict, found.ships_ranker) == ("not decided", True)
    assert found.users == LEAST_USERS - 1
    assert "not decided" in found.sentence()


def test_an_interval_around_nothing_is_no_clear_gain(lists):
    n = LEAST_USERS
    many = lists(n, 3)
    scores = with_positive_at(n, 20, 3, 2)
    scores[::2] = with_positive_at(n // 2, 20, 3, 5)
    worse_and_better = ranker_gain(scores, many, np.arange(n), seed=1)
    assert worse_and_better.low < 0 < worse_and_better.high
    assert worse_and_better.verdict == "no clear gain"
