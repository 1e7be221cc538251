"""Events of forced devices, bots, wrong clocks, empty arms: each has a defined result."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.experiments.drawn_events import START_UTC
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis import Settings, experiment_report
from pocketrec_experiments.analysis.page import render
from pocketrec_experiments.errors import EventsInvalidError

FEW = Settings(least_users=2, past_days=7)


def noted(report, text: str) -> bool:
    return any(text in note for note in report.notes)


def crowd(export, n=12, day=0, **interactions):
    """Users in both arms with a request, two impressions and a click."""
    for i in range(n):
        user, at = f"u{i}", day * DAY_S + i
        export.exposure(user, ("control", "treatment")[i % 2], at)
        export.request(user, f"r{i}", at, session_id=f"s{i}")
        for item in ("a", "b"):
            export.impression(user, item, at, request_id=f"r{i}")
        export.interaction(user, "a", at + 60, request_id=f"r{i}", session_id=f"s{i}")


def test_a_ratio_that_is_equal_for_all_users_has_no_test(export, design_of, tmp_path):
    """Slates of one size: impressions and sessions differ between users, their ratio does not."""
    for i in range(40):
        export.exposure(f"u{i}", ("control", "treatment")[i % 2], i)
        for visit in range(1 + i % 7):
            name, at = f"r{i}-{visit}", 3600 * visit + i
            export.request(f"u{i}", name, at, session_id=name)
            for place in range(3):
                export.impression(f"u{i}", f"item {i} {visit} {place}", at, request_id=name)
            if (i + visit) % 3 == 0:
                export.interaction(
                    f"u{i}", f"item {i} {visit} 0", at + 60, request_id=name, session_id=name
                )
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=FEW)
    (compared,) = report.comparisons
    tested = {each.metric for each in compared.outcomes}
    assert {"ctr", "sessions"} <= tested
    assert not {"depth", "diversity"} & tested


def arms_of(report) -> dict:
    return {arm.name: arm for arm in report.arms}


def test_users_with_a_forced_arm_are_left_out(export, design_of, tmp_path):
    crowd(export)
    export.exposure("tester", "treatment", 5, forced=True)
    export.exposure("u0", "treatment", 9, forced=True)  # forced later: out as well
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=FEW)
    assert {name: arm.users for name, arm in arms_of(report).items()} == {
        "control": 5,
        "treatment": 6,
    }
    assert noted(report, "2 users with a forced arm are left out.")


def test_an_earlier_draw_and_unknown_arms_are_left_out(export, design_of, tmp_path):
    crowd(export)
    export.exposure("old", "control", 5, salt="ffffffff")
    export.exposure("odd", "third", 5)
    export.exposure("elsewhere", "control", 5, experiment="another")
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=FEW)
    assert sum(arm.exposed for arm in report.arms) == 12
    assert noted(report, "1 users of an earlier draw")
    assert noted(report, "1 users in an arm that the experiment does not have")


def test_clocks_that_are_days_off_are_left_out(export, design_of, tmp_path):
    crowd(export, day=1)
    export.exposure("early", "control", -3 * DAY_S)
    export.exposure("late", "control", 99 * DAY_S)
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=FEW)
    assert sum(arm.exposed for arm in report.arms) == 12
    assert noted(report, "2 users whose exposure is outside the experiment's times")


def test_one_phone_in_the_future_does_not_end_the_experiment(export, design_of, tmp_path):
    for day in range(3):
        for i in range(40):
            export.request(f"u{i}", f"r{day}-{i}", day * DAY_S + 60)
    crowd(export, n=40)
    export.request("u1", "future", 12 * DAY_S)
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=FEW)
    assert report.days == 3
    assert report.end_utc == START_UTC + 3 * DAY_S
    assert sum(arm.requests for arm in report.arms) == 40 * 4


def test_a_user_in_two_arms_counts_in_the_first(export, design_of, tmp_path):
    crowd(export)
    export.exposure("u0", "treatment", 500)
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=FEW)
    assert arms_of(report)["control"].users == 6
    assert noted(report, "1 users were exposed to two arms and count in the first.")
    assert noted(report, "installs the app again is a new device")


def test_an_arm_without_users_gives_no_verdict(export, design_of, tmp_path):
    for i in range(9):
        export.exposure(f"u{i}", "control", i)
        export.request(f"u{i}", f"r{i}", i)
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=FEW)
    assert report.verdict.kind == "too few users"
    assert "Arm treatment has no users (control 9, treatment 0)" in report.verdict.sentence
    assert report.comparisons[0].looks == []
    assert report.comparisons[0].outcomes == []


def test_a_mismatch_of_the_sample_ratio_gives_no_verdict(export, design_of, tmp_path):
    for i in range(400):
        arm = "treatment" if i % 4 == 0 else "control"
        export.exposure(f"u{i}", arm, i)
        export.interaction(f"u{i}", "a", i + 9, "purchase", value=10.0)
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=FEW)
    assert report.verdict.kind == "mismatch"
    assert report.verdict.sentence.startswith("The users do not fit the shares: control 300")
    assert report.comparisons[0].verdict.kind == "mismatch"


def test_shares_other_than_half_are_no_mismatch(export, design_of, tmp_path):
    for i in range(400):
        export.exposure(f"u{i}", "treatment" if i % 4 == 0 else "control", i)
    design = design_of(arms={"control": 0.75, "treatment": 0.25})
    report = experiment_report(design=design, events=export.write(tmp_path), settings=FEW)
    assert report.ratio.p == 1.0


def test_few_users_give_no_verdict_yet(export, design_of, tmp_path):
    crowd(export)
    report = experiment_report(design=design_of(), events=export.write(tmp_path))
    assert report.verdict.word == "No verdict yet"
    assert "Fewer than 100 users in an arm: control 6, treatment 6." in report.verdict.sentence


def test_bots_are_left_out_by_the_stated_rule(export, design_of, tmp_path):
    crowd(export, n=200)
    for i in range(1200):
        export.interaction("u1", "a", 100 + i)
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=FEW)
    assert arms_of(report)["treatment"].exposed == 100
    assert arms_of(report)["treatment"].users == 99
    assert noted(report, "Bots are left out: 1 in treatment; more than 1,000 events on a day.")
    assert not noted(report, "differ in their bots")


def test_an_arm_full_of_bots_is_mentioned(export, design_of, tmp_path):
    crowd(export, n=2400)
    for bot in range(15):
        for i in range(60):
            export.interaction(f"u{2 * bot + 1}", "a", 100 + i)
    settings = Settings(least_users=2, bot_events=50)
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=settings)
    assert noted(report, "15 in treatment; more than 50 events")
    assert noted(report, "The arms differ in their bots beyond chance")


def test_one_user_with_half_of_the_revenue_is_cut_and_mentioned(export, design_of, tmp_path):
    crowd(export)
    for i in range(10):
        export.interaction(f"u{i}", "a", 90 + i, "purchase", value=10.0)
    export.interaction("u1", "b", 200, "purchase", value=90.0)
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=FEW)
    assert noted(report, "One user has 53% of all revenue.")
    assert noted(report, "Revenue of 1 users is cut to 10.00 a user; that is 47.4% of the revenue.")
    assert [arm.revenue for arm in report.arms] == [50.0, 50.0]


def test_purchases_in_another_currency_count_without_their_amount(export, design_of, tmp_path):
    crowd(export)
    for i in range(6):
        export.interaction(f"u{i}", "a", 90, "purchase", value=5.0, currency="GBP")
    export.interaction("u6", "a", 90, "purchase", value=7000.0, currency="JPY")
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=FEW)
    assert report.currency == "GBP"
    assert sum(arm.buyers for arm in report.arms) == 7
    assert sum(arm.revenue for arm in report.arms) == 30.0
    assert noted(report, "Revenue is in GBP; purchases in JPY (1) count without their amount.")


def test_amounts_without_a_currency_are_in_the_given_one(export, design_of, tmp_path):
    crowd(export)
    for i in range(6):
        export.interaction(f"u{i}", "a", 90, "purchase", value=5.0)
    export.interaction("u6", "a", 90, "purchase", value=7000.0, currency="JPY")
    settings = Settings(least_users=2, past_days=7, currency="GBP")
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=settings)
    assert report.currency == "GBP"
    assert sum(arm.revenue for arm in report.arms) == 30.0


def test_clicks_without_a_request_belong_to_the_latest_impression(export, design_of, tmp_path):
    crowd(export)
    week = 7 * DAY_S
    for at, request in ((10, "x"), (2000, "y")):
        export.request("u0", request, at)
        export.impression("u0", "c", at, request_id=request)
    export.interaction("u0", "c", 2500)  # of y
    export.interaction("u0", "c", 2600)  # of y again: one click
    export.interaction("u0", "z", 2600)  # never shown
    export.impression("u2", "d", 50)  # an old phone: no request id
    export.interaction("u2", "d", 50 + week + 1)  # too late
    export.impression("u4", "e", 60)
    export.interaction("u4", "e", 50)  # before it was shown
    export.interaction("u4", "b", 90, request_id="r4")
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=FEW)
    control = arms_of(report)["control"]
    assert control.impressions == 12 + 2 + 1 + 1
    assert control.clicks == 6 + 1 + 0 + 1


def test_the_past_is_before_the_exposure_and_within_its_days(export, design_of, tmp_path):
    crowd(export)
    export.interaction("u0", "a", -DAY_S, "purchase", value=3.0)
    export.interaction("u2", "a", -9 * DAY_S, "purchase", value=3.0)  # before the window
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=FEW)
    assert sum(arm.buyers for arm in report.arms) == 0
    looks = {look.day for look in report.comparisons[0].looks}
    assert looks == set()  # nobody has bought


def test_sessions_are_from_requests_and_interactions(export, design_of, tmp_path):
    crowd(export)
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=FEW)
    assert [arm.sessions for arm in report.arms] == [6, 6]
    outcomes = {o.metric: o for o in report.comparisons[0].outcomes}
    assert "session_s" not in outcomes  # every session lasts 60 s: nothing varies


def test_faults_and_fallbacks_are_counted(export, design_of, tmp_path):
    crowd(export)
    for i in range(12):
        faults = ["deadline"] if i % 3 == 0 else []
        export.request(
            f"u{i}", f"q{i}", 500, source="fallback" if i < 3 else "model", faults=faults
        )
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=FEW)
    outcomes = {o.metric: o for o in report.comparisons[0].outcomes}
    assert outcomes["fallback_share"].control == pytest.approx(2 / 12)
    assert outcomes["failures"].treatment == pytest.approx(2 / 12)


def test_an_export_of_another_layout_is_refused(export, design_of, tmp_path):
    folder = export.write(tmp_path)
    path = folder / "exposures" / "day=x" / "events.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"who": ["u"], "ts": [1]}), path)
    with pytest.raises(EventsInvalidError, match=r"exposures: no column arm, experiment, user_id"):
        experiment_report(design=design_of(), events=folder)


def test_faults_that_only_the_treatment_has_stay_in_the_table(export, design_of, tmp_path):
    for i in range(400):
        user, arm = f"u{i}", ("control", "treatment")[i % 2]
        export.exposure(user, arm, i)
        export.request(user, f"r{i}", i, faults=["model_failed"] if i % 8 == 1 else [])
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=FEW)
    found = next(o for o in report.comparisons[0].outcomes if o.metric == "failures")
    assert (found.control, found.treatment) == (0.0, 0.25)
    assert found.relative is None and found.relative_low is None and found.relative_high is None
    assert 0 < found.low < 0.25 < found.high and found.p < 1e-6
    assert "failures" in json.dumps(report.to_json(), allow_nan=False)
    assert "Requests with a fault" in render(report)


@pytest.mark.parametrize("ts", ["yesterday", None], ids=["wrong type", "damaged"])
def test_files_that_cannot_be_read_are_named(export, design_of, tmp_path, ts):
    crowd(export)
    folder = export.write(tmp_path)
    path = next((folder / "exposures").rglob("*.parquet"))
    if ts is None:
        path.write_bytes(path.read_bytes()[:-9])
    else:
        rows = [row | {"ts": ts} for row in pq.read_table(path, partitioning=None).to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(EventsInvalidError, match=r"cannot be read .* Export the events again"):
        experiment_report(design=design_of(), events=folder, settings=FEW)
