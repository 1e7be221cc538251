"""Edge cases and rules' slates of a release: right ones pass, each wrong one is named."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pocketrec_bundle.errors import BundleInvalidError, BundleTooNewError
from pocketrec_bundle.golden.edges import GoldenEdges
from pocketrec_bundle.golden.rules import GoldenRules
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_edge.errors import SelfTestFailedError
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.releases import golden_edges, selftest
from pocketrec_edge.releases.golden_edges import check_edges
from pocketrec_edge.releases.golden_rules import check_rules
from pocketrec_edge.releases.selftest import expect_right, replay
from pocketrec_edge.releases.stages import check_cases


@pytest.fixture(scope="module")
def tiny(tiny_release) -> Bundle:
    return open_bundle(tiny_release)


@pytest.fixture(scope="module")
def device(tiny) -> Recommender:
    return Recommender(tiny, "onnx")


@pytest.fixture
def edges(tiny) -> GoldenEdges:
    found = GoldenEdges.of(tiny)
    assert found is not None
    return found


@pytest.fixture
def rules(tiny) -> GoldenRules:
    found = GoldenRules.of(tiny)
    assert found is not None
    return found


def test_edge_cases_and_rules_hold_and_are_stages_of_their_own(device):
    checks = check_cases(device)
    assert [check.stage for check in checks] == [
        *(f"edges/{each}" for each in ("history_rows", "history_events", "history_ages_s")),
        *("edges/context", "edges/pair", "edges/candidates"),
        *("rules/slate", "rules/sponsored", "rules/propensities", "rules/titles"),
    ]
    assert all(check.passed and not check.note for check in checks)


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("history_rows", "edges/history_rows"),
        ("history_ages_s", "edges/history_ages_s"),
        ("context", "hour is "),
        ("pair", "retrieval_score is "),
    ],
)
def test_a_wrong_number_of_a_history_is_named_with_its_case(device, edges, field, told):
    at, case = next((i, c) for i, c in enumerate(edges.histories) if c.history_rows)
    value = getattr(case, field)
    first = tuple(n + 1 for n in value[0]) if field == "pair" else 2 * value[0] + 1
    spoilt = replace(case, **{field: (first, *value[1:])})
    histories = (*edges.histories[:at], spoilt, *edges.histories[at + 1 :])
    with pytest.raises(SelfTestFailedError) as caught:
        expect_right(check_edges(device, replace(edges, histories=histories)))
    assert told in str(caught.value) and repr(case.name) in str(caught.value)


def test_a_nan_in_one_case_fails_its_stage(device, monkeypatch):
    made = golden_edges.history_numbers

    def faulty(device, case):
        found = made(device, case)
        if case.name == "one event":
            found["context"] = found["context"] * np.nan
        return found

    monkeypatch.setattr(golden_edges, "history_numbers", faulty)
    failed = [check for check in check_cases(device) if not check.passed]
    assert [check.stage for check in failed] == ["edges/context"]
    assert "'one event'" in failed[0].note and "nan" in failed[0].note


def test_rows_that_swap_are_wrong_unless_their_scores_nearly_tie(device, edges):
    case = next(c for c in edges.searches if len(c.candidates) > 2 and c.user_row >= 0)

    def swapped(scores):
        rows = (case.candidates[1], case.candidates[0], *case.candidates[2:])
        return replace(edges, searches=(replace(case, candidates=rows, scores=scores),))

    with pytest.raises(SelfTestFailedError, match="candidates is"):
        expect_right(check_edges(device, swapped(case.scores)))
    tie = (case.scores[0], case.scores[0] * (1 - 1e-6), *case.scores[2:])
    wrong = [one for one in check_edges(device, swapped(tie)) if one.share > 1]
    assert [one.note[:6] for one in wrong] == ["scores"]  # the rows are let pass, the score is not


def test_candidates_of_a_zero_vector_have_one_order(device, edges):
    case = edges.searches[0]
    assert case.user_row == -1 and set(case.scores) == {0.0}
    rows = (case.candidates[1], case.candidates[0], *case.candidates[2:])
    with pytest.raises(SelfTestFailedError, match="all scores tie"):
        expect_right(
            check_edges(device, replace(edges, searches=(replace(case, candidates=rows),)))
        )


def test_a_slate_of_other_items_is_named_with_its_case(rules):
    case = replace(rules.slates[3], slate=rules.slates[3].slate[::-1])
    with pytest.raises(
        SelfTestFailedError, match=f"golden case '{case.name}', rules/slate: slate is"
    ):
        expect_right(check_rules(replace(rules, slates=(case,))))


def test_a_phone_whose_rules_are_wrong_does_not_activate_the_release(tiny, monkeypatch):
    monkeypatch.setattr(selftest, "_rules_passed", set())
    assert replay(tiny, "onnx") == 3
    assert len(selftest._rules_passed) == 1
    monkeypatch.setattr(selftest, "_rules_passed", set())
    monkeypatch.setattr(
        "pocketrec_edge.recommend.rules.apply_rules.above_floor", lambda values, _: values >= -1
    )
    with pytest.raises(SelfTestFailedError, match="quality floor"):
        replay(tiny, "onnx")


def test_an_older_release_has_no_such_cases(tiny):
    files = tuple(e for e in tiny.manifest.files if "golden_" not in e.name)
    older = Bundle(replace(tiny.manifest, files=files), tiny._blob_dir)
    assert GoldenEdges.of(older) is None and GoldenRules.of(older) is None
    assert replay(older, "onnx") == 3


def test_a_case_of_a_scene_or_rule_that_the_reader_does_not_know_is_passed_over(edges, rules):
    value = edges.to_json()
    value["searches"][0]["scene"] = "on the moon"
    assert GoldenEdges.from_json(value).searches == edges.searches[1:]
    value = rules.to_json()
    value["slates"][1]["rules"]["rules"] = [{"kind": "by_moon", "phase": 1}]
    found = GoldenRules.from_json(value)
    assert found.slates == (rules.slates[0], *rules.slates[2:])


def test_what_is_read_is_what_was_written(edges, rules):
    for each in (edges, rules):
        assert type(each).from_json(json.loads(json.dumps(each.to_json()))) == each


@pytest.mark.parametrize(
    ("part", "change", "code"),
    [
        ("histories", {"pair": [[1.0]]}, "golden_value"),
        ("histories", {"rows": ["a"]}, "golden_value"),
        ("histories", {"more": 1}, "golden_keys"),
        ("histories", {"ts": [2, 1], "item_ids": ["a", "b"], "events": [0, 0]}, "golden_value"),
        ("searches", {"scores": [1.0]}, "golden_value"),
        ("searches", {"filters": {}}, "golden_keys"),
        ("searches", {"scene": "similar", "scene_ids": []}, "golden_value"),
    ],
)
def test_an_edge_case_that_is_not_as_it_should_be_is_refused(edges, part, change, code):
    value = edges.to_json()
    value[part][0] |= change
    with pytest.raises(BundleInvalidError) as caught:
        GoldenEdges.from_json(value)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"rows": [0, 99], "scores": [1, 1]}, "golden_value"),
        ({"scores": [1.0]}, "golden_value"),
        ({"k": 0}, "golden_value"),
        ({"rules": None}, "golden_value"),
        ({"draws": {"numbers": [1.0], "order": []}}, "golden_value"),
        ({"offers": [{"id": "a"}]}, "golden_keys"),
        ({"impressions": [[1, 0]]}, "golden_value"),
    ],
)
def test_a_slate_that_is_not_as_it_should_be_is_refused(rules, change, code):
    value = rules.to_json()
    value["slates"][0] |= change
    with pytest.raises(BundleInvalidError) as caught:
        GoldenRules.from_json(value)
    assert caught.value.code == code


@pytest.mark.parametrize("kind", [GoldenEdges, GoldenRules])
def test_cases_of_a_later_version_are_too_new(kind):
    with pytest.raises(BundleTooNewError):
        kind.from_json({"version": 2})
