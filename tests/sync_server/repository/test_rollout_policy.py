"""Which releases a channel keeps: those that devices may take, and some to go back to."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.rollout import (
    MAX_STAGES,
    PAUSED,
    AppVersions,
    FailureLimit,
    RolloutPolicy,
    Stage,
)
from pocketrec_server.repository.publish import change_policy, publish, read_policy
from pocketrec_server.repository.rollout import offered, with_newest


def sha(n):
    return f"{n:064x}"


def stage(n, percent=100.0, **more):
    return Stage(manifest=sha(n), name=str(n), percent=percent, **more)


def policy(*stages):
    return RolloutPolicy(channel="stable", releases=stages)


def numbers(found):
    return [int(each.manifest, 16) for each in found.releases]


def test_the_newest_comes_first_and_as_many_stay_as_one_may_go_back_to():
    found = policy()
    for n in range(1, 7):
        found = with_newest(found, sha(n), str(n), 100.0, 3)
    assert numbers(found) == [6, 5, 4, 3]
    assert numbers(with_newest(found, sha(4), "4", 100.0, 3)) == [4, 6, 5, 3]


def test_all_that_devices_may_take_stays_however_old():
    """Four partial releases above one for everybody: the rest of the devices need that one."""
    found = policy(stage(9, 5), stage(8, 5), stage(7, 5), stage(6, 5), stage(5), stage(4))
    assert numbers(with_newest(found, sha(10), "10", 1.0, 3)) == [10, 9, 8, 7, 6, 5]
    assert numbers(with_newest(found, sha(10), "10", 100.0, 3)) == [10, 9, 8, 7]


@pytest.mark.parametrize(
    "above",
    [
        stage(2, 99.0),
        stage(2, state=PAUSED),
        stage(2, app=AppVersions(least="2")),
        stage(2, device_classes=("big",)),
        stage(2, from_utc=5),
        stage(2, until_utc=5),
    ],
)
def test_a_release_that_some_devices_may_not_take_leaves_the_next_one_offered(above):
    assert len(offered(policy(above, stage(1), stage(0)))) == 2


def test_a_limit_of_failures_excludes_nobody():
    careful = stage(2, most_failures=FailureLimit(of=10, share=0.1))
    assert offered(policy(careful, stage(1))) == (careful,)


def test_the_same_again_changes_nothing_and_a_new_share_keeps_the_other_settings():
    found = policy(stage(2, 5, app=AppVersions(least="2")), stage(1))
    assert with_newest(found, sha(2), "2", 5, 3) is found
    wider = with_newest(found, sha(2), "2", 50, 3)
    assert wider.releases[0] == stage(2, 50, app=AppVersions(least="2"))
    resumed = with_newest(policy(stage(2, state=PAUSED)), sha(2), "2", 100.0, 3)
    assert resumed.releases == (stage(2),)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from([1.0, 50.0, 100.0])), max_size=60),
    st.integers(3, 20),
)
def test_whatever_is_published_the_policy_is_sound(published, spare):
    found = policy()
    for n, percent in published:
        before = found
        found = with_newest(found, sha(n), string.printable[n], percent, spare)
        assert numbers(found)[0] == n
        assert len(set(numbers(found))) == len(found.releases) <= MAX_STAGES
        assert set(numbers(found)) <= {n, *numbers(before)}
        RolloutPolicy.from_bytes(found.to_bytes())


def test_a_policy_is_changed_and_signed_and_names_only_what_was_published(founded, named_releases):
    repo, signers = founded
    publish(named_releases[1], repo, signers, "stable", percent=20)
    first, second = read_policy(repo, "stable").releases
    assert (first.name, first.percent, second.name, second.percent) == ("1", 20.0, "0", 100.0)
    swapped = policy(second, first)
    assert change_policy(repo, signers, "stable", lambda _: swapped) == swapped
    assert read_policy(repo, "stable") == swapped
    before = (repo / "metadata" / "timestamp.json").read_bytes()
    change_policy(repo, signers, "stable", lambda same: same)
    with pytest.raises(InputError, match="is not published"):
        change_policy(repo, signers, "stable", lambda _: policy(stage(7)))
    assert (repo / "metadata" / "timestamp.json").read_bytes() == before
