import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_bundle.encoding.strict_json import MAX_UTC
from pocketrec_bundle.errors import BundleInvalidError, BundleTooNewError
from pocketrec_bundle.settings.experiment import MAX_ARMS, MAX_GUARDRAILS, STATES, Experiment
from pocketrec_bundle.settings.experiment_arms import (
    FORMAT,
    MAX_FLAGS,
    MAX_HEADS,
    METRICS,
    Arm,
    Eligible,
    Guardrail,
    weights_of,
)
from pocketrec_bundle.settings.experiments import (
    MAX_BYTES,
    MAX_EXPERIMENTS,
    Experiments,
    Holdout,
    overlap,
)
from pocketrec_bundle.settings.rollout import MAX_CLASSES, MAX_RAMP, AppVersions

SALT = "0123456789abcdef" * 2
CONTROL: dict[str, Any] = {
    "name": "control",
    "share": 0.5,
    "release": None,
    "rules": None,
    "head_weights": None,
    "campaigns": None,
    "flags": {},
}
TREATMENT: dict[str, Any] = {
    "name": "treatment",
    "share": 0.5,
    "release": "0a" * 32,
    "rules": {"version": 1, "depth": 100, "rules": [{"kind": "mmr", "relevance": 0.7}]},
    "head_weights": {"like": 1.5},
    "campaigns": {"version": 1, "campaigns": []},
    "flags": {"big_cards": True, "columns": 2, "title": "For you"},
}
SOUND: dict[str, Any] = {
    "id": "blend-2",
    "hypothesis": "More variety, more likes",
    "salt": SALT,
    "layer": "ranking",
    "segment": [0.0, 0.5],
    "state": "running",
    "from_utc": 5,
    "until_utc": 9,
    "percent": 10,
    "ramp": [[6, 20], [7, 100]],
    "eligible": {
        "app": {"least": "1.2", "below": "2"},
        "device_classes": ["phone"],
        "users": "new",
    },
    "arms": [CONTROL, TREATMENT],
    "guardrails": [{"metric": "ctr", "worse_by": 0.05, "alpha": 0.01}],
    "winner": None,
    "interleave": False,
}
HOLDOUT = {"salt": "f" * 32, "share": 0.05}


def target(*experiments: dict[str, Any], **changes: Any) -> dict[str, Any]:
    later = {"conversions": ["purchase"]} if changes.get("format") == 2 else {}
    return (
        {
            "format": 1,
            "channel": "stable",
            "session_pause_s": 1800,
            "holdout": HOLDOUT,
            "experiments": list(experiments),
        }
        | later
        | changes
    )


def each(key: str, *values: Any) -> list[dict[str, Any]]:
    """Changes of one key: one to each of the values."""
    return [{key: value} for value in values]


def refused(value: object, match: str) -> None:
    with pytest.raises(BundleInvalidError, match=match) as caught:
        Experiments.from_json(value)
    assert caught.value.code == "experiments"


def test_experiments_survive_json():
    found = Experiments.from_json(target(SOUND))
    assert found.to_json() == json.loads(found.to_bytes()) == target(SOUND)
    assert Experiments.from_bytes(found.to_bytes()) == found
    (one,) = found.experiments
    assert found.find("blend-2") is one and found.find("other") is None
    assert one.control.name == "control"
    treatment = one.arm("treatment")
    assert treatment is not None and treatment.flags["columns"] == 2 and one.arm("x") is None
    assert [one.percent_at(now) for now in (5, 6, 7)] == [10, 20, 100]
    assert [one.runs(now) for now in (4, 5, 8, 9)] == [False, True, True, False]
    assert one.eligible.app == AppVersions(least="1.2", below="2")
    assert found.holdout == Holdout(salt="f" * 32, share=0.05)


def test_a_channel_of_defaults_is_sound():
    made = Experiments(channel="stable")
    assert Experiments.from_bytes(made.to_bytes()) == made
    assert made.to_json().keys() == {
        "format",
        "channel",
        "session_pause_s",
        "holdout",
        "experiments",
    }


def test_other_conversions_need_format_2():
    usual = Experiments(channel="stable", conversions=("purchase",))
    assert (usual.format, usual.to_bytes()) == (1, Experiments(channel="stable").to_bytes())
    made = Experiments(channel="stable", conversions=("like", "purchase"))
    assert made.format == 2 and Experiments.from_bytes(made.to_bytes()) == made
    with pytest.raises(BundleInvalidError, match="keys differ from format 1"):
        Experiments.from_json(made.to_json() | {"format": 1})
    with pytest.raises(BundleInvalidError, match="keys differ from format 2"):
        Experiments.from_json(Experiments(channel="stable").to_json() | {"format": 2})


@pytest.mark.parametrize(
    "names",
    [[], "like", None, [""], ["a", "a"], ["x" * 65], [1], [["a"]], [f"{n}" for n in range(9)]],
)
def test_conversions_that_are_no_list_of_names_are_refused(names):
    value = Experiments(channel="stable", conversions=("like",)).to_json()
    with pytest.raises(BundleInvalidError, match="conversions must be a list of 1"):
        Experiments.from_json(value | {"conversions": names})


@pytest.mark.parametrize(
    "change",
    [
        *each("id", None, "", "Blend", "-a", "a" * 33, "a_b", "a\n"),
        *each("hypothesis", None, 1, "x" * 501),
        *each("salt", None, SALT[:-1], SALT.upper(), SALT + "\n"),
        *each("layer", None, "", "a b", "é"),
        *each("segment", None, [0], [0, 0], [0.5, 0.4], [-0.1, 1], [0, 1.1]),
        *each("segment", [0, 0.5, 1], [False, True], "01", {"0": 1}),
        *each("state", "", "Running", None, "active", []),
        *each("from_utc", -1, 5.0, None, MAX_UTC + 1),
        *each("until_utc", 5, None, "9", True, MAX_UTC + 1),
        *each("percent", -1, 101, True, None, float("nan")),
        *each("ramp", None, [[6, 9]], [[7, 20], [6, 30]], [[6, 101]], [[6]]),
        {"ramp": [[second, 20] for second in range(MAX_RAMP + 1)]},
        *each("guardrails", None, {}, [{}], [{"metric": "ctr"}]),
        {"guardrails": [SOUND["guardrails"][0]] * (MAX_GUARDRAILS + 1)},
        *each("winner", "control", "", 0),
        *each("interleave", None, 1, "true", True),  # the arms name more
        {"state": "shipped"},
        {"state": "shipped", "winner": "nobody"},
        {"more": 1},
    ],
)
def test_an_experiment_that_is_not_as_it_should_be_is_refused(change):
    refused(target(SOUND | change), r"experiments\.json: experiment 1")


RULED: dict[str, Any] = {"release": None, "campaigns": None, "flags": {}}


def test_two_arms_of_rules_and_weights_can_be_interleaved():
    one = SOUND | {"interleave": True, "arms": [CONTROL | RULED, TREATMENT | RULED]}
    made = Experiments.from_bytes(json.dumps(target(one)).encode())
    assert made.experiments[0].interleave
    assert Experiments.from_bytes(made.to_bytes()) == made


@pytest.mark.parametrize(
    "change",
    [
        {"name": "interleaved"},
        {"release": "0a" * 32},
        {"flags": {"big": True}},
        {"campaigns": {"version": 1, "campaigns": []}},
    ],
)
def test_arms_that_cannot_be_interleaved_are_refused(change):
    added = [CONTROL | RULED | {"models": None}, TREATMENT | RULED | {"models": "large"}]
    refused(target(SOUND | {"interleave": True, "arms": added}, format=2), "arms of an interleaved")
    arms = [CONTROL | RULED, TREATMENT | RULED | change]
    refused(target(SOUND | {"interleave": True, "arms": arms}), "arms of an interleaved experiment")
    third = [CONTROL | RULED | {"name": f"a{n}", "share": 0.25} for n in range(4)]
    refused(target(SOUND | {"interleave": True, "arms": third}), "arms of an interleaved")


@pytest.mark.parametrize(
    "change",
    [
        *each("name", None, "", "Control", "a b"),
        *each("share", 0, -0.5, 1.1, True, "0.5", None),
        *each("release", "", "spring", "0A" * 32, "0a" * 31, 1),
        *each("rules", [], {}, {"version": 1, "depth": 1}, "mmr"),
        {"rules": {"version": 1, "depth": 1, "rules": [], "more": 1}},
        *each("campaigns", [], {}, {"version": 1}),
        *each("head_weights", {}, [], {"": 1}, {"a": "1"}, {"a": 1001}, 1),
        {"head_weights": {f"h{n}": 1 for n in range(MAX_HEADS + 1)}},
        *each("flags", None, [], {"": 1}, {"1a": 1}, {"a": None}, {"a": [1]}),
        *each("flags", {"a": "x" * 201}, {"é": 1}, {"a": 1e16}),
        {"flags": {f"f{n}": 1 for n in range(MAX_FLAGS + 1)}},
        {"more": 1},
    ],
)
def test_an_arm_that_is_not_as_it_should_be_is_refused(change):
    refused(target(SOUND | {"arms": [CONTROL, TREATMENT | change]}), r"experiment 1.*: arm 2")


@pytest.mark.parametrize(
    ("arms", "match"),
    [
        (None, "arms must be a list"),
        ([CONTROL], "arms must be a list"),
        ([CONTROL] * (MAX_ARMS + 1), "arms must be a list"),
        ([CONTROL, CONTROL], "name stands twice"),
        ([CONTROL, TREATMENT | {"share": 0.6}], "add up to 1.1, not 1"),
        ([CONTROL, TREATMENT | {"share": 0.5 - 1e-8}], "not 1"),
    ],
)
def test_arms_that_do_not_share_the_devices_are_refused(arms, match):
    refused(target(SOUND | {"arms": arms}), match)


@pytest.mark.parametrize(
    "change",
    [
        *each("app", None, {}, {"least": "x", "below": None}),
        {"app": {"least": "2", "below": "2.0"}},
        *each("device_classes", None, "phone", ["Phone"], [1]),
        {"device_classes": ["phone"] * (MAX_CLASSES + 1)},
        *each("users", None, "", "old", True),
        {"more": 1},
    ],
)
def test_wrong_eligibility_is_refused(change):
    eligible = {"app": {"least": None, "below": None}, "device_classes": [], "users": "all"}
    Experiments.from_json(target(SOUND | {"eligible": eligible}))
    refused(target(SOUND | {"eligible": eligible | change}), "experiment 1, blend-2: eligible")


@pytest.mark.parametrize(
    "change",
    [
        *each("metric", None, "", "revenue"),
        *each("worse_by", -0.1, 11, None, True),
        *each("alpha", 0, 0.3, None),
    ],
)
def test_a_wrong_guardrail_is_refused(change):
    rail = {"metric": METRICS[0], "worse_by": 0, "alpha": 0.2}
    Experiments.from_json(target(SOUND | {"guardrails": [rail]}))
    refused(target(SOUND | {"guardrails": [rail | change]}), "guardrail 1")


def test_two_guardrails_of_one_metric_need_two_limits():
    """A report names a guardrail by metric and limit, so two alike would be one."""
    rail = {"metric": "ctr", "worse_by": 0.1, "alpha": 0.01}
    Experiments.from_json(target(SOUND | {"guardrails": [rail, rail | {"worse_by": 0.2}]}))
    twice = {"guardrails": [rail, rail | {"alpha": 0.05}]}
    refused(target(SOUND | twice), "two guardrails have the same metric and worse_by")


@pytest.mark.parametrize(
    "value",
    [
        *(None, [], {}, target() | {"more": 1}, target() | {"format": 0}),
        *(target(channel=value) for value in ("Stable", "", None)),
        *(target(session_pause_s=value) for value in (59, 86_401, 60.0, None)),
        *(target(**one) for one in each("holdout", {}, 0.1, HOLDOUT | {"share": 1.1})),
        *(target(holdout=HOLDOUT | {"salt": value}) for value in ("", None, "F" * 32)),
        *(target(**one) for one in each("experiments", None, {}, [{}])),
        target(*({"id": f"e{n}"} for n in range(MAX_EXPERIMENTS + 1))),
    ],
)
def test_a_target_of_another_form_is_refused(value):
    refused(value, r"experiments\.json")


def test_ids_and_salts_come_once():
    other = SOUND | {"layer": "other", "salt": "1" * 32}
    refused(target(SOUND, other), "an id stands twice")
    refused(target(SOUND, other | {"id": "b", "salt": SALT}), "a salt stands twice")
    refused(target(other | {"salt": HOLDOUT["salt"]}), "a salt stands twice")
    assert len(Experiments.from_json(target(SOUND, other | {"id": "b"})).experiments) == 2


@pytest.mark.parametrize(
    ("change", "sound"),
    [
        ({}, False),
        ({"segment": [0.4, 0.6]}, False),
        ({"segment": [0.5, 1.0]}, True),
        ({"layer": "other"}, True),
        ({"state": "paused"}, False),
        ({"state": "stopped"}, True),
        ({"state": "killed"}, True),
        ({"state": "shipped", "winner": "control"}, True),
        ({"from_utc": 9, "until_utc": 20, "ramp": []}, True),
        ({"from_utc": 8, "until_utc": 20, "ramp": []}, False),
    ],
)
def test_running_experiments_of_a_layer_share_no_device(change, sound):
    value = target(SOUND, SOUND | {"id": "second", "salt": "2" * 32} | change)
    if sound:
        one, two = Experiments.from_json(value).experiments
        assert not overlap(one, two)
    else:
        refused(value, "blend-2 and second of layer ranking overlap")


def test_a_later_format_is_too_new():
    with pytest.raises(BundleTooNewError, match="format 3"):
        Experiments.from_json({"format": FORMAT + 1, "a_new_key": 1})


def test_a_model_set_needs_format_2_and_nothing_else_does():
    """Apps that know format 1 alone then have no experiments, so it is not written in vain."""
    arms = [CONTROL | {"models": None}, TREATMENT | {"models": "large-2"}]
    found = Experiments.from_json(target(SOUND | {"arms": arms}, format=2))
    assert [arm.models for arm in found.experiments[0].arms] == [None, "large-2"]
    assert found.to_json() == target(SOUND | {"arms": arms}, format=2)
    assert Experiments.from_bytes(found.to_bytes()) == found
    without = [arm | {"models": None} for arm in (CONTROL, TREATMENT)]
    unused = Experiments.from_json(target(SOUND | {"arms": without}, format=2))
    assert unused == Experiments.from_json(target(SOUND))
    assert unused.to_json() == target(SOUND)


def test_each_format_has_its_own_keys():
    arms = [CONTROL | {"models": None}, TREATMENT | {"models": "large"}]
    refused(target(SOUND | {"arms": arms}), "arm 1: keys differ from format 1")
    refused(target(SOUND, format=2), "arm 1: keys differ from format 2")


@pytest.mark.parametrize("name", ["", "Large", "-a", "a" * 33, "a/b", "a.b", 1, [], "a\n"])
def test_a_model_set_without_a_name_of_its_form_is_refused(name):
    arms = [CONTROL | {"models": None}, TREATMENT | {"models": name}]
    refused(target(SOUND | {"arms": arms}, format=2), "arm 2: models must be null or 1..32 of")


def test_a_target_too_large_is_refused_unread():
    data = Experiments.from_json(target(SOUND)).to_bytes()
    padded = data + b" " * (MAX_BYTES - len(data))
    assert Experiments.from_bytes(padded).channel == "stable"
    with pytest.raises(BundleInvalidError, match="exceed"):
        Experiments.from_bytes(padded + b" ")


def test_weights_of_an_arm_replace_those_of_its_heads(spec):
    heads = spec.heads
    own = dict(zip(heads, spec.head_weights, strict=True))
    found = weights_of({heads[0]: 7}, spec)
    assert found == tuple((own | {heads[0]: 7.0})[head] for head in heads)
    with pytest.raises(BundleInvalidError, match="no head nobody"):
        weights_of({"nobody": 1}, spec)


NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,9}", fullmatch=True)
HEX = st.text("0123456789abcdef", min_size=32, max_size=32)
FLAGS = st.dictionaries(
    st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,9}", fullmatch=True),
    st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=9),
    max_size=3,
)


@st.composite
def experiments(draw) -> Experiment:
    names = draw(st.lists(NAMES, min_size=2, max_size=4, unique=True))
    begins = draw(st.integers(0, MAX_UTC - 9))
    low = draw(st.floats(0, 0.9))
    state = draw(st.sampled_from(STATES))
    return Experiment(
        id=draw(NAMES),
        hypothesis=draw(st.text(max_size=9)),
        salt=draw(HEX),
        layer=draw(NAMES),
        segment=(low, draw(st.floats(low + 0.01, 1))),
        state=state,
        from_utc=begins,
        until_utc=begins + draw(st.integers(1, 9)),
        percent=draw(st.floats(0, 100)),
        ramp=tuple((begins + n, 100.0) for n in range(draw(st.integers(0, 3)))),
        eligible=Eligible(users=draw(st.sampled_from(["all", "new", "existing"]))),
        arms=tuple(
            Arm(
                name=name,
                share=1 / len(names),
                flags=draw(FLAGS),
                models=draw(st.none() | NAMES),
            )
            for name in names
        ),
        guardrails=draw(
            st.lists(
                st.builds(
                    Guardrail,
                    metric=st.sampled_from(METRICS),
                    worse_by=st.floats(0, 10),
                    alpha=st.floats(0.001, 0.2),
                ),
                max_size=2,
                unique_by=lambda rail: (rail.metric, rail.worse_by),
            ).map(tuple)
        ),
        winner=names[0] if state == "shipped" else None,
    )


@given(experiments(), st.none() | st.builds(Holdout, salt=HEX, share=st.floats(0, 1)))
def test_any_sound_target_comes_back_as_it_was_written(one, holdout):
    if holdout is not None and holdout.salt == one.salt:
        holdout = None
    made = Experiments(channel="beta", experiments=(one,), holdout=holdout)
    assert Experiments.from_bytes(made.to_bytes()) == made


def test_infinite_number_within_an_arm_is_refused_when_it_is_signed():
    rules = TREATMENT["rules"] | {"rules": [{"kind": "mmr", "relevance": float("inf")}]}
    arms = [CONTROL, TREATMENT | {"rules": rules}]
    found = Experiments.from_json(target(SOUND | {"arms": arms}))
    with pytest.raises(BundleInvalidError, match=r"experiments\.json: .*float") as caught:
        found.to_bytes()
    assert caught.value.code == "experiments"
