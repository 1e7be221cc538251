"""An arm changes the answers of its device, and nothing else does."""

import json
from dataclasses import replace

import pytest

from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.settings.experiment import KILLED, PAUSED, SHIPPED, STOPPED
from pocketrec_bundle.settings.experiment_arms import Arm, Eligible
from pocketrec_bundle.settings.experiments import Holdout
from pocketrec_bundle.settings.rollout import AppVersions
from pocketrec_edge.errors import RequestInvalidError, SyncError
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.experiments import device_experiments
from pocketrec_edge.experiments.arm_settings import overrides_of
from pocketrec_edge.experiments.signed_experiments import DeviceFacts, keep_facts
from pocketrec_edge.faults import FaultCode
from pocketrec_edge.sync.uploads.events import grant

NOW = 1_700_000_000
HOUR_S = 3600
NO_RULES = {"version": 1, "depth": 8, "rules": []}
SPONSORED = {"kind": "sponsored", "places": [1], "relevance": 0.0, "per_day": 5}
CAMPAIGN = {
    "id": "of-the-arm",
    "item_id": "item 21",
    "label": "Ad",
    "from_utc": NOW - HOUR_S,
    "until_utc": NOW + 9 * HOUR_S,
    "priority": 1,
}


def sponsors(answer):
    return [item.sponsored.campaign for item in answer.items if item.sponsored]


def test_a_phone_without_experiments_answers_as_before(phone):
    answer = phone.device.recommend(5)
    assert (answer.arms, answer.faults) == ({}, ())
    assert sponsors(answer) == ["campaign-2", "campaign-8"]
    assert phone.events("exposure") == []
    assert not phone.home.arms.exists() and not phone.home.bucket_id.exists()


def test_rules_of_an_arm_replace_those_of_the_release(phone, experiment):
    one = experiment(treatment={"rules": NO_RULES})
    phone.has(one)
    phone.draws("treatment", one)
    answer = phone.device.recommend(5)
    assert (sponsors(answer), answer.arms) == ([], {"blend": "treatment"})
    phone.draws("control", one)
    answer = phone.device.recommend(5)
    assert (len(sponsors(answer)), answer.arms) == (2, {"blend": "control"})
    phone.draws("treatment", one)
    assert phone.device.explain(k=5).items[0].steps[0].rule == "score"
    assert len(phone.device.explain(k=5).items[0].steps) == 1


def test_settings_are_checked_once_for_a_release_however_often_it_is_opened(
    phone, experiment, monkeypatch
):
    """A cache of bundles would keep each opened one in memory."""
    phone.has(experiment(treatment={"rules": NO_RULES}))
    checked = []

    def count(assigned, bundle, load_set):
        checked.append(bundle.sha256)
        return overrides_of(assigned, bundle, load_set)

    monkeypatch.setattr(device_experiments, "overrides_of", count)
    for _ in range(3):
        arms = phone.device._experiments.for_slate(open_bundle(phone.bundle), "home", NOW)
        assert arms.arms and not arms.faults
    assert len(checked) == 1


def test_weights_of_heads_change_the_score(phone, experiment):
    one = experiment(treatment={"head_weights": {"like": 2.0}})
    phone.has(one)
    phone.draws("control", one)
    assert phone.device.recommend(1).items[0].score == 0.625  # 1.0 * 0.5 + 0.5 * 0.25
    phone.draws("treatment", one)
    answer = phone.device.recommend(1)
    assert answer.items[0].score == 1.0  # 1.0 * 0.5 + 2.0 * 0.25
    assert phone.device.explain(answer.items[0].item_id).items[0].score == 1.0


def test_campaigns_of_an_arm_replace_those_of_the_release(phone, experiment):
    treatment = {"campaigns": {"version": 1, "campaigns": [CAMPAIGN]}}
    treatment["rules"] = NO_RULES | {"rules": [SPONSORED]}
    one = experiment(treatment=treatment)
    phone.has(one)
    phone.draws("treatment", one)
    answer = phone.device.recommend(5)
    assert sponsors(answer) == ["of-the-arm"]
    assert answer.items[0].item_id == "item 21"
    phone.draws("control", one)
    assert "of-the-arm" not in sponsors(phone.device.recommend(5))


@pytest.mark.parametrize(
    ("treatment", "told"),
    [
        ({"rules": NO_RULES | {"depth": 0}}, "depth must be"),
        ({"rules": NO_RULES | {"rules": [{"kind": "by_moon"}]}}, "unknown kind 'by_moon'"),
        ({"rules": NO_RULES | {"version": 2}}, "Update the app"),
        ({"head_weights": {"nobody": 1}}, "no head nobody"),
        ({"campaigns": {"version": 1, "campaigns": [{}]}}, "campaign 1"),
    ],
)
def test_an_arm_that_does_not_fit_the_release_is_a_fault_and_control_answers(
    phone, experiment, treatment, told
):
    one = experiment(treatment=treatment)
    one = replace(one, arms=(replace(one.control, head_weights={"like": 4.0}), one.arms[1]))
    phone.has(one)
    phone.draws("treatment", one)
    answer = phone.device.recommend(5)
    (fault,) = answer.faults
    assert fault.code == FaultCode.ARM_UNUSABLE and told in fault.text
    assert "experiment blend, arm treatment" in fault.text
    assert answer.items[0].score == 1.5  # as control: 0.5 + 4 * 0.25
    assert len(sponsors(answer)) == 2 and answer.arms == {"blend": "treatment"}
    assert [event.event for event in phone.events("exposure")] == ["blend"]
    assert phone.device.status().faults == (fault,)


def test_if_control_does_not_fit_either_the_release_answers(phone, experiment):
    one = experiment(treatment={"head_weights": {"nobody": 1}})
    one = replace(one, arms=(replace(one.control, head_weights={"no": 1.0}), one.arms[1]))
    phone.has(one)
    for arm in ("control", "treatment"):
        phone.draws(arm, one)
        answer = phone.device.recommend(1)
        assert [fault.code for fault in answer.faults] == ["arm_unusable"]
        assert answer.items[0].score == 0.625


@pytest.mark.parametrize(
    "change",
    [
        {"state": STOPPED},
        {"state": KILLED},
        {"state": PAUSED},
        {"from_utc": NOW + 1},
        {"until_utc": NOW},
        {"percent": 0.0},
        {"eligible": Eligible(device_classes=("tablet",))},
        {"eligible": Eligible(app=AppVersions(least="2"))},
        {"eligible": Eligible(users="existing")},
    ],
)
def test_no_arm_applies_outside_of_an_experiment(phone, experiment, change):
    one = experiment(treatment={"rules": NO_RULES})
    phone.draws("treatment", one)
    phone.has(replace(one, **change))
    answer = phone.device.recommend(5)
    assert (answer.arms, len(sponsors(answer))) == ({}, 2)
    assert phone.events("exposure") == []


def test_the_device_s_clock_begins_and_ends_an_experiment(phone, experiment):
    """A clock that is days off puts the device outside; it is back once the clock is."""
    one = experiment(treatment={"rules": NO_RULES})
    phone.has(one)
    phone.draws("treatment", one)
    found = []
    for days in (-3, 0, 3, 0):
        phone.now = NOW + days * 24 * HOUR_S
        found.append(phone.device.recommend(1).arms)
    assert found == [{}, {"blend": "treatment"}, {}, {"blend": "treatment"}]
    assert len(phone.events("exposure")) == 1


def test_eligible_devices_are_those_of_the_last_sync(phone, experiment):
    eligible = Eligible(app=AppVersions(least="1.2"), device_classes=("tablet", "phone"))
    one = experiment(eligible=eligible)
    phone.has(one)
    phone.draws("control", one)
    for facts, arms in (
        (DeviceFacts(), {}),
        (DeviceFacts(app_version="1.1", device_class="phone"), {}),
        (DeviceFacts(app_version="1.2", device_class="watch"), {}),
        (DeviceFacts(app_version="1.2-beta", device_class="phone"), {"blend": "control"}),
    ):
        keep_facts(phone.home, facts)
        assert phone.device.recommend(1).arms == arms


def test_a_user_is_new_or_not_once_for_all(phone, experiment):
    new = experiment("new", eligible=Eligible(users="new"))
    old = experiment("existing", eligible=Eligible(users="existing"))
    phone.has(new, old)
    assert list(phone.device.recommend(1).arms) == ["new"]
    assert list(phone.device.recommend(1).arms) == ["new"]  # although it has events by now
    memory = json.loads(phone.home.arms.read_bytes())
    assert memory["new_user"] == [["new", new.salt, True], ["existing", old.salt, True]]


def test_a_user_with_older_events_is_no_new_one(phone, experiment):
    phone.now = NOW - 2 * HOUR_S
    phone.device.feedback("item 1", "like")
    phone.now = NOW
    phone.has(
        experiment("new", eligible=Eligible(users="new")),
        experiment("existing", eligible=Eligible(users="existing")),
    )
    assert list(phone.device.recommend(1).arms) == ["existing"]
    phone.device.erase()
    assert list(phone.device.recommend(1).arms) == ["new"]  # nothing is known of the user now


def test_the_holdout_is_in_no_experiment(phone, experiment):
    one = experiment()
    phone.has(one, holdout=Holdout(salt="ab" * 16, share=1.0))
    assert phone.device.recommend(1).arms == {}
    phone.has(one, holdout=Holdout(salt="ab" * 16, share=0.0))
    assert list(phone.device.recommend(1).arms) == ["blend"]


def test_an_exposure_is_logged_once_for_each_salt_and_arm(phone, experiment):
    one = experiment(treatment={"rules": NO_RULES})
    phone.has(one)
    phone.draws("control", one)
    for _ in range(3):
        phone.device.recommend(2)
    phone.device.close()
    phone.device = phone.opened()
    phone.device.recommend(2)
    (event,) = phone.events("exposure")
    assert (event.item_id, event.event, event.ts) == ("", "blend", NOW)
    assert event.context == {"arm": "control", "salt": one.salt[:8]}
    phone.has(replace(one, salt="cd" * 16))
    phone.device.recommend(2)
    assert [event.context["salt"] for event in phone.events("exposure")] == [
        one.salt[:8],
        "cdcdcdcd",
    ]
    assert phone.events("request")[0].context["arms"] == {"blend": "control"}


def test_a_slate_that_nobody_sees_exposes_to_nothing(phone, experiment):
    phone.has(experiment(treatment={"rules": NO_RULES}))
    assert phone.device.recommend(2, log_impressions=False).arms != {}
    phone.device.explain(k=1)
    phone.device.status()
    assert phone.events("exposure") == []


def test_a_search_exposes_to_weights_and_not_to_rules(phone, experiment):
    """The slate of a search is in the order of the scores, whatever the rules are."""
    search = {"scene": "search", "results": ["item 14", "item 15"]}
    phone.has(
        experiment("rules-1", treatment={"rules": NO_RULES}),
        experiment("weights", treatment={"head_weights": {"like": 2.0}}),
    )
    phone.device.recommend(2, **search)
    assert [event.event for event in phone.events("exposure")] == ["weights"]
    phone.device.recommend(2)
    assert [event.event for event in phone.events("exposure")] == ["weights", "rules-1"]


def test_a_paused_experiment_keeps_the_devices_with_an_exposure(phone, experiment):
    one = experiment(treatment={"rules": NO_RULES})
    phone.has(replace(one, state=PAUSED))
    assert phone.device.recommend(1).arms == {}
    phone.has(one)
    arms = phone.device.recommend(1).arms
    assert list(arms) == ["blend"]
    phone.has(replace(one, state=PAUSED))
    assert phone.device.recommend(1).arms == arms


def test_a_shipped_arm_is_everybody_s(phone, experiment):
    one = experiment(treatment={"rules": NO_RULES, "flags": {"big": True}})
    shipped = replace(one, state=SHIPPED, winner="treatment", percent=0.0)
    phone.has(shipped, holdout=Holdout(salt="ab" * 16, share=1.0))
    phone.draws("control", one)
    phone.now = NOW + 9 * HOUR_S  # also after its end
    answer = phone.device.recommend(5)
    assert (sponsors(answer), answer.arms) == ([], {})
    assert phone.device.flag("big", False) is True
    assert phone.events("exposure") == []
    phone.has(replace(shipped, eligible=Eligible(device_classes=("tablet",))))
    assert phone.device.flag("big", False) is False


def test_a_running_experiment_comes_before_a_shipped_one(phone, experiment):
    shipped = experiment(
        "old", treatment={"flags": {"big": "old"}}, state=SHIPPED, winner="treatment"
    )
    running = experiment("newer", treatment={"flags": {"big": "new"}})
    phone.has(shipped, running)
    phone.draws("treatment", running)
    assert phone.device.flag("big", "") == "new"
    phone.draws("control", running)
    assert phone.device.flag("big", "") == "old"


def test_flags_of_the_arm_reach_the_app_and_expose(phone, experiment):
    flags = {"big": True, "columns": 3, "share": 0.5, "title": "For you"}
    one = experiment(treatment={"flags": flags})
    phone.has(one)
    phone.draws("treatment", one)
    phone.device.recommend(2)  # no setting of a slate differs
    assert phone.device.flag("other", 1) == 1
    assert phone.events("exposure") == []
    assert phone.device.flag("big", False) is True
    assert [event.context["arm"] for event in phone.events("exposure")] == ["treatment"]
    assert (phone.device.flag("columns", 2), phone.device.flag("columns", 2.0)) == (3, 3.0)
    assert (phone.device.flag("share", 0.1), phone.device.flag("title", "")) == (0.5, "For you")
    assert len(phone.events("exposure")) == 1
    phone.draws("control", one)
    assert phone.device.flag("big", False) is False
    assert [event.context["arm"] for event in phone.events("exposure")] == ["treatment", "control"]


@pytest.mark.parametrize(
    ("name", "default"), [("big", 1), ("big", "x"), ("columns", True), ("share", 1)]
)
def test_a_flag_of_another_type_is_a_fault_and_the_default(phone, experiment, name, default):
    one = experiment(treatment={"flags": {"big": True, "columns": 3, "share": 0.5}})
    phone.has(one)
    phone.draws("treatment", one)
    assert phone.device.flag(name, default) is default
    (fault,) = phone.device.status().faults
    assert fault.code == "arm_unusable" and f"flag {name} is not a" in fault.text
    assert len(phone.events("exposure")) == 1


def test_control_s_value_stands_in_for_a_flag_of_another_type(phone, experiment):
    one = experiment(treatment={"flags": {"columns": "three"}})
    one = replace(one, arms=(replace(one.control, flags={"columns": 4}), one.arms[1]))
    phone.has(one)
    phone.draws("treatment", one)
    assert phone.device.flag("columns", 2) == 4
    assert [fault.code for fault in phone.device.status().faults] == ["arm_unusable"]


@pytest.mark.parametrize(("name", "default"), [(1, True), ("big", None), ("big", [1])])
def test_a_flag_needs_a_name_and_a_plain_default(phone, name, default):
    with pytest.raises(RequestInvalidError, match="expected a name"):
        phone.device.flag(name, default)


def test_a_forced_arm_is_marked_and_stays(phone, experiment):
    one = experiment(treatment={"rules": NO_RULES}, percent=0.0)
    phone.has(one, holdout=Holdout(salt="ab" * 16, share=1.0))
    phone.device.force_arm("blend", "treatment")
    answer = phone.device.recommend(5)
    assert (sponsors(answer), answer.arms) == ([], {"blend": "treatment"})
    (event,) = phone.events("exposure")
    assert event.context == {"arm": "treatment", "salt": one.salt[:8], "forced": True}
    phone.device.close()
    phone.device = phone.opened()
    status = phone.device.status()
    assert (status.arms, status.forced) == ({"blend": "treatment"}, ("blend",))
    phone.device.force_arm("blend", None)
    assert phone.device.recommend(1).arms == {}


@pytest.mark.parametrize(
    ("name", "arm", "match"),
    [
        ("other", "control", "'other': no such experiment is open; open: blend"),
        ("blend", "best", "blend: has no arm 'best'; its arms: control, treatment"),
        ("ended", "control", "no such experiment is open"),
    ],
)
def test_only_arms_of_open_experiments_can_be_forced(phone, experiment, name, arm, match):
    with pytest.raises(RequestInvalidError, match="none; sync first"):
        phone.device.force_arm(name, arm)
    phone.has(experiment(), experiment("ended", state=STOPPED))
    with pytest.raises(RequestInvalidError, match=match):
        phone.device.force_arm(name, arm)


def test_a_forced_arm_ends_with_its_experiment(phone, experiment):
    one = experiment(treatment={"rules": NO_RULES})
    phone.has(one)
    phone.device.force_arm("blend", "treatment")
    for state in (STOPPED, KILLED):
        phone.has(replace(one, state=state))
        assert phone.device.recommend(1).arms == {}
    phone.has(replace(one, until_utc=NOW))
    assert phone.device.recommend(1).arms == {}
    phone.has(replace(one, arms=(one.control, Arm(name="other", share=0.5))))
    assert phone.device.status().forced == ()


def test_exposures_are_logged_again_after_a_withdrawn_consent(phone, experiment):
    """Those of the time without consent are never sent, and the report would lack the user."""
    phone.has(experiment(treatment={"rules": NO_RULES}))
    phone.device.set_consent(True)
    phone.device.recommend(1)
    phone.device.set_consent(False)
    phone.device.recommend(1)
    assert len(phone.events("exposure")) == 1
    phone.device.set_consent(True)
    phone.device.recommend(1)
    assert len(phone.events("exposure")) == 2


def test_a_consent_renewed_in_a_pause_takes_no_device_out_of_its_arm(phone, experiment):
    one = experiment(treatment={"rules": NO_RULES})
    phone.has(one)
    phone.device.set_consent(False)
    arms = phone.device.recommend(1).arms
    phone.has(replace(one, state=PAUSED))
    phone.device.set_consent(True)
    assert phone.device.recommend(1).arms == arms != {}
    phone.device.recommend(1)
    assert len(phone.events("exposure")) == 2  # the second one is sent


@pytest.mark.parametrize("way", ["set_consent", "sync"])
def test_an_exposure_logged_while_the_consent_is_recorded_is_not_lost(
    phone, experiment, monkeypatch, way
):
    """Another process logs one just before; it is never sent."""
    phone.has(experiment(treatment={"rules": NO_RULES}))
    phone.device.set_consent(False)
    other = phone.opened()
    grants = EventLog.set_consent

    def late(log, granted, terms=None, **more):
        other.recommend(1)
        return grants(log, granted, terms, **more)

    with monkeypatch.context() as patch:
        patch.setattr(EventLog, "set_consent", late)
        if way == "sync":
            with pytest.raises(SyncError, match="no trusted root"):
                phone.device.sync("http://127.0.0.1:9", consent=True)
        else:
            phone.device.set_consent(True)
    other.close()
    assert len(phone.events("exposure")) == 1
    phone.device.recommend(1)
    assert len(phone.events("exposure")) == 2


def test_a_memory_that_cannot_be_marked_is_a_fault_and_the_consent_stands(
    phone, experiment, monkeypatch
):
    phone.has(experiment(treatment={"rules": NO_RULES}))
    phone.device.set_consent(False)
    phone.device.recommend(1)

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pocketrec_edge.experiments.arm_memory.write_private", refuse)
    log = EventLog(phone.home.event_log)
    told = grant(log, phone.home)
    assert told is not None and "No space left" in told
    assert log.consent().state == "granted"
    log.close()


def test_a_copy_of_the_data_has_the_memory_and_erasure_removes_it(phone, experiment, tmp_path):
    phone.has(experiment(treatment={"rules": NO_RULES}))
    phone.device.recommend(1)
    phone.device.export_data(tmp_path / "copy.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "copy.jsonl").read_text().splitlines()]
    (memory,) = [line["memory"] for line in lines if line["type"] == "experiments"]
    assert memory["exposed"][0][0] == "blend"
    before = phone.home.bucket_id.read_bytes()
    phone.device.erase()
    assert not phone.home.arms.exists() and not phone.home.bucket_id.exists()
    phone.device.recommend(1)
    assert phone.home.bucket_id.read_bytes() != before  # its arms tell nobody whose it was


def damage(path, data=b"{"):
    path.write_bytes(data)


@pytest.mark.parametrize("data", [b"{", b"[]", b"{}", b"\xff", b'{"format": 2}', b" " * 300_000])
def test_damaged_experiments_are_a_fault_and_the_release_answers(phone, experiment, data):
    phone.has(experiment(treatment={"rules": NO_RULES}))
    damage(phone.home.experiments, data)
    answer = phone.device.recommend(5)
    assert [fault.code for fault in answer.faults] == ["experiments_unreadable"]
    assert "the next sync repairs it" in answer.faults[0].text
    assert (len(answer.items), answer.arms) == (5, {})
    assert phone.device.flag("big", False) is False
    phone.has(experiment(treatment={"rules": NO_RULES}))
    assert phone.device.recommend(5).faults == ()


@pytest.mark.parametrize("data", [b"{", b"[]", b"{}", b'{"forced": {"A": 1}}', b" " * 70_000])
def test_a_damaged_memory_is_a_fault_until_it_is_written_again(phone, experiment, data):
    phone.has(experiment(treatment={"rules": NO_RULES}))
    damage(phone.home.arms, data)
    answer = phone.device.recommend(1, log_impressions=False)
    assert [fault.code for fault in answer.faults] == ["experiments_unreadable"]
    assert "forced arms are forgotten" in answer.faults[0].text
    assert list(answer.arms) == ["blend"]  # the arm is a hash, so it is known all the same
    phone.device.recommend(1)
    assert phone.device.recommend(1).faults == ()


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"app_version": 1}', b'{"other": 1}'])
def test_damaged_facts_are_unknown_ones(phone, experiment, data):
    phone.has(experiment())
    damage(phone.home.device_facts, data)
    answer = phone.device.recommend(1)
    assert (list(answer.arms), answer.faults) == (["blend"], ())


def test_a_memory_that_cannot_be_written_exposes_once_a_process(phone, experiment, monkeypatch):
    def refuse(*_):
        from pocketrec_bundle.errors import PocketRecError

        raise PocketRecError("no space left on the disk")

    phone.has(experiment(treatment={"rules": NO_RULES}))
    monkeypatch.setattr("pocketrec_edge.experiments.arm_memory.write_private", refuse)
    phone.device.recommend(1)
    answer = phone.device.recommend(1)
    assert len(phone.events("exposure")) == 1
    assert [fault.code for fault in answer.faults] == ["experiments_unreadable"]


def test_a_log_that_cannot_be_written_exposes_later(phone, experiment, unwritable):
    phone.has(experiment(treatment={"rules": NO_RULES, "flags": {"big": True}}))
    phone.device.feedback("item 1", "like")
    phone.device.close()
    with pytest.MonkeyPatch.context():
        unwritable()
        phone.device = phone.opened()
        assert phone.device.recommend(1).request is None
        phone.device.flag("big", False)
        phone.device.close()
    assert not phone.home.arms.exists()


def test_another_process_s_change_is_seen(phone, experiment):
    one = experiment(treatment={"rules": NO_RULES})
    phone.has(one)
    phone.draws("control", one)
    other = phone.opened()
    assert phone.device.recommend(1).arms == {"blend": "control"}
    other.force_arm("blend", "treatment")
    other.close()
    assert phone.device.recommend(1).arms == {"blend": "treatment"}
    assert len(json.loads(phone.home.arms.read_bytes())["exposed"]) == 2


def test_the_pause_of_a_session_is_that_of_the_channel(phone, experiment):
    phone.has(experiment(), session_pause_s=60)
    sessions = []
    for seconds in (0, 60, 121):
        phone.now = NOW + seconds
        phone.device.recommend(1)
        phone.device.feedback("item 1", "like")
        sessions.append(phone.events("request")[-1].context["session"])
    assert sessions[0] == sessions[1] != sessions[2]
