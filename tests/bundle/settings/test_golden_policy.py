import dataclasses

import pytest

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.golden.vectors import Golden, GoldenCase
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.settings.policy import Policy

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
    "change",
    [
        *({"events": [1, 1]}, {"ts": ["x"]}, {"item_ids": None}, {"more": 1}, {"name": 1}),
        *({"ts": [5.0]}, {"ts": [10**30]}, {"ts": ["4"]}, {"now_utc": True}, {"events": [-1]}),
        *({"user_vector": [float("inf")]}, {"user_vector": [10**400]}, {"candidates": [1 << 31]}),
        *({"slate_ids": []}, {"slate_ids": [1]}, {"slate_scores": [float("nan")]}),
        {"item_ids": ["a", "b"], "events": [0, 0], "ts": [2, 1]},
    ],
)
def test_bad_golden_case_is_refused(change):
    value = Golden(cases=(CASE,), vector_tolerance=0.1, score_tolerance=0.2).to_json()
    value["cases"][0] |= change
    with pytest.raises(BundleInvalidError, match=r"golden\.json"):
        Golden.from_json(value)


@pytest.mark.parametrize("tolerance", [float("inf"), float("nan"), -1e-9, True, "1", None])
def test_a_tolerance_that_would_let_everything_pass_is_refused(tolerance):
    value = Golden(cases=(), vector_tolerance=0.1, score_tolerance=0.2).to_json()
    for key in ("vector_tolerance", "score_tolerance"):
        with pytest.raises(BundleInvalidError, match=key):
            Golden.from_json(value | {key: tolerance})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user_vector": (0.5,)}, "4 numbers"),
        ({"events": (2,)}, "no type"),
        ({"candidates": (5,)}, "not an item"),
    ],
)
def test_golden_of_another_release_is_refused(make_bundle, resign, change, message):
    folder = make_bundle()
    sound = dataclasses.replace(CASE, user_vector=(0.5,) * 4)
    for case, fits in ((sound, True), (dataclasses.replace(sound, **change), False)):
        golden = Golden(cases=(case,), vector_tolerance=0.1, score_tolerance=0.2)
        resign(folder, {"golden.json": canonical_json(golden.to_json())})
        if fits:
            assert Golden.of(open_bundle(folder)) == golden
            continue
        with pytest.raises(BundleInvalidError, match=message):
            Golden.of(open_bundle(folder))


def test_policy_survives_json():
    assert Policy.from_json(POLICY.to_json()) == POLICY


@pytest.mark.parametrize(
    "change",
    [{"slate": 0}, {"slate": True}, {"near_duplicate_cosine": "1"}, {"x": 1}, {"probes": -1}]
    + [{"near_duplicate_cosine": v} for v in (float("nan"), 2.1, True)]
    + [{"repeats": 1}],
)
def test_bad_policy_is_refused(change):
    with pytest.raises(BundleInvalidError, match=r"policy\.json"):
        Policy.from_json(POLICY.to_json() | change)
