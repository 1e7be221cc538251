"""Interleaved slates: the preference by hand, the sign test by scipy, and no false winner."""

import numpy as np
import pytest

from pocketrec_bundle.errors import InputError
from pocketrec_edge.recommend.rules.interleaving import team_draft
from pocketrec_experiments.off_policy.interleaving import preference, sign_test


def test_preference_by_hand():
    users = np.array([1, 1, 2, 2, 3, 3, 4])
    team = np.array([0, 1, 0, 1, 0, 1, 1])
    reward = np.array([1.0, 3.0, 1.0, 1.0, 2.0, 0.0, 0.0])
    found = preference(users, team, reward)
    assert found.users == 4 and found.rewarded == 3
    assert found.wins == (1, 1) and found.ties == 1 and found.p == 1.0
    assert found.rewards == (4.0, 4.0)
    assert found.share.value == pytest.approx(0.5)
    assert found.preference.value == pytest.approx((0.5 + 0.0 - 1.0) / 3)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (3, 9), (50, 50), (900, 1100)])
def test_the_sign_test_is_scipy_s(first, second):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert sign_test(first, second) == pytest.approx(expected)


def test_no_rewards_give_no_preference():
    found = preference(np.array([1, 2]), np.array([0, 1]), np.zeros(2))
    assert found.rewarded == 0 and found.p == 1.0 and found.share.high == np.inf


@pytest.mark.parametrize(("team", "reward"), [([2], [1.0]), ([0], [-1.0]), ([0], [np.nan])])
def test_bad_values_are_refused(team, reward):
    with pytest.raises(InputError):
        preference(np.array([1]), np.array(team), np.array(reward))


def simulate(seed, rates, n_users=150, each=4):
    """Users click by the item's rate and the place; both rankings are merged for each request."""
    rng = np.random.default_rng(seed)
    first, second = np.argsort(-rates[0]).tolist(), np.argsort(-rates[1]).tolist()
    users, teams, rewards = [], [], []
    for user in range(n_users):
        for number in range(each):
            seed_of = f"{seed} {user} {number}".encode()
            for place, one in enumerate(team_draft(first, second, 6, seed_of), 1):
                item = (first, second)[one.team][one.at]
                users.append(user)
                teams.append(one.team)
                rewards.append(float(rng.random() < TRUTH[item] / place**0.7))
    return preference(np.array(users), np.array(teams), np.array(rewards))


TRUTH = np.linspace(0.6, 0.02, 20)


def test_the_better_ranking_wins():
    worse = TRUTH + np.random.default_rng(0).normal(0, 0.2, 20)
    found = simulate(1, (worse, TRUTH))
    assert found.share.low > 0.5 and found.preference.low > 0 and found.p < 0.01
    assert simulate(1, (TRUTH, worse)).share.high < 0.5


def test_equal_rankings_win_by_chance_alone():
    """Of 60 comparisons of a ranking with itself 3 are expected below .05; 10 are too many."""
    p = [simulate(seed, (TRUTH, TRUTH), n_users=60, each=2).p for seed in range(60)]
    assert sum(one < 0.05 for one in p) <= 9
