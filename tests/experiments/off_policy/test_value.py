"""A value is refused where the log cannot tell it, and says why."""

import dataclasses

import numpy as np
import pytest

from pocketrec_bundle.errors import InputError
from pocketrec_experiments.errors import PolicyValueRefusedError
from pocketrec_experiments.off_policy import Limits, LoggedSlates, SlatePolicy, evaluate
from pocketrec_experiments.off_policy.weights import item_position

N = 3000


def drawn(epsilon=0.3, wanted=1, seed=0, logging=True):
    """One place, items 0..4: logging shows 0, by epsilon one of the others; click rate .1 i."""
    rng = np.random.default_rng(seed)
    item = np.where(rng.random(N) < epsilon, rng.integers(1, 5, N), 0)
    log = LoggedSlates(
        users=np.arange(N) // 3,
        request=np.arange(N),
        place=np.ones(N, np.int64),
        item=item,
        reward=(rng.random(N) < 0.1 * item).astype(np.float64),
        propensity=np.where(item > 0, epsilon / 4, 1 - epsilon),
        features=np.ones((N, 1)),
    )

    def policy(items, odds):
        k = len(items)
        return SlatePolicy(
            request=np.repeat(np.arange(N), k),
            place=np.ones(N * k, np.int64),
            item=np.tile(items, N),
            probability=np.tile(odds, N).astype(np.float64),
            features=np.ones((N * k, 1)),
        )

    own = (
        policy([0, 1, 2, 3, 4], [1 - epsilon, *[epsilon / 4] * 4]) if epsilon else policy([0], [1])
    )
    return item_position(log, policy([wanted], [1.0]), own if logging else None)


@pytest.mark.parametrize("logging", [True, False])
def test_a_supported_target_has_its_value(logging):
    found = evaluate(drawn(wanted=3, logging=logging))
    for estimate in (found.ips, found.snips, found.dr):
        assert estimate.low < 0.3 < estimate.high
    assert found.supported == 1.0 and found.support_known is logging
    assert found.gain.value == pytest.approx(found.dr.value - found.logged.value)
    assert found.mean_weight.low < 1 < found.mean_weight.high
    assert found.requests == found.impressions == N and found.users == N // 3
    assert found.largest_weight == pytest.approx(1 / 0.075) and found.clipped == 0.0


def test_clipping_is_stated_and_lowers_the_value():
    found = evaluate(drawn(wanted=3), Limits(clip=5.0))
    assert found.clipped == pytest.approx(found.effective / N, rel=0.01)
    assert found.ips.value < 0.2 < 0.3


def test_a_log_without_exploration_is_refused():
    with pytest.raises(PolicyValueRefusedError, match=r"no impression was explored") as caught:
        evaluate(drawn(epsilon=0.0))
    assert caught.value.code == "no_exploration" and caught.value.exit_code == 3


def test_the_logged_policy_itself_needs_no_exploration():
    assert evaluate(drawn(epsilon=0.0, wanted=0)).gain.value == 0.0


def test_items_that_logging_could_not_show_are_refused():
    with pytest.raises(PolicyValueRefusedError, match=r"could fill 0\.0% of the target") as caught:
        evaluate(drawn(wanted=9))
    assert caught.value.code == "no_support"
    # without the logging policy the weights show it
    with pytest.raises(PolicyValueRefusedError, match=r"by its weights the log supports 0\.0%"):
        evaluate(drawn(wanted=9, logging=False))


def test_some_missing_support_may_be_allowed():
    log = drawn(wanted=1)
    part = dataclasses.replace(log, supported=0.9 * log.places, support_known=False)
    with pytest.raises(PolicyValueRefusedError, match=r"at most 90\.0%"):
        evaluate(part)
    assert evaluate(part, Limits(unsupported=0.1)).supported == pytest.approx(0.9)


def test_wrong_propensities_are_noticed():
    log = drawn(wanted=1)
    wrong = dataclasses.replace(log, weight=log.weight * 2)
    with pytest.raises(PolicyValueRefusedError, match="wrong propensities") as caught:
        evaluate(wrong)
    assert caught.value.code == "wrong_propensities"


def test_too_few_effective_impressions_are_refused():
    with pytest.raises(PolicyValueRefusedError, match=r"weigh as many as \d+") as caught:
        evaluate(drawn(epsilon=0.1), Limits(effective=200))
    assert caught.value.code == "few_effective"


def test_no_slates_and_wrong_limits_are_refused():
    log = drawn()
    none = np.zeros(0)
    empty = dataclasses.replace(
        log,
        users=none.astype(int),
        request=none.astype(int),
        reward=none,
        weight=none,
        control=none,
        group=none.astype(int),
        expected=np.zeros((0, 1)),
        features=np.zeros((0, 1)),
        target_features=np.zeros((0, 1)),
        supported=none,
        places=none,
    )
    with pytest.raises(PolicyValueRefusedError, match="no slate"):
        evaluate(empty)
    with pytest.raises(InputError, match="limits"):
        evaluate(log, Limits(unsupported=2.0))
