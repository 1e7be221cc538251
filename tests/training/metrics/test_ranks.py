from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_training.metrics import ranks
from pocketrec_training.metrics.cases import Cases


def test_ties_count_against_the_method_but_not_between_targets():
    scores = np.array([5.0, 5.0, 5.0, 1.0])
    assert ranks.place(scores, np.array([0], np.int32)).tolist() == [2]
    assert ranks.place(scores, np.array([0, 1], np.int32)).tolist() == [1, 2]
    assert ranks.place(scores, np.array([0, 1, 2], np.int32)).tolist() == [0, 1, 2]


def test_target_that_is_no_candidate_has_no_place():
    scores = np.array([5.0, -np.inf, 3.0])
    assert ranks.place(scores, np.array([1, 2], np.int32)).tolist() == [3, 1]


def test_best_rows_are_finite_and_in_order():
    scores = np.array([1.0, 7.0, -np.inf, 7.0, 2.0])
    assert ranks.best_rows(scores, 3).tolist() == [1, 3, 4]
    assert ranks.best_rows(scores, 9).tolist() == [1, 3, 4, 0]
    assert ranks.best_rows(np.full(3, -np.inf), 2).tolist() == []


@given(st.lists(st.integers(0, 4), min_size=2, max_size=12), st.randoms())
def test_places_are_those_of_the_worst_order(values, random):
    scores = np.array(values, float)
    targets = np.array(sorted(random.sample(range(len(values)), len(values) // 2)), np.int32)
    last = sorted(range(len(values)), key=lambda i: (-scores[i], i in targets))
    found = ranks.place(scores, targets)
    assert sorted(found.tolist()) == sorted(last.index(t) for t in targets)


class Histories:
    """Two users who know item 0; the part of a dataset that placement reads."""

    def history(self, user, end):
        return type("History", (), {"rows": np.zeros(end, np.int32)})


def test_each_setting_places_its_own_targets():
    def cases(setting, users, targets):
        n = np.arange(len(users) + 1)
        return Cases(
            setting=setting,
            users=np.array(users),
            ends=np.ones(len(users), int),
            offsets=n,
            targets=np.array(targets, np.int32),
        )

    asked = []

    def score(block):
        asked.extend(block)
        return np.tile([9.0, 5.0, 1.0], (len(block), 1))

    histories: Any = Histories()
    new, every = ranks.rank_targets(
        score, histories, [cases("new_to_user", [1], [2]), cases("all", [0, 1], [0, 1])], 2
    )
    assert asked == [(0, 1), (1, 1)]
    assert new.ranks.tolist() == [1]
    assert new.top.tolist() == [[1, 2]]
    assert every.ranks.tolist() == [0, 1]
    assert every.top.tolist() == [[0, 1], [0, 1]]
