"""The truth of an experiment's arms, by hand, and against the clicks of the user model."""

import pytest

from pocketrec_edge.simulator.arm_truth import arm_truths, lift
from pocketrec_edge.simulator.session_result import SessionResult
from pocketrec_edge.simulator.user_model import Habits, UserModel


def phone(arm, shown, clicks, expected):
    return SessionResult(arm=arm, shown=shown, clicks=clicks, expected_clicks=expected)


def test_the_truth_of_an_arm_is_the_mean_chance_of_its_impressions():
    phones = [
        phone("control", 10, 1, 2.0),
        phone("control", 30, 4, 2.0),
        phone("large", 10, 3, 1.5),
        phone(None, 0, 0, 0.0),
        phone("unknown", 10, 9, 9.0),
    ]
    control, large, empty = arm_truths(phones, ["control", "large", "empty"])
    assert (control.devices, control.shown, control.clicks) == (2, 40, 5)
    assert control.ctr == pytest.approx(0.1)  # 4 of 40
    assert lift(large, control) == pytest.approx(0.5)  # .15 against .1
    assert (control.left, large.left) == (0, 0)
    left = SessionResult(arm="large", left_arm=True, shown=1, expected_clicks=0.5)
    (after,) = arm_truths([*phones, left], ["large"])
    assert (after.devices, after.left) == (2, 1)
    assert after.ctr == pytest.approx(2 / 11)
    assert (empty.devices, empty.ctr, lift(empty, control)) == (0, None, None)
    assert lift(large, empty) is None


def test_users_click_with_the_chance_that_the_model_states():
    user, n = UserModel(Habits(), "a user"), 20_000
    for place, appeal in ((1, 1.0), (3, 1.0), (1, 1.5), (1, 0.0)):
        clicks = sum(user.takes("item", place, appeal) for _ in range(n))
        chance = user.chance("item", place, appeal)
        assert clicks / n == pytest.approx(chance, abs=4 * (0.25 / n) ** 0.5)
    assert user.chance("item", 1, 1.5) == pytest.approx(1.5 * user.chance("item", 1))
    assert user.chance("item", 1, 1000.0) == 1.0
