"""Assignment: hand-computed examples, and what holds for all devices.

The hand-computed numbers come from `sha256sum` of GNU coreutils:
printf HEX | xxd -r -p | sha256sum, the first 12 digits over 2^48.
"""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_bundle.settings.assignment import (
    assigned_arm,
    drawn_arm,
    is_enrolled,
    is_held_out,
    place_in,
    unit,
)
from pocketrec_bundle.settings.experiment import KILLED, PAUSED, RUNNING, Experiment
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_bundle.settings.experiments import Holdout

BUCKET = bytes(range(16))
N = 4000
DEVICES = [n.to_bytes(16, "big") for n in range(N)]
BUCKETS = st.binary(min_size=16, max_size=16)


def experiment(
    *,
    salt: str = "00" * 16,
    layer: str = "ranking",
    shares: tuple[float, ...] = (0.5, 0.5),
    **more: Any,
) -> Experiment:
    values: dict[str, Any] = {
        "id": "blend",
        "hypothesis": "",
        "segment": (0.0, 1.0),
        "state": RUNNING,
        "from_utc": 0,
        "until_utc": 1000,
        "percent": 100.0,
    }
    arms = tuple(Arm(name=str(n), share=share) for n, share in enumerate(shares))
    return Experiment(salt=salt, layer=layer, arms=arms, **values | more)


def test_numbers_of_a_device_are_those_of_the_page():
    assert unit(BUCKET, bytes(16)) == pytest.approx(0.502354389913, abs=5e-13)
    assert unit(BUCKET, b"\xff" * 16) == pytest.approx(0.106941410380, abs=5e-13)
    assert place_in("ranking", BUCKET) == pytest.approx(0.075062622239, abs=5e-13)
    assert unit(BUCKET, bytes(16)) == 0x809A4C1BAD26 / 2**48


def test_the_page_s_device_is_where_the_page_says():
    tenth: dict[str, Any] = {"segment": (0.0, 0.1)}
    assert is_enrolled(experiment(percent=76, **tenth), BUCKET, 0)
    assert not is_enrolled(experiment(percent=75, **tenth), BUCKET, 0)
    assert drawn_arm(experiment(), BUCKET).name == "1"
    assert drawn_arm(experiment(shares=(0.51, 0.49)), BUCKET).name == "0"
    assert drawn_arm(experiment(shares=(0.2, 0.3, 0.5)), BUCKET).name == "2"
    assert not is_held_out(Holdout(salt="ff" * 16, share=0.1), BUCKET)
    held_out = Holdout(salt="ff" * 16, share=0.11)
    assert is_held_out(held_out, BUCKET) and not is_held_out(None, BUCKET)
    assert assigned_arm(experiment(), held_out, BUCKET, 0) is None
    assert assigned_arm(experiment(), None, BUCKET, 0) is not None


@pytest.mark.parametrize(
    ("more", "now", "runs"),
    [
        ({}, -1, False),
        ({}, 0, True),
        ({}, 999, True),
        ({}, 1000, False),
        ({"state": PAUSED}, 0, True),
        ({"state": KILLED}, 0, False),
        ({"segment": (0.1, 1.0)}, 0, False),
    ],
)
def test_an_experiment_has_arms_in_its_time_only(more, now, runs):
    assert (assigned_arm(experiment(**more), None, BUCKET, now) is not None) is runs


def chi_square(found: Counter[str], expected: dict[str, float]) -> float:
    return sum((found[name] - count) ** 2 / count for name, count in expected.items())


def test_devices_fall_into_arms_by_their_shares():
    shares = (0.5, 0.3, 0.2)
    found = Counter(drawn_arm(experiment(shares=shares), one).name for one in DEVICES)
    expected = {str(n): N * share for n, share in enumerate(shares)}
    assert chi_square(found, expected) < 13.8  # 2 degrees of freedom, p = .001


def test_places_in_a_layer_are_uniform():
    tenths = Counter(str(int(place_in("ranking", one) * 10)) for one in DEVICES)
    assert chi_square(tenths, {str(n): N / 10 for n in range(10)}) < 27.9  # 9 degrees, p = .001


@pytest.mark.parametrize("other", [{"layer": "other", "salt": "11" * 16}, {"salt": "11" * 16}])
def test_arms_of_two_experiments_are_independent(other):
    """In another layer, and after another salt in the same layer."""
    one, two = experiment(), experiment(**other)
    found = Counter(drawn_arm(one, each).name + drawn_arm(two, each).name for each in DEVICES)
    assert chi_square(found, dict.fromkeys(("00", "01", "10", "11"), N / 4)) < 16.3  # 3 degrees


def test_layers_are_independent():
    half: dict[str, Any] = {"segment": (0.0, 0.5)}
    one, two = experiment(**half), experiment(layer="other", **half)
    found = Counter(
        f"{is_enrolled(one, each, 0):d}{is_enrolled(two, each, 0):d}" for each in DEVICES
    )
    assert chi_square(found, dict.fromkeys(("00", "01", "10", "11"), N / 4)) < 16.3


@given(BUCKETS, st.lists(st.floats(0, 1), min_size=3, max_size=3, unique=True), st.floats(0, 100))
def test_experiments_of_a_layer_exclude_each_other(bucket, ends, percent):
    low, middle, high = sorted(ends)
    parts = [(low, middle), (middle, high)]
    enrolled = [is_enrolled(experiment(segment=part, percent=percent), bucket, 0) for part in parts]
    assert sum(enrolled) <= 1
    full = [is_enrolled(experiment(segment=part), bucket, 0) for part in parts]
    assert sum(full) == (low <= place_in("ranking", bucket) < high)


@given(BUCKETS, st.lists(st.floats(0, 100), min_size=2, max_size=5).map(sorted), st.floats(0, 0.9))
def test_a_ramp_only_adds_devices_and_changes_no_arm(bucket, percents, low):
    ramp = tuple((10 * n, percent) for n, percent in enumerate(percents[1:], 1))
    ramped = experiment(segment=(low, 1.0), percent=percents[0], ramp=ramp)
    arms = [assigned_arm(ramped, None, bucket, 10 * n) for n in range(len(percents))]
    entered = [arm for arm in arms if arm is not None]
    assert arms == [None] * (len(arms) - len(entered)) + entered
    assert len({arm.name for arm in entered}) <= 1


@given(BUCKETS, st.integers(2, 8))
def test_every_device_has_an_arm(bucket, n):
    """Shares of 1/3 do not add up to 1 exactly; the last arm has the rest."""
    arm = drawn_arm(experiment(shares=(1 / n,) * n), bucket)
    assert int(arm.name) == min(int(unit(bucket, bytes(16)) * n), n - 1)
