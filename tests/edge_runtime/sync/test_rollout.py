import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_bundle.settings.halts import Halt, Halts
from pocketrec_bundle.settings.rollout import AppVersions, RolloutPolicy, Stage
from pocketrec_edge.sync.rollout import (
    Choice,
    DeviceInfo,
    DeviceState,
    Preferred,
    bucket,
    choose,
    why_not,
)

NOW = 1_700_000_000
NEW, OLD, OLDEST = "0c" * 32, "0b" * 32, "0a" * 32
NO_HALTS = Halts()
IDS = st.binary(min_size=16, max_size=16)
SHAS = st.binary(min_size=32, max_size=32).map(bytes.hex)


def stage(manifest: str = NEW, percent: float = 100, **changes) -> Stage:
    return Stage(
        manifest=manifest,
        name={NEW: "new", OLD: "old"}.get(manifest, "other"),
        percent=percent,
        **changes,
    )


def chosen(
    *stages: Stage,
    halts=NO_HALTS,
    here=None,
    at=NOW,
    bucket_id=bytes(16),
    preferred=None,
    **more,
) -> Choice:
    policy = RolloutPolicy(channel="stable", releases=stages)
    facts = DeviceInfo(bucket_id=bucket_id, **more)
    return choose(policy, halts, facts, here or DeviceState(), at, preferred)


def halted(manifest: str) -> Halts:
    return Halts(halted=(Halt(manifest=manifest, reason="6 of 100 failed", since_utc=NOW),))


def test_the_bucket_is_that_of_the_format_s_page():
    digest = hashlib.sha256(bytes(range(16)) + bytes.fromhex(NEW)).hexdigest()
    assert bucket(bytes(range(16)), NEW) == int(digest[:12], 16) / 2**48


@given(IDS, SHAS)
def test_a_bucket_lies_in_0_to_1_and_below_1(bucket_id, sha):
    assert 0 <= bucket(bucket_id, sha) < 1


def test_buckets_are_uniform_and_differ_from_release_to_release():
    ids = [hashlib.sha256(bytes([n % 256, n // 256])).digest()[:16] for n in range(20_000)]
    places = [bucket(each, NEW) for each in ids]
    counts = [0] * 10
    for place in places:
        counts[int(place * 10)] += 1
    # chi-squared with 9 degrees of freedom is above 27.9 once in 1,000
    assert sum((count - 2000) ** 2 / 2000 for count in counts) < 27.9
    early = [each for each, place in zip(ids, places, strict=True) if place < 0.1]
    again = sum(bucket(each, OLD) < 0.1 for each in early)
    assert abs(again / len(early) - 0.1) < 0.03  # the first of one release are not those of another


@given(IDS, SHAS, st.floats(0, 100), st.floats(0, 100))
def test_a_percentage_that_rises_takes_no_device_out(bucket_id, sha, one, two):
    less, more = sorted([one, two])
    facts = DeviceInfo(bucket_id=bucket_id)
    low, high = (
        why_not(stage(sha, percent), NO_HALTS, facts, DeviceState(), NOW)
        for percent in (less, more)
    )
    assert low is not None or high is None


@given(IDS, st.floats(0, 50), st.floats(50, 100))
def test_a_ramp_takes_in_more_devices_at_its_time_and_none_out(bucket_id, before, after):
    ramped = stage(NEW, before, ramp=((NOW, after),))
    place = bucket(bucket_id, NEW)
    early, late = (chosen(ramped, at=at, bucket_id=bucket_id).manifest for at in (NOW - 1, NOW))
    assert (early is not None, late is not None) == (place < before / 100, place < after / 100)


@given(IDS)
def test_no_device_is_within_0_and_all_are_within_100(bucket_id):
    assert chosen(stage(NEW, 0), stage(OLD), bucket_id=bucket_id).manifest == OLD
    assert chosen(stage(NEW, 100), stage(OLD), bucket_id=bucket_id).manifest == NEW


@pytest.mark.parametrize(
    ("passed_over", "why"),
    [
        ({"state": "killed"}, "killed"),
        ({"state": "paused"}, "paused"),
        ({"percent": 0}, "for 0% of devices, not this one"),
        ({"from_utc": NOW + 1}, "it begins later"),
        ({"until_utc": NOW}, "its time is over"),
        ({"app": AppVersions(least="2.1")}, "not for version 2.0.9-beta of the app"),
        ({"app": AppVersions(below="2.0.9")}, "not for version 2.0.9-beta of the app"),
        ({"device_classes": ("tv",)}, "not for device class phone"),
    ],
)
def test_a_release_that_is_not_for_this_device_is_passed_over_and_why_is_said(passed_over, why):
    found = chosen(
        stage(NEW, **passed_over), stage(OLD), app_version="2.0.9-beta", device_class="phone"
    )
    assert found == Choice(manifest=OLD, why=f"new: {why}; old: chosen")


@pytest.mark.parametrize(
    "taken",
    [
        {"from_utc": NOW, "until_utc": NOW + 1},
        {"app": AppVersions(least="2", below="2.1")},
        {"app": AppVersions(least="2.0.9.0")},
        {"device_classes": ("tv", "phone")},
    ],
)
def test_a_release_whose_rules_the_device_just_fits_is_taken(taken):
    found = chosen(stage(NEW, **taken), stage(OLD), app_version="2.0.9-beta", device_class="phone")
    assert found == Choice(manifest=NEW, why="new: chosen")


@pytest.mark.parametrize("version", [None, "", "beta", "v2"])
def test_an_app_of_unknown_version_fits_only_a_release_without_that_rule(version):
    ruled = stage(NEW, app=AppVersions(least="0"))
    assert chosen(ruled, stage(OLD), app_version=version).manifest == OLD
    assert chosen(stage(NEW, device_classes=("phone",)), stage(OLD)).manifest == OLD


@pytest.mark.parametrize("state", ["active", "paused"])
def test_what_a_device_has_it_keeps_though_it_is_paused_halted_or_for_fewer(state):
    here = DeviceState(active=NEW)
    found = chosen(stage(NEW, 0, state=state), stage(OLD), halts=halted(NEW), here=here)
    assert found == Choice(manifest=NEW, why="new: kept")
    newer = chosen(
        stage(NEW, 0, state=state), stage(OLD), halts=halted(NEW), here=DeviceState(active=OLD)
    )
    assert newer.manifest == OLD


def test_a_halted_release_is_not_taken_and_the_reason_is_told():
    found = chosen(stage(NEW), stage(OLD), halts=halted(NEW))
    assert found == Choice(manifest=OLD, why="new: halted (6 of 100 failed); old: chosen")


def test_a_killed_release_is_left_for_the_next_or_stopped():
    here = DeviceState(active=NEW)
    assert chosen(stage(NEW, state="killed"), stage(OLD), here=here).manifest == OLD
    alone = chosen(stage(NEW, state="killed"), here=here)
    assert alone == Choice(manifest=None, why="new: killed", stopped=True)
    assert not chosen(stage(NEW, state="killed"), here=DeviceState(active=OLD)).stopped


def test_a_release_that_failed_here_is_passed_over_until_a_newer_one_comes():
    here = DeviceState(active=OLD, refused=frozenset({NEW}))
    kept = chosen(stage(NEW), stage(OLD), here=here)
    assert kept == Choice(manifest=OLD, why="new: it failed on this device; old: kept")
    newest = "0d" * 32
    assert chosen(stage(newest), stage(NEW), stage(OLD), here=here).manifest == newest


def test_without_a_release_that_fits_whatever_is_there_stays():
    assert chosen() == Choice(manifest=None, why="nothing is published")
    later = chosen(stage(NEW, from_utc=NOW + 9), here=DeviceState(active=OLDEST))
    assert later == Choice(manifest=None, why="new: it begins later")


def test_a_rollback_wins_over_the_release_that_a_device_has():
    assert chosen(stage(OLD), stage(NEW), here=DeviceState(active=NEW)).manifest == OLD


STAGES = st.builds(
    Stage,
    manifest=SHAS,
    name=st.just("x"),
    percent=st.floats(0, 100),
    state=st.sampled_from(["active", "paused", "killed"]),
    device_classes=st.sampled_from([(), ("phone",)]),
    from_utc=st.sampled_from([0, NOW + 1]),
)


@given(st.lists(STAGES, min_size=1, max_size=4, unique_by=lambda s: s.manifest), IDS, st.data())
def test_a_choice_is_stable_and_never_killed_or_refused(stages, bucket_id, data):
    refused = data.draw(st.frozensets(st.sampled_from([s.manifest for s in stages])))
    here = DeviceState(refused=refused)
    first = chosen(*stages, here=here, bucket_id=bucket_id)
    if first.manifest is None:
        return
    took = next(s for s in stages if s.manifest == first.manifest)
    assert took.state == "active" and took.manifest not in refused
    again = chosen(
        *stages, here=DeviceState(active=took.manifest, refused=refused), bucket_id=bucket_id
    )
    assert again.manifest == took.manifest


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["publish", "raise", "lower", "pause", "resume", "halt", "unhalt"]),
        st.integers(0, 3),
        st.floats(0, 100),
    ),
    max_size=12,
)


@given(OPERATIONS, IDS)
def test_nothing_but_a_kill_or_a_rollback_takes_a_device_back_to_an_older_release(steps, bucket_id):
    """Publishing, staging, pausing and halting, in any order, with a sync after each."""
    stages = [stage(f"{0:064x}")]
    stopped: set[str] = set()
    had: list[str] = []
    for kind, at, percent in steps:
        at = at % len(stages)
        manifest, before = stages[at].manifest, stages[at].percent
        if kind == "publish":
            stages.insert(0, stage(f"{len(stages):064x}", percent))
        elif kind in ("raise", "lower"):
            wanted = (max if kind == "raise" else min)(percent, before)
            stages[at] = replace(stages[at], percent=wanted)
        elif kind in ("pause", "resume"):
            stages[at] = replace(stages[at], state="paused" if kind == "pause" else "active")
        else:
            stopped = stopped | {manifest} if kind == "halt" else stopped - {manifest}
        halts = Halts(
            halted=tuple(Halt(manifest=m, reason="x", since_utc=0) for m in sorted(stopped))
        )
        here = DeviceState(active=had[-1] if had else None)
        found = chosen(*stages, halts=halts, here=here, bucket_id=bucket_id).manifest
        if found is not None and found != here.active:
            assert found not in stopped
            assert next(s.state for s in stages if s.manifest == found) == "active"
            had.append(found)
    assert had == sorted(had)  # releases are numbered in the order in which they came


ARM = Preferred(manifest=OLD, why="arm b of experiment x")


def test_the_release_of_an_arm_comes_first_whatever_its_percentage():
    for percent in (0, 100):
        found = chosen(stage(NEW), stage(OLD, percent), preferred=ARM)
        assert (found.manifest, found.by_arm) == (OLD, True)
        assert found.why == "old: arm b of experiment x"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"state": "killed"}, "killed"),
        ({"state": "paused"}, "paused"),
        ({"from_utc": NOW + 1}, "it begins later"),
        ({"until_utc": NOW}, "its time is over"),
        ({"app": AppVersions(least="2")}, "not for version 1 of the app"),
        ({"device_classes": ("tablet",)}, "not for device class unknown"),
    ],
)
def test_an_excluded_release_of_an_arm_leaves_the_choice_to_the_policy(change, why):
    found = chosen(stage(NEW), stage(OLD, **change), preferred=ARM, app_version="1")
    assert (found.manifest, found.by_arm) == (NEW, False)
    assert found.why == f"arm b of experiment x: {why}; new: chosen"


def test_a_release_of_an_arm_that_failed_needs_a_newer_app_or_is_halted_is_left_out():
    for here in (DeviceState(refused=frozenset({OLD})), DeviceState(too_new=frozenset({OLD}))):
        assert chosen(stage(NEW), stage(OLD), preferred=ARM, here=here).manifest == NEW
    found = chosen(stage(NEW), stage(OLD), preferred=ARM, halts=halted(OLD))
    assert found.manifest == NEW
    here = DeviceState(active=OLD, by_arm=OLD)
    found = chosen(stage(NEW, 0), stage(OLD), preferred=ARM, halts=halted(OLD), here=here)
    assert found.manifest is None  # the policy has no other, so it stays


def test_an_arm_of_a_release_that_the_channel_dropped_leaves_the_choice_to_the_policy():
    assert chosen(stage(NEW), preferred=ARM) == chosen(stage(NEW))


def test_a_device_does_not_keep_a_release_that_only_an_ended_arm_brought():
    stages = (stage(OLD, 0), stage(OLDEST))
    here = DeviceState(active=OLD)
    assert chosen(*stages, here=here).manifest == OLD
    assert chosen(*stages, here=DeviceState(active=OLD, by_arm=OLD)).manifest == OLDEST
    kept = chosen(stage(OLD), stage(OLDEST), here=DeviceState(active=OLD, by_arm=OLD))
    assert (kept.manifest, kept.by_arm) == (OLD, False)


@given(IDS, st.sampled_from([NEW, OLD]), st.sampled_from(["active", "paused", "killed"]))
def test_an_arm_never_brings_what_is_killed(bucket_id, manifest, state):
    stages = (stage(NEW, 50, state=state), stage(OLD, 50))
    preferred = Preferred(manifest=manifest, why="an arm")
    found = chosen(*stages, preferred=preferred, bucket_id=bucket_id)
    if state != "active":
        assert found.manifest != NEW
    assert found.by_arm is (found.manifest == manifest and found.why.endswith(": an arm"))
