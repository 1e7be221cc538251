"""Team-draft interleaving: what every merged slate has, and that neither team is favoured."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_edge.recommend.rules.interleaving import Choice, team_draft

RANKING = st.lists(st.integers(0, 30), max_size=15, unique=True)


@given(RANKING, RANKING, st.integers(0, 12), st.binary(max_size=16))
def test_a_merged_slate_is_fair(first, second, k, seed):
    slate = team_draft(first, second, k, seed)
    rankings = first, second
    items = [rankings[one.team][one.at] for one in slate]
    assert len(items) == len(set(items)) == min(k, len({*first, *second}))
    for team in (0, 1):
        places = [one.at for one in slate if one.team == team]
        assert places == sorted(places)  # each team's order is kept
        shown: set[int] = set()
        for one, item in zip(slate, items, strict=True):
            if one.team == team:  # the best of the team that is not there yet
                better = rankings[team][: one.at]
                assert {*better} <= shown
            shown.add(item)
    for end in range(0, len(slate) + 1, 2):
        numbers = [sum(one.team == team for one in slate[:end]) for team in (0, 1)]
        left = [set(rankings[team]) - set(items[:end]) for team in (0, 1)]
        if all(left):
            assert numbers[0] == numbers[1]


@given(RANKING, st.integers(0, 12), st.binary(max_size=16))
def test_two_equal_rankings_are_shown_as_they_are(ranking, k, seed):
    slate = team_draft(ranking, ranking, k, seed)
    assert [one.at for one in slate] == list(range(min(k, len(ranking))))


@given(RANKING, RANKING, st.integers(0, 12), st.binary(max_size=16))
def test_the_draw_is_the_same_for_the_same_seed(first, second, k, seed):
    assert team_draft(first, second, k, seed) == team_draft(first, second, k, seed)


def test_each_team_chooses_first_as_often():
    n, first = 4000, [0, 0]
    for number in range(n):
        slate = team_draft([1, 2, 3], [4, 5, 6], 4, f"request {number}".encode())
        first[slate[0].team] += 1
        assert sorted(one.team for one in slate) == [0, 0, 1, 1]
    assert abs(first[0] - n / 2) < 4 * np.sqrt(n) / 2


@pytest.mark.parametrize("seed", [b"", b"request", b"\xff" * 16])
def test_coins_are_those_of_the_description(seed):
    slate = team_draft(list(range(8)), list(range(8, 16)), 8, seed)
    for number in range(4):
        coin = hashlib.sha256(seed + bytes([0, 0, 0, number])).digest()[0] % 2
        assert [one.team for one in slate[2 * number : 2 * number + 2]] == [coin, 1 - coin]


def test_a_ranking_that_ends_leaves_its_places_to_the_other():
    assert team_draft([], [3, 4], 5, b"") == [Choice(1, 0), Choice(1, 1)]
    assert team_draft([], [], 5, b"") == []
