"""How releases stand, compared with what simulated phones choose by the device's own code."""

import random
from collections import Counter

import pytest

from pocketrec_bundle.settings.halts import Halt, Halts
from pocketrec_bundle.settings.rollout import AppVersions, RolloutPolicy, Stage
from pocketrec_edge.sync.rollout import DeviceInfo, DeviceState, choose
from pocketrec_server.repository.standing import standings

NOW = 1_800_000_000
PHONES = 4000


def policy_of(*stages):
    releases = tuple(
        Stage(manifest=f"{at:064x}", name=f"r{at}", **stage) for at, stage in enumerate(stages)
    )
    return RolloutPolicy(channel="stable", releases=releases)


def chosen(policy, halted=(), app=None):
    """Shares of new phones that take each release."""
    halts = Halts(
        halted=tuple(Halt(manifest=sha, reason="why", since_utc=NOW - 5) for sha in halted)
    )
    rng = random.Random(7)  # noqa: S311
    found: Counter[str | None] = Counter()
    for _ in range(PHONES):
        info = DeviceInfo(bucket_id=rng.randbytes(32), app_version=app)
        found[choose(policy, halts, info, DeviceState(), NOW).manifest] += 1
    return [found[stage.manifest] / PHONES for stage in policy.releases]


@pytest.mark.parametrize(
    ("stages", "states"),
    [
        ([{"percent": 60.0}, {"percent": 100.0}, {"percent": 100.0}], "live live kept"),
        ([{"percent": 100.0}] * 4, "live kept kept kept"),
        ([{"percent": 30.0}, {"percent": 50.0}, {"percent": 20.0}], "live live live"),
        ([{"percent": 0.0}, {"percent": 100.0}], "offered live"),
        ([{"percent": 50.0, "state": "paused"}, {"percent": 100.0}], "paused live"),
        ([{"percent": 50.0, "state": "killed"}, {"percent": 100.0}], "killed live"),
        ([{"percent": 50.0, "from_utc": NOW + 1}, {"percent": 100.0}], "scheduled live"),
        ([{"percent": 50.0, "until_utc": NOW}, {"percent": 100.0}], "ended live"),
        ([{"percent": 1.0, "ramp": ((NOW, 80.0),)}, {"percent": 100.0}], "live live"),
        ([], ""),
    ],
)
def test_shares_are_those_of_phones_that_choose_by_the_policy(stages, states):
    policy = policy_of(*stages)
    found = standings(policy, (), NOW)
    assert [one.state.split()[0] for one in found] == states.split()
    assert [one.share for one in found] == pytest.approx(chosen(policy), abs=0.03)


def test_a_halted_release_gets_no_phone_and_the_next_gets_all():
    policy = policy_of({"percent": 100.0}, {"percent": 100.0}, {"percent": 100.0})
    halted = [policy.releases[0].manifest]
    found = standings(policy, halted, NOW)
    assert [(one.state, one.share) for one in found] == [
        ("halted", 0),
        ("live", 1),
        ("kept for rollback", 0),
    ]
    assert chosen(policy, halted) == [0, 1, 0]


def test_a_release_for_some_apps_leaves_the_others_to_the_next():
    policy = policy_of({"percent": 50.0, "app": AppVersions(least="2.0")}, {"percent": 100.0})
    first, second = standings(policy, (), NOW)
    assert (first.state, second.state) == ("live", "live")
    assert first.share == pytest.approx(chosen(policy, app="2.1")[0], abs=0.03)
    assert second.share == chosen(policy, app="1.0")[1] == 1
