"""An interleaved experiment merges both arms' slates on the device and logs each item's team."""

import json
from dataclasses import replace

import pytest

from pocketrec_bundle.settings.experiment import SHIPPED
from pocketrec_edge.faults import FaultCode
from pocketrec_edge.recommend.rules.interleaving import team_draft

PLAIN = {"version": 1, "depth": 8, "rules": []}
VARIED = {"version": 1, "depth": 40, "rules": [{"kind": "mmr", "relevance": 0.1}]}


@pytest.fixture
def mixed(experiment):
    """Return an interleaved experiment of two sets of rules."""
    one = experiment(interleave=True, treatment={"rules": VARIED})
    return replace(one, arms=(replace(one.control, rules=PLAIN), one.arms[1]))


def ids(answer):
    return [item.item_id for item in answer.items]


def slates_of(phone, one, k):
    """The slates of both arms, each forced for once."""
    found = []
    for arm in one.arms:
        phone.device.force_arm(one.id, arm.name)
        answer = phone.device.recommend(k, log_impressions=False)
        assert answer.arms == {one.id: arm.name}
        assert {item.team for item in answer.items} == {None}
        found.append(ids(answer))
    phone.device.force_arm(one.id, None)
    return found


def test_both_arms_are_merged_by_the_draw_of_salt_and_request(phone, mixed):
    phone.has(mixed)
    phone.draws("treatment", mixed)
    first, second = slates_of(phone, mixed, 6)
    assert first != second
    teams = set()
    for _ in range(6):
        answer = phone.device.recommend(6)
        assert answer.arms == {"blend": "interleaved"} and not answer.faults
        seed = bytes.fromhex(mixed.salt) + answer.request.encode()
        names = {item: n for n, item in enumerate(dict.fromkeys(first + second))}
        control, treatment = ([names[item] for item in slate] for slate in (first, second))
        wanted = team_draft(control, treatment, 6, seed)
        assert ids(answer) == [(first, second)[one.team][one.at] for one in wanted]
        assert [item.team for item in answer.items] == [
            ("control", "treatment")[one.team] for one in wanted
        ]
        teams.add(tuple(item.team for item in answer.items))
    assert len(teams) > 1  # each request has its own draw


def test_team_and_arm_are_logged(phone, mixed):
    phone.has(mixed)
    phone.draws("control", mixed)
    answer = phone.device.recommend(6)
    logged = phone.events("impression")
    assert [event.context["team"] for event in logged] == [item.team for item in answer.items]
    assert {event.context["propensity"] for event in logged} == {1.0}
    (request,) = phone.events("request")
    assert request.context["arms"] == {"blend": "interleaved"}
    (exposure,) = phone.events("exposure")
    assert exposure.context["arm"] == "interleaved"
    assert phone.device.status().arms == {"blend": "interleaved"}
    phone.device.recommend(6)
    assert len(phone.events("exposure")) == 1


def test_a_shipped_winner_is_not_merged(phone, mixed):
    phone.has(mixed)
    _, second = slates_of(phone, mixed, 6)
    phone.has(replace(mixed, state=SHIPPED, winner="treatment", percent=0.0))
    answer = phone.device.recommend(6)
    assert ids(answer) == second and {item.team for item in answer.items} == {None}
    assert answer.arms == {}


def test_a_search_is_not_merged(phone, mixed):
    phone.has(mixed)
    results = ids(phone.device.recommend(4, log_impressions=False))
    answer = phone.device.recommend(scene="search", results=results)
    assert answer.arms == {} and {item.team for item in answer.items} == {None}
    assert phone.events("exposure") == []


def test_a_page_that_is_shown_again_keeps_its_teams(phone, mixed):
    phone.has(mixed)
    one = phone.device.recommend(4, page=1)
    again = phone.device.recommend(4, page=1, session=one.session)
    assert [item.team for item in again.items] == [item.team for item in one.items] != [None] * 4
    assert (again.arms, again.request) == (one.arms, one.request) and one.arms
    two = phone.device.recommend(4, page=2, session=one.session)
    assert not {*ids(two)} & {*ids(one)} and {item.team for item in two.items} != {None}
    assert json.loads(json.dumps(one.plain()))["items"][0]["team"] == one.items[0].team


def test_a_second_interleaved_experiment_leaves_control(phone, mixed, experiment):
    other = experiment("other", interleave=True, treatment={"head_weights": {"like": 9.0}})
    phone.has(mixed, other)
    answer = phone.device.recommend(6)
    assert answer.arms == {"blend": "interleaved"}
    assert {item.score for item in answer.items} == {0.625}  # not 9 * 0.25
    assert [event.event for event in phone.events("exposure")] == ["blend"]


def test_an_arm_that_does_not_fit_is_a_fault_and_control_is_merged_with_itself(phone, mixed):
    broken = replace(mixed.arms[1], rules=PLAIN | {"depth": 0})
    phone.has(mixed)
    first, _ = slates_of(phone, mixed, 6)
    phone.has(replace(mixed, arms=(mixed.control, broken)))
    answer = phone.device.recommend(6)
    assert [fault.code for fault in answer.faults] == [FaultCode.ARM_UNUSABLE]
    assert ids(answer) == first


def test_without_a_ranker_there_is_one_slate_without_teams(phone, mixed):
    phone.has(mixed)
    for _ in range(3):  # a deadline is kept by the time of earlier rankings
        answer = phone.device.recommend(6, deadline_ms=1e-6)
    assert answer.source != "model" and answer.items
    assert {item.team for item in answer.items} == {None}
