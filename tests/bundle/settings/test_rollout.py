import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_bundle.encoding.strict_json import MAX_UTC
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.settings.app_versions import version_of
from pocketrec_bundle.settings.rollout import (
    MAX_BYTES,
    MAX_CLASSES,
    MAX_RAMP,
    MAX_STAGES,
    AppVersions,
    FailureLimit,
    RolloutPolicy,
    Stage,
    SyncPolicy,
)

SHA = "0a" * 32
SOUND = {
    "manifest": SHA,
    "name": "spring",
    "percent": 12.5,
    "ramp": [[6, 20], [7, 20.5], [8, 100]],
    "state": "paused",
    "app": {"least": "1.2", "below": "2"},
    "device_classes": ["phone", "tablet-large"],
    "from_utc": 5,
    "until_utc": 9,
    "most_failures": {"of": 100, "share": 0.05},
}
SYNC = {
    "unmetered": True,
    "charging": False,
    "quiet_hours": [22, 7],
    "every_s": 86_400,
    "spread_s": 3600,
}


def policy(*, sync: object = SYNC, **changes: object) -> dict[str, object]:
    return {"format": 1, "channel": "stable", "releases": [SOUND | changes], "sync": sync}


def test_a_policy_survives_json():
    found = RolloutPolicy.from_json(policy())
    assert found.to_json() == json.loads(found.to_bytes()) == policy()
    assert RolloutPolicy.from_bytes(found.to_bytes()) == found
    (stage,) = found.releases
    assert [stage.percent_at(now) for now in (5, 6, 7, 8, 9)] == [12.5, 20, 20.5, 100, 100]
    assert stage.app == AppVersions(least="1.2", below="2")
    assert stage.most_failures == FailureLimit(of=100, share=0.05)
    assert found.sync.quiet_hours == (22, 7)


def test_one_of_defaults_is_sound_and_open_to_all():
    made = RolloutPolicy(channel="stable", releases=(Stage(manifest=SHA, name="x", percent=100),))
    assert RolloutPolicy.from_bytes(made.to_bytes()) == made


@pytest.mark.parametrize(
    "change",
    [
        *({"manifest": value} for value in (None, SHA[:-1], SHA.upper(), SHA + "\n", "g" * 64)),
        *({"name": value} for value in (None, 1, "x" * 201)),
        *({"percent": value} for value in (-0.1, 100.1, True, "50", None, float("nan"))),
        *(
            {"ramp": value}
            for value in (None, [[6]], [[6, 12]], [[6, 20], [6, 30]], [[6, 20], [7, 19]])
        ),
        *({"ramp": value} for value in ([[6, 101]], [[-1, 20]], [[6.0, 20]], [{"6": 20}], "ramp")),
        {"ramp": [[second, 20] for second in range(MAX_RAMP + 1)]},
        *({"state": value} for value in ("", "Active", None, [], ["active"])),
        *({"app": {"least": value, "below": None}} for value in (1.2, "", "1.", "v1", "1.2.3.4.5")),
        *({"app": {"least": None, "below": value}} for value in ("1 ", "1-2", "٣", "1" * 10)),
        *({"app": value} for value in (None, {}, {"least": None}, {"least": "2", "below": "2.0"})),
        *({"device_classes": value} for value in (None, "phone", ["Phone"], [""], [1])),
        {"device_classes": ["phone"] * (MAX_CLASSES + 1)},
        *({"from_utc": value} for value in (-1, 1.0, None, MAX_UTC + 1)),
        *({"until_utc": value} for value in (5, 4, "9", True, MAX_UTC + 1)),
        *({"most_failures": value} for value in (0, {}, {"of": 0, "share": 0.1})),
        *({"most_failures": {"of": 1, "share": value}} for value in (-0.1, 1.1, None)),
        {"more": 1},
    ],
)
def test_a_release_that_is_not_as_it_should_be_is_refused(change):
    with pytest.raises(BundleInvalidError, match=r"policy\.json: release 1"):
        RolloutPolicy.from_json(policy(**change))


@pytest.mark.parametrize(
    "change",
    [
        *({"unmetered": value} for value in (0, None, "yes")),
        *({"charging": value} for value in (1, None)),
        *(
            {"quiet_hours": value}
            for value in ([22], [22, 24], [7, 7], [1.0, 2], "22-7", [1, 2, 3])
        ),
        *({"every_s": value} for value in (59, 31_536_001, 60.0)),
        *({"spread_s": value} for value in (-1, 604_801, None)),
        {"more": 1},
    ],
)
def test_sync_settings_that_are_not_as_they_should_be_are_refused(change):
    with pytest.raises(BundleInvalidError, match=r"policy\.json: sync"):
        RolloutPolicy.from_json(policy(sync=SYNC | change))


@pytest.mark.parametrize(
    "value",
    [
        *(None, [], {}, policy() | {"more": 1}, policy() | {"format": 2}),
        *(
            policy() | {"format": True},
            policy() | {"channel": "Stable"},
            policy() | {"channel": ""},
        ),
        *(policy() | {"releases": {}}, policy() | {"releases": [{}]}),
        policy() | {"releases": [SOUND, SOUND]},
        policy() | {"releases": [SOUND | {"manifest": f"{n:064x}"} for n in range(MAX_STAGES + 1)]},
    ],
)
def test_a_policy_of_another_form_is_refused(value):
    with pytest.raises(BundleInvalidError, match=r"policy\.json"):
        RolloutPolicy.from_json(value)


def test_a_policy_too_large_is_refused_unread():
    data = RolloutPolicy.from_json(policy()).to_bytes()
    padded = data + b" " * (MAX_BYTES - len(data))
    assert RolloutPolicy.from_bytes(padded).channel == "stable"
    with pytest.raises(BundleInvalidError, match="exceed"):
        RolloutPolicy.from_bytes(padded + b" ")


def test_a_policy_that_devices_would_refuse_is_not_written():
    stage = Stage(manifest=SHA, name="x", percent=101)
    with pytest.raises(BundleInvalidError, match="percent"):
        RolloutPolicy(channel="stable", releases=(stage,)).to_bytes()
    many = tuple(
        Stage(
            manifest=f"{at:064x}",
            name="é" * 200,
            percent=1,
            ramp=tuple((MAX_UTC - MAX_RAMP + n, 2 + n / 3) for n in range(MAX_RAMP)),
            device_classes=tuple(f"{'x' * 30}{one:02}" for one in range(MAX_CLASSES)),
            most_failures=FailureLimit(of=1, share=0),
        )
        for at in range(MAX_STAGES)
    )
    assert RolloutPolicy(channel="stable", releases=many).to_bytes()  # the largest there is fits


def test_versions_are_compared_number_by_number():
    rising = ["0", "1.2", "1.2.1", "1.10", "2", "10.0.0.1"]
    assert sorted(rising, key=version_of) == rising
    assert version_of("1.2") == version_of("1.2.0.0") != version_of("1.2.0.1")


TIMES = st.integers(0, MAX_UTC - 1)
STAGES = st.builds(
    Stage,
    manifest=st.text("0123456789abcdef", min_size=64, max_size=64),
    name=st.text(max_size=20),
    percent=st.floats(0, 100),
    ramp=st.sets(TIMES, max_size=3).map(lambda some: tuple((at, 100.0) for at in sorted(some))),
    state=st.sampled_from(["active", "paused", "killed"]),
    device_classes=st.lists(st.sampled_from(["a", "b-2"])).map(lambda some: tuple(some[:16])),
    from_utc=TIMES,
    until_utc=st.none() | st.just(MAX_UTC),
    most_failures=st.none() | st.builds(FailureLimit, of=st.integers(1, 9), share=st.floats(0, 1)),
)
SYNCS = st.builds(
    SyncPolicy,
    unmetered=st.booleans(),
    charging=st.booleans(),
    quiet_hours=st.none() | st.permutations(range(24)).map(lambda hours: (hours[0], hours[1])),
    every_s=st.integers(60, 86_400),
    spread_s=st.integers(0, 86_400),
)


@given(st.lists(STAGES, max_size=3, unique_by=lambda stage: stage.manifest), SYNCS)
def test_any_sound_policy_comes_back_as_it_was_written(stages, sync):
    made = RolloutPolicy(channel="beta", releases=tuple(stages), sync=sync)
    assert RolloutPolicy.from_bytes(made.to_bytes()) == made
