"""Logged propensities are the probabilities of what is shown, exactly."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from pocketrec_edge.recommend.rules.exploration import SystemRandom, explore


class Given:
    """Randomness that is known beforehand."""

    def __init__(self, flips, order):
        self.flips, self.order = flips, order

    def random(self, size):
        assert size == len(self.flips)
        return np.array(self.flips)

    def permutation(self, n):
        assert n == len(self.order)
        return np.array(self.order)


@pytest.mark.parametrize(("k", "pool", "first"), [(2, 3, 1), (3, 2, 1), (3, 3, 2), (2, 1, 1)])
def test_propensities_are_the_shares_of_all_that_can_happen(k, pool, first):
    n_open = min(k - first + 1, pool)
    odds: dict[tuple[int, int], Fraction] = {}
    said: dict[tuple[int, int], float] = {}
    for flips in itertools.product((0.0, 0.9), repeat=n_open):
        chance = Fraction(1)
        for flip in flips:
            chance *= Fraction(1, 4) if flip < 0.25 else Fraction(3, 4)
        orders = list(itertools.permutations(range(pool)))
        for order in orders:
            drawn = explore(k, pool, 0.25, first, Given(flips, order))
            inserted = [other for other in drawn.other.tolist() if other >= 0]
            assert len(set(inserted)) == len(inserted)
            for place, other in enumerate(drawn.other.tolist()):
                key = place, other
                odds[key] = odds.get(key, Fraction(0)) + chance / len(orders)
                assert said.setdefault(key, drawn.propensity[place]) == drawn.propensity[place]
    assert {key: float(value) for key, value in odds.items()} == pytest.approx(said)
    for place in range(k):
        assert sum(value for (at, _), value in odds.items() if at == place) == 1


def test_the_system_s_randomness_has_the_form_of_numpy_s():
    rng = SystemRandom()
    numbers, order = rng.random(50), rng.permutation(50)
    assert numbers.shape == (50,) and (numbers >= 0).all() and (numbers < 1).all()
    assert len(set(numbers.tolist())) > 40
    assert sorted(order.tolist()) == list(range(50)) != order.tolist()
    assert len(explore(10, 20, 1.0, 1, rng).other) == 10


def test_nothing_is_open_without_a_pool_or_before_the_first_place():
    rng = np.random.default_rng(0)
    for drawn in (explore(4, 0, 1.0, 1, rng), explore(4, 9, 1.0, 5, rng), explore(0, 9, 1, 1, rng)):
        assert (drawn.other == -1).all() and (drawn.propensity == 1).all()


def test_logged_propensities_tell_what_another_policy_would_earn():
    """Inverse propensity scoring of "always show the pool's item 1 at the second place"."""
    rng = np.random.default_rng(5)
    earned = []
    for _ in range(20_000):
        drawn = explore(2, 4, 0.3, 1, rng)
        hit = drawn.other[1] == 1
        reward = rng.random() < (0.8 if hit else 0.1)
        earned.append(reward / drawn.propensity[1] if hit else 0.0)
    assert np.mean(earned) == pytest.approx(0.8, abs=4 * np.std(earned) / np.sqrt(len(earned)))
