import dataclasses

import numpy as np
import pytest

from pocketrec_bundle.candidates import extra_candidates, merged
from pocketrec_bundle.features import History
from pocketrec_bundle.neighbours import Neighbours, votes_of

DAY = 86_400
NOW = 1000 * DAY


def past(*events: tuple[int, int]) -> History:
    """Events as (row, days ago), oldest first."""
    rows, days = zip(*events, strict=True)
    n = len(events)
    return History(np.array(rows, np.int32), np.zeros(n, np.int32), NOW - DAY * np.array(days))


@pytest.fixture
def repeating(spec):
    return dataclasses.replace(
        spec,
        candidates=6,
        max_history=3,
        own_candidates=2,
        neighbour_candidates=2,
        neighbours=2,
        neighbour_decay=0.5,
    )


@pytest.fixture
def chain():
    """Item i leads to i + 1, and half as much to i + 2; to 0 not at all."""
    n = 12
    at = np.arange(n)
    return Neighbours(
        rows=np.stack([(at + 1) % n, (at + 2) % n], axis=1),
        weights=np.tile(np.array([100, 50], np.int8), (n, 1)),
        scales=np.full(n, 0.01, np.float32),
    )


def test_what_was_had_most_and_latest_comes_first(repeating):
    history = past((5, 300), (5, 299), (3, 10), (8, 5))
    found = extra_candidates(repeating, None, history, NOW, np.zeros(12, bool))
    assert found.tolist() == [8, 3]  # twice 300 days ago is worth less than once this week
    again = past((5, 10), (5, 9), (3, 8))
    found = extra_candidates(repeating, None, again, NOW, np.zeros(12, bool))
    assert found.tolist() == [5, 3]


def test_neighbours_follow_most_votes_first_and_never_twice(repeating, chain):
    history = past((1, 3), (4, 2), (5, 1))
    found = extra_candidates(
        repeating, votes_of(chain, repeating, history), history, NOW, np.zeros(12, bool)
    )
    # Own: 5 and 4. Votes: 6 has 1.5, 2 has 1, 5 has 1 but is own, 3 and 7 have .5.
    assert found.tolist() == [5, 4, 6, 2]


def test_what_is_excluded_is_not_offered(repeating, chain):
    history = past((1, 3), (4, 2), (5, 1))
    excluded = np.zeros(12, bool)
    excluded[[1, 4, 5, 6]] = True
    found = extra_candidates(repeating, votes_of(chain, repeating, history), history, NOW, excluded)
    assert found.tolist() == [2, 3]


def test_only_the_events_that_the_tower_reads_vote(repeating, chain):
    history = past((9, 9), (1, 3), (1, 2), (1, 1))
    found = extra_candidates(
        repeating, votes_of(chain, repeating, history), history, NOW, np.zeros(12, bool)
    )
    assert 10 not in found


def test_a_weight_below_zero_never_makes_a_candidate(repeating, chain):
    against = dataclasses.replace(chain, weights=-chain.weights)
    excluded = np.zeros(12, bool)
    excluded[1] = True
    votes = votes_of(against, repeating, past((1, 1)))
    assert not len(extra_candidates(repeating, votes, past((1, 1)), NOW, excluded))


def test_an_empty_history_adds_nothing(repeating, chain):
    history = History.empty()
    votes = votes_of(chain, repeating, history)
    assert not len(extra_candidates(repeating, votes, history, NOW, np.zeros(12, bool)))


def test_extra_candidates_take_the_last_places_of_retrieval():
    extra = np.array([7, 2], np.int32)
    assert merged(extra, np.array([1, 2, 3, 4]), 4).tolist() == [7, 2, 1, 3]
    assert merged(extra, np.array([1]), 4).tolist() == [7, 2, 1]
    assert merged(extra, np.array([1, 3]), 1).tolist() == [7]
