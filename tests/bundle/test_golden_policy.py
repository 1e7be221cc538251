import pytest

from bundle.errors import BundleInvalid
from bundle.golden import Golden, GoldenCase
from bundle.policy import Policy

CASE = GoldenCase(
    name="one",
    now_utc=5,
    item_ids=("a",),
    events=(1,),
    ts=(4,),
    user_vector=(0.5,),
    candidates=(3,),
    slate_ids=("b",),
    slate_scores=(0.25,),
)
POLICY = Policy(slate=10, category_cap=4, near_duplicate_cosine=0.98, probes=0, candidates=200)


def test_golden_survives_json():
    golden = Golden(cases=(CASE,), vector_tolerance=0.1, score_tolerance=0.2)
    assert Golden.from_json(golden.to_json()) == golden


@pytest.mark.parametrize(
    "change", [{"events": [1, 1]}, {"ts": ["x"]}, {"item_ids": None}, {"more": 1}]
)
def test_bad_golden_case_is_refused(change):
    value = Golden(cases=(CASE,), vector_tolerance=0.1, score_tolerance=0.2).to_json()
    value["cases"][0] |= change
    with pytest.raises(BundleInvalid, match=r"golden\.json"):
        Golden.from_json(value)


def test_policy_survives_json():
    assert Policy.from_json(POLICY.to_json()) == POLICY


@pytest.mark.parametrize(
    "change",
    [{"slate": 0}, {"slate": True}, {"near_duplicate_cosine": "1"}, {"x": 1}, {"probes": -1}],
)
def test_bad_policy_is_refused(change):
    with pytest.raises(BundleInvalid, match=r"policy\.json"):
        Policy.from_json(POLICY.to_json() | change)
