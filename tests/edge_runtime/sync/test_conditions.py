import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_bundle.settings.rollout import SyncPolicy
from pocketrec_edge.sync.conditions import (
    ASK_AGAIN_S,
    METERED,
    ON_BATTERY,
    QUIET_HOURS,
    Conditions,
    put_off,
    until,
)

MIDNIGHT = 1_699_920_000  # 2023-11-14 00:00 UTC
ANYTIME = SyncPolicy(unmetered=False, charging=False)


def conditions(*, metered=False, on_battery=False, offset=0) -> Conditions:
    return Conditions(metered=metered, on_battery=on_battery, utc_offset_s=offset)


@pytest.mark.parametrize(
    ("unmetered", "charging", "metered", "on_battery", "why"),
    [
        (True, False, True, False, METERED),
        (True, False, False, True, None),
        (False, False, True, True, None),
        (False, True, True, True, ON_BATTERY),
        (True, True, True, True, METERED),
        (True, True, False, False, None),
    ],
)
def test_network_and_power(unmetered, charging, metered, on_battery, why):
    policy = SyncPolicy(unmetered=unmetered, charging=charging)
    found = put_off(conditions(metered=metered, on_battery=on_battery), policy, MIDNIGHT)
    assert found == why


@pytest.mark.parametrize(
    ("hours", "quiet"),
    [
        ((22, 7), {22, 23, 0, 1, 2, 3, 4, 5, 6}),
        ((7, 22), set(range(7, 22))),
        ((0, 1), {0}),
        ((23, 0), {23}),
    ],
)
def test_quiet_hours_over_midnight_and_not(hours, quiet):
    policy = SyncPolicy(unmetered=False, quiet_hours=hours)
    for second in (0, 3599):
        found = {
            h for h in range(24) if put_off(conditions(), policy, MIDNIGHT + h * 3600 + second)
        }
        assert found == quiet


@given(st.integers(0, 23), st.integers(-12, 14))
def test_quiet_hours_are_those_of_the_device_s_own_clock(hour, zone):
    policy = SyncPolicy(unmetered=False, quiet_hours=(hour, (hour + 1) % 24))
    local_hour = MIDNIGHT + (hour - zone) * 3600
    at_home = conditions(offset=zone * 3600)
    assert put_off(at_home, policy, local_hour) == QUIET_HOURS
    assert put_off(at_home, policy, local_hour + 3600) is None


@given(st.integers(0, 23), st.integers(0, 23), st.integers(0, 86_399), st.integers(-12, 14))
def test_the_end_of_quiet_hours_is_the_first_moment_at_which_a_sync_may_go_on(
    begin, end, second, zone
):
    policy = SyncPolicy(unmetered=False, quiet_hours=(begin, end))
    here, now = conditions(offset=zone * 3600), MIDNIGHT + second
    if begin == end or put_off(here, policy, now) is None:
        return
    over = until(here, policy, now)
    assert now < over <= now + 86_400
    assert put_off(here, policy, over) is None
    assert put_off(here, policy, over - 1) == QUIET_HOURS


def test_network_and_power_are_asked_for_again_soon():
    metered = conditions(metered=True)
    assert until(metered, SyncPolicy(every_s=86_400), MIDNIGHT) == MIDNIGHT + ASK_AGAIN_S
    assert until(metered, SyncPolicy(every_s=60), MIDNIGHT) == MIDNIGHT + 60


def test_local_conditions_take_the_system_s_zone(monkeypatch):
    monkeypatch.setenv("TZ", "UTC-5:30")  # POSIX: east of Greenwich
    time.tzset()
    found = Conditions.local(MIDNIGHT, metered=True, on_battery=False)
    monkeypatch.undo()
    time.tzset()
    assert found == Conditions(metered=True, on_battery=False, utc_offset_s=19_800)
    assert put_off(found, ANYTIME, MIDNIGHT) is None
