"""Whatever a signed arm holds, the device answers."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_edge.experiments.arm_settings import overrides_of
from pocketrec_edge.experiments.assigned import Assigned
from pocketrec_edge.recommend.query import NO_OVERRIDES

NOW = 1_700_000_000
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
RULE = st.fixed_dictionaries(
    {"kind": st.sampled_from(["mmr", "dpp", "band_cap", "sponsored", "exploration", "by_moon"])},
    optional={
        "relevance": VALUES,
        "column": st.sampled_from(["price", "size"]) | VALUES,
        "bounds": VALUES,
        "limit": VALUES,
        "places": VALUES,
        "per_day": VALUES,
    },
)
RULES = st.fixed_dictionaries(
    {
        "version": st.just(1) | VALUES,
        "depth": st.integers(1, 20) | VALUES,
        "rules": st.lists(RULE | st.just({"kind": "mmr", "relevance": 0.5}), max_size=2) | VALUES,
    }
)
CAMPAIGNS = st.fixed_dictionaries({"version": st.just(1) | VALUES, "campaigns": VALUES})
WEIGHTS = st.dictionaries(
    st.sampled_from(["engage", "like", "other"]), st.floats(-1000, 1000), min_size=1
)
SETTINGS = st.fixed_dictionaries(
    {
        "rules": st.none() | RULES,
        "campaigns": st.none() | CAMPAIGNS,
        "head_weights": st.none() | WEIGHTS,
    }
)


@pytest.fixture(scope="module")
def bundle(tiny_release):
    return open_bundle(tiny_release)


@given(SETTINGS, SETTINGS)
@settings(deadline=None)
def test_any_arm_has_settings_that_fit_or_is_a_fault(bundle, treatment, control):
    arms = [
        {"name": name, "share": 0.5, "release": None, "flags": {}} | more
        for name, more in (("control", control), ("treatment", treatment))
    ]
    experiment = {
        "id": "x",
        "hypothesis": "",
        "salt": "0" * 32,
        "layer": "x",
        "segment": [0, 1],
        "state": "running",
        "from_utc": 0,
        "until_utc": 1,
        "percent": 100,
        "ramp": [],
        "eligible": {"app": {"least": None, "below": None}, "device_classes": [], "users": "all"},
        "arms": arms,
        "guardrails": [],
        "winner": None,
        "interleave": False,
    }
    value = {"format": 1, "channel": "stable", "session_pause_s": 60, "holdout": None}
    try:
        signed = Experiments.from_json(value | {"experiments": [experiment]})
    except BundleInvalidError:
        return
    (one,) = signed.experiments
    found, faults = overrides_of((Assigned(experiment=one, arm=one.arms[1]),), bundle)
    assert len(faults) <= 1
    if not faults:
        assert (found.rules is None) == (treatment["rules"] is None)
        assert (found.head_weights is None) == (treatment["head_weights"] is None)
        assert (found.campaigns is None) == (treatment["campaigns"] is None)
    own, broken = overrides_of((Assigned(experiment=one, arm=one.control),), bundle)
    if broken:
        assert (own.rules, own.head_weights, own.campaigns) == (None, None, None)


@given(SETTINGS)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_device_in_any_arm_answers(phone, experiment, treatment):
    try:
        phone.has(experiment(treatment=treatment))
    except BundleInvalidError:  # the publisher could not sign it
        return
    phone.device.force_arm("blend", "treatment")
    answer = phone.device.recommend(3, log_impressions=False)
    assert answer.arms == {"blend": "treatment"} and answer.source == "model"
    assert {fault.code.value for fault in answer.faults} <= {"arm_unusable"}


def test_no_arm_changes_nothing(bundle):
    assert overrides_of((), bundle) == (NO_OVERRIDES, ())
