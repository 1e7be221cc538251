"""Weights of hand-made logs, and what the log proves about support."""

import numpy as np
import pytest

from pocketrec_bundle.errors import InputError
from pocketrec_experiments.off_policy import (
    LoggedSlates,
    SlatePolicy,
    item_position,
    position_based,
)


def log_of(items, propensity, reward=None, users=None):
    """Requests with as many places each; items: [R, K]."""
    items = np.array(items)
    n, k = items.shape
    return LoggedSlates(
        users=np.arange(n) if users is None else np.array(users),
        request=np.repeat(np.arange(n), k),
        place=np.tile(np.arange(1, k + 1), n),
        item=items.ravel(),
        reward=np.zeros(n * k) if reward is None else np.array(reward, np.float64).ravel(),
        propensity=np.array(propensity, np.float64).ravel(),
        features=np.zeros((n * k, 0)),
    )


def policy_of(rows):
    """Rows: (request, place, item, probability)."""
    request, place, item, probability = zip(*rows, strict=True)
    return SlatePolicy(
        request=np.array(request),
        place=np.array(place),
        item=np.array(item),
        probability=np.array(probability, np.float64),
        features=np.zeros((len(rows), 0)),
    )


def test_the_weight_is_target_over_logging_probability():
    log = log_of([[3, 4], [5, 4]], [[0.8, 0.8], [0.1, 0.8]])
    target = policy_of([(0, 1, 3, 1.0), (0, 2, 9, 0.5), (0, 2, 4, 0.5), (1, 1, 5, 0.2)])
    weighted = item_position(log, target)
    assert weighted.weight == pytest.approx([1 / 0.8, 0.5 / 0.8, 2.0, 0.0])
    assert weighted.expected.tolist() == [[1.0, 1.0], [pytest.approx(0.2), 0.0]]
    assert weighted.explored == 1.0 and not weighted.support_known


def test_a_place_that_holds_one_item_for_sure_supports_no_other():
    log = log_of([[3, 4]], [[1.0, 0.8]])
    other = policy_of([(0, 1, 7, 1.0), (0, 2, 7, 1.0), (0, 3, 8, 1.0)])
    weighted = item_position(log, other)  # place 1 is fixed, place 2 may be, place 3 was not shown
    assert weighted.supported.tolist() == [1.0] and weighted.places.tolist() == [3.0]
    own = item_position(log, policy_of([(0, 1, 3, 1.0), (0, 2, 4, 1.0)]))
    assert own.supported.tolist() == [2.0]


def test_the_logging_policy_tells_the_support_exactly():
    log = log_of([[3, 4]], [[0.8, 0.8]])
    logging = policy_of(
        [(0, 1, 3, 0.8), (0, 1, 8, 0.2), (0, 2, 4, 0.8), (0, 2, 8, 0.2)],
    )
    target = policy_of([(0, 1, 8, 1.0), (0, 2, 3, 1.0)])  # 3 is logged at the first place only
    weighted = item_position(log, target, logging)
    assert weighted.support_known and weighted.supported.tolist() == [1.0]


def test_a_position_based_weight_counts_an_item_at_any_place():
    log = log_of([[3, 4]], [[0.8, 0.8]])
    logging = policy_of([(0, 1, 3, 0.8), (0, 1, 8, 0.2), (0, 2, 4, 0.8), (0, 2, 8, 0.2)])
    target = policy_of([(0, 1, 4, 1.0), (0, 2, 3, 1.0)])
    weighted = position_based(log, target, logging, np.array([1.0, 0.5]))
    assert weighted.weight == pytest.approx([0.5 / 0.8, 1.0 / 0.4])
    assert weighted.supported.tolist() == weighted.places.tolist() == [1.5]
    assert weighted.expected.tolist() == [[1.5]] and weighted.control.tolist() == [1.0, 0.5]


def test_a_logged_item_must_be_one_of_the_logging_policy():
    log = log_of([[3, 4]], [[0.8, 0.8]])
    logging = policy_of([(0, 1, 3, 0.8), (0, 2, 5, 0.8)])
    with pytest.raises(InputError, match="1 logged items have no probability"):
        position_based(log, logging, logging, np.ones(2))
    with pytest.raises(InputError, match="expected one above 0 for each of 2"):
        position_based(log, logging, logging, np.ones(1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"propensity": np.array([0.0])}, "propensity"),
        ({"propensity": np.array([1.1])}, "propensity"),
        ({"reward": np.array([np.nan])}, "reward"),
        ({"place": np.array([0])}, "log.place"),
        ({"item": np.array([1 << 28])}, "log.item"),
        ({"request": np.array([1])}, "log.request"),
        ({"features": np.zeros((1, 2))}, "features: 2 of the log and 0"),
    ],
)
def test_bad_arrays_are_refused(changes, message):
    sound = {
        "users": np.array([0]),
        "request": np.array([0]),
        "place": np.array([1]),
        "item": np.array([1]),
        "reward": np.array([1.0]),
        "propensity": np.array([0.5]),
        "features": np.zeros((1, 0)),
    }
    with pytest.raises(InputError, match=message):
        item_position(LoggedSlates(**(sound | changes)), policy_of([(0, 1, 1, 1.0)]))
