"""Decisions on a channel's experiments, without a repository."""

from dataclasses import replace

import pytest

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.assignment import assigned_arm
from pocketrec_bundle.settings.experiments import MAX_EXPERIMENTS, Experiments
from pocketrec_server.experiments.changes import (
    converting,
    held_out,
    moved,
    ramped,
    shipped,
    started,
)
from pocketrec_server.experiments.plan import BACKDATED_S, check_times, completed

NOW = 1_800_000_000
EMPTY = Experiments(channel="stable")
SALTS = [f"{n:032x}" for n in range(1, 40)]


def planned(value, salt=SALTS[0]):
    return completed(value, salt, NOW, lambda name: {"spring": "0a" * 32}[name])


def test_a_plan_has_defaults_and_names_releases(plan):
    found = planned(plan(arm={"release": "spring", "head_weights": {"like": 2}}))
    assert (found.layer, found.segment, found.percent) == ("default", (0.0, 1.0), 100.0)
    assert (found.from_utc, found.state, found.winner) == (NOW, "running", None)
    assert found.arms[1].release == "0a" * 32 and found.arms[0].release is None
    assert found.eligible.users == "all"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"hypotesis": ""}, "unknown key 'hypotesis'; did you mean 'hypothesis'"),
        ({"arms": [{"name": "a", "share": 1, "rule": {}}]}, "arm 1: unknown key 'rule'"),
        ({"arms": [{"name": "a"}]}, "arm 1: share missing"),
        ({"arms": ["a"]}, "arm 1: must be a table"),
        ({"arms": "a"}, "arms must be a list"),
        ({"eligible": {"user": "new"}}, "did you mean 'users'"),
        ({"eligible": {"app": {"min": "1"}}}, "eligible.app: unknown key 'min'"),
        ({"segment": [1, 0]}, "segment must be two rising numbers"),
        ({"until_utc": NOW}, "ends 0.0 hours before now"),
        ({"until_utc": "x"}, "until_utc must be later"),
        ({"from_utc": NOW + 9, "until_utc": NOW + 9}, "until_utc must be later"),
    ],
)
def test_a_wrong_plan_names_the_key(plan, change, match):
    with pytest.raises(InputError, match=match):
        planned(plan() | change)


def test_shares_above_one_are_refused(plan):
    value = plan()
    value["arms"][0]["share"] = 0.7
    with pytest.raises(InputError, match=r"add up to 1\.2, not 1"):
        planned(value)


def test_times_that_a_wrong_clock_gives_are_refused(plan):
    with pytest.raises(InputError, match="clock"):
        check_times(planned(plan(until_utc=NOW + 5)), NOW + 5, is_new=True)
    early = planned(plan(from_utc=NOW - BACKDATED_S - 1))
    with pytest.raises(InputError, match=r"begins 1\.0 days before now"):
        check_times(early, NOW, is_new=True)
    check_times(early, NOW, is_new=False)
    check_times(planned(plan(from_utc=NOW - BACKDATED_S)), NOW, is_new=True)


def test_overlapping_segments_of_a_layer_are_refused(plan):
    first = started(EMPTY, planned(plan(segment=[0.0, 0.5])), NOW)
    other = planned(plan("other", segment=[0.4, 1.0]), SALTS[1])
    with pytest.raises(InputError, match="other and blend of layer default overlap"):
        started(first, other, NOW)
    beside = planned(plan("other", segment=[0.5, 1.0]), SALTS[1])
    assert [one.id for one in started(first, beside, NOW).experiments] == ["other", "blend"]
    ended = moved(first, "blend", "stop")
    assert len(started(ended, other, NOW).experiments) == 2


def test_independent_experiments_that_set_the_same_are_refused(plan):
    first = started(EMPTY, planned(plan()), NOW)
    same = planned(plan("other", layer="other"), SALTS[1])
    with pytest.raises(InputError, match="sets flag big, as blend of layer default does"):
        started(first, same, NOW)
    differs = planned(plan("other", layer="other", arm={"flags": {"small": True}}), SALTS[1])
    assert len(started(first, differs, NOW).experiments) == 2
    later = planned(
        plan("other", layer="other", from_utc=NOW + 28 * 86_400, until_utc=NOW + 29 * 86_400),
        SALTS[1],
    )
    assert len(started(first, later, NOW).experiments) == 2


def test_a_later_end_that_meets_an_independent_experiment_is_refused(plan):
    end = NOW + 28 * 86_400
    first = started(EMPTY, planned(plan()), NOW)
    after = plan("other", layer="other", from_utc=end, until_utc=end + 86_400)
    both = started(first, planned(after, SALTS[1]), NOW)
    with pytest.raises(InputError, match="blend: sets flag big, as other of layer other does"):
        started(both, planned(plan(until_utc=end + 60)), NOW + 5)
    shorter = started(both, planned(plan(until_utc=end - 60)), NOW + 5)
    assert [one.id for one in shorter.experiments] == ["other", "blend"]


def test_an_open_experiment_stays_paused(plan):
    first = moved(started(EMPTY, planned(plan()), NOW), "blend", "pause")
    (after,) = started(first, planned(plan(hypothesis="more"), SALTS[1]), NOW + 5).experiments
    assert (after.state, after.hypothesis) == ("paused", "more")


def test_a_plan_may_give_its_length(plan):
    value = plan()
    del value["until_utc"]
    assert planned(value | {"length_s": 60}).until_utc == NOW + 60
    assert planned(value | {"length_s": 60, "from_utc": NOW + 9}).until_utc == NOW + 69
    for wrong in (0, 1.5, "60", 367 * 86_400):
        with pytest.raises(InputError, match="length_s must be an integer"):
            planned(value | {"length_s": wrong})


def test_an_open_experiment_keeps_its_arms(plan):
    first = started(EMPTY, planned(plan(percent=10)), NOW)
    longer = planned(plan(percent=20, until_utc=NOW + 40 * 86_400, hypothesis="more"), SALTS[1])
    (after,) = started(first, longer, NOW + 5).experiments
    assert (after.salt, after.percent, after.hypothesis) == (SALTS[0], 20, "more")
    for change in (
        {"arm": {"flags": {"big": False}}},
        {"layer": "other"},
        {"segment": [0.0, 0.5]},
        {"eligible": {"users": "new"}},
    ):
        with pytest.raises(InputError, match="--new-salt"):
            started(first, planned(plan(**change), SALTS[1]), NOW + 5)
    with pytest.raises(InputError, match="10% of the segment is enrolled"):
        started(first, planned(plan(percent=9), SALTS[1]), NOW + 5)
    changed = planned(plan(arm={"flags": {"big": False}}), SALTS[1])
    (anew,) = started(first, changed, NOW + 5, new_salt=True).experiments
    assert anew.salt == SALTS[1] and anew.arms[1].flags == {"big": False}


def test_an_experiment_that_ended_starts_with_a_new_salt(plan):
    first = moved(started(EMPTY, planned(plan()), NOW), "blend", "stop")
    (again,) = started(first, planned(plan(), SALTS[1]), NOW).experiments
    assert (again.salt, again.state) == (SALTS[1], "running")
    over = started(EMPTY, planned(plan(until_utc=NOW + 9)), NOW)
    (again,) = started(over, planned(plan(), SALTS[1]), NOW + 9).experiments
    assert again.salt == SALTS[1]


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        (["pause"], "paused"),
        (["pause", "resume"], "running"),
        (["stop"], "stopped"),
        (["pause", "kill"], "killed"),
        (["stop", "kill"], "killed"),
    ],
)
def test_states_follow_the_actions(plan, steps, state):
    found = started(EMPTY, planned(plan()), NOW)
    for step in steps:
        found = moved(found, "blend", step)
    assert found.experiments[0].state == state


@pytest.mark.parametrize("steps", [["resume"], ["stop", "pause"], ["kill", "stop"], ["stop"] * 2])
def test_other_actions_are_refused(plan, steps):
    found = started(EMPTY, planned(plan()), NOW)
    for step in steps[:-1]:
        found = moved(found, "blend", step)
    with pytest.raises(InputError, match=f"{steps[-1]} needs"):
        moved(found, "blend", steps[-1])
    with pytest.raises(InputError, match="no experiment 'other'; known experiments: blend"):
        moved(found, "other", "stop")
    with pytest.raises(InputError, match="the channel has no experiments"):
        moved(EMPTY, "blend", "stop")


def test_a_ramp_only_rises(plan):
    found = started(EMPTY, planned(plan(percent=10)), NOW)
    steps = ((NOW + 100, 50.0), (NOW + 200, 100.0))
    (after,) = ramped(found, "blend", None, steps, NOW + 50).experiments
    assert [after.percent_at(NOW + at) for at in (50, 100, 200)] == [10, 50, 100]
    later = ramped(found, "blend", None, steps, NOW + 50)
    with pytest.raises(InputError, match="50% of the segment is enrolled"):
        ramped(later, "blend", 49, (), NOW + 150)
    (now,) = ramped(later, "blend", 60, (), NOW + 150).experiments
    assert (now.percent, now.ramp) == (60, ())
    with pytest.raises(InputError, match="is stopped"):
        ramped(moved(found, "blend", "stop"), "blend", 50, (), NOW)


def test_devices_that_entered_stay_through_any_ramp(plan):
    found = started(EMPTY, planned(plan(percent=10)), NOW)
    devices = [n.to_bytes(16, "big") for n in range(500)]

    def entered(experiments, at):
        (one,) = experiments.experiments
        arms = {n: assigned_arm(one, None, device, at) for n, device in enumerate(devices)}
        return {n: arm.name for n, arm in arms.items() if arm is not None}

    first = entered(found, NOW)
    more = entered(ramped(found, "blend", 60, (), NOW + 9), NOW + 9)
    assert 20 < len(first) < 90 < 200 < len(more) < 400
    assert first.items() <= more.items()


def test_the_winner_is_an_arm(plan):
    found = started(EMPTY, planned(plan()), NOW)
    after, arm = shipped(found, "blend", "treatment")
    (one,) = after.experiments
    assert (one.state, one.winner, arm.name) == ("shipped", "treatment", "treatment")
    with pytest.raises(InputError, match="no arm 'b'; its arms: control, treatment"):
        shipped(found, "blend", "b")
    with pytest.raises(InputError, match="is killed"):
        shipped(moved(found, "blend", "kill"), "blend", "treatment")
    stopped = moved(after, "blend", "stop").experiments[0]
    assert (stopped.state, stopped.winner) == ("stopped", None)


def test_the_holdout_changes_between_experiments_only(plan):
    found = held_out(EMPTY, 0.1, SALTS[5], NOW)
    assert found.holdout is not None and found.holdout.share == 0.1
    wider = held_out(found, 0.2, SALTS[6], NOW)
    assert wider.holdout is not None and wider.holdout.salt == SALTS[5]
    assert held_out(found, 0, SALTS[6], NOW).holdout is None
    running = started(found, planned(plan()), NOW)
    with pytest.raises(InputError, match="who is in blend"):
        held_out(running, 0.2, SALTS[6], NOW)
    ended = moved(running, "blend", "stop")
    assert held_out(ended, 0.2, SALTS[6], NOW).holdout is not None


def test_conversions_change_between_experiments_only(plan):
    found = converting(EMPTY, ("like",), NOW)
    assert found.conversions == ("like",)
    running = started(found, planned(plan()), NOW)
    assert converting(running, ("like",), NOW) == running
    with pytest.raises(InputError, match="decide the results of blend"):
        converting(running, ("purchase",), NOW)
    assert converting(moved(running, "blend", "stop"), ("purchase",), NOW).format == 1
    with pytest.raises(InputError, match="conversions must be a list"):
        converting(EMPTY, ("a", "a"), NOW)


def test_the_oldest_ended_experiment_makes_room(plan):
    found = EMPTY
    for n in range(MAX_EXPERIMENTS):
        name = f"e{n}"
        found = started(found, planned(plan(name), SALTS[n]), NOW)
        if n == 0:
            found, _ = shipped(found, name, "treatment")
        else:
            found = moved(found, name, "stop")
    one_more = planned(plan("more"), SALTS[30])
    names = [one.id for one in started(found, one_more, NOW).experiments]
    assert len(names) == MAX_EXPERIMENTS
    assert names[0] == "more" and names[-1] == "e0" and "e1" not in names
    listed = tuple(replace(one, state="shipped", winner="control") for one in found.experiments)
    with pytest.raises(InputError, match="17 experiments that are open or shipped"):
        started(replace(found, experiments=listed), one_more, NOW)


def test_ended_experiments_make_room_for_the_bytes_of_a_new_one(plan):
    campaigns = {"version": 1, "campaigns": ["x" * 97] * 600}  # 60 kB of 256 kB

    def large(n):
        value = plan(f"e{n}", arm={"campaigns": campaigns}, segment=[n / 9, (n + 1) / 9])
        return planned(value, SALTS[n])

    found = EMPTY
    for n in range(4):
        found = started(found, large(n), NOW)
    with pytest.raises(InputError, match=r"e4: with it the channel has 5 .* at most 16 and 262144"):
        started(found, large(4), NOW)
    found = moved(moved(found, "e2", "stop"), "e1", "stop")
    found = started(found, large(4), NOW)
    assert [one.id for one in found.experiments] == ["e4", "e3", "e2", "e0"]
