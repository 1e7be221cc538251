"""The search of the baselines' parameters."""

import pytest

from pocketrec_training.baselines.ladder import Ladder, climb


def test_the_best_is_found_and_only_what_lies_near_the_way_is_tried():
    ladders = {
        "x": Ladder(rungs=tuple(range(100)), start=10, open_low=True, open_high=True),
        "y": Ladder(rungs=(0, 1, 2, 3), start=0),
    }
    found = climb(ladders, lambda p: -((p["x"] - 20) ** 2) - (p["y"] - 2) ** 2 + 1e3, 100)
    assert found.best == {"x": 20, "y": 2}
    assert found.at_edge == ()
    assert len(found.tried) == len({tuple(p.items()) for p, _ in found.tried}) < 20


@pytest.mark.parametrize(("is_open", "edge"), [(True, ("x",)), (False, ())])
def test_a_best_value_at_an_end_is_reported_if_there_could_be_more(is_open, edge):
    ladder = Ladder(rungs=(1, 2, 3), start=1, open_high=is_open)
    assert climb({"x": ladder}, lambda p: p["x"], 10).at_edge == edge
    ladder = Ladder(rungs=(3, 2, 1), start=1, open_low=is_open)
    assert climb({"x": ladder}, lambda p: p["x"], 10).at_edge == edge


def test_a_spent_budget_is_an_edge_too():
    ladder = Ladder(rungs=(1, 2, 3, 4, 5), start=1)
    found = climb({"x": ladder}, lambda p: p["x"], 3)
    assert found.best == {"x": 3}
    assert len(found.tried) == 3
    assert found.at_edge == ("x",)


def test_values_tried_first_find_a_second_peak():
    gains: dict[float, float] = {1: 0.2, 2: 0.1, 3: 0.0, 4: 0.3, 5: 0.4}
    ladder = Ladder(rungs=(1, 2, 3, 4, 5), start=1)
    assert climb({"x": ladder}, lambda p: gains[p["x"]], 10).best == {"x": 1}
    ladder = Ladder(rungs=(1, 2, 3, 4, 5), start=1, also=(4,))
    assert climb({"x": ladder}, lambda p: gains[p["x"]], 10).best == {"x": 5}


def test_of_equals_the_first_tried_wins():
    ladder = Ladder(rungs=(1, 2, 3), start=2)
    assert climb({"x": ladder}, lambda _: 0.5, 10).best == {"x": 2}


def test_the_climb_starts_from_the_best_of_what_is_known():
    ladder = Ladder(rungs=(1, 2, 3, 4, 5, 6, 7, 8), start=1, also=(2,))
    known = [{"x": 3}, {"x": 6}, {"x": 4}]
    found = climb({"x": ladder}, lambda p: -abs(p["x"] - 7), 4, known)
    assert found.best == {"x": 7}
    assert [p["x"] for p, _ in found.tried] == [3, 6, 4, 7, 8]
