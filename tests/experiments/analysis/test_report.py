"""The whole report: figures against pandas, verdicts, what is left out."""

import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.experiments.drawn_events import START_UTC, Drawn, write_events
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis import Guard, Settings, experiment_report
from pocketrec_experiments.analysis.page.tables import tables
from pocketrec_experiments.errors import EventsInvalidError
from pocketrec_experiments.statistics import Ratio, Sums, effect

DRAWN = Drawn(users=800, days=6, past_days=5, joining_days=3, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("events")
    write_events(folder, DRAWN)
    return folder


@pytest.fixture(scope="module")
def report(folder, design_of):
    return experiment_report(
        design=design_of(days=6, guards=(Guard(metric="slate_ms", worse_by=0.1, alpha=0.05),)),
        events=folder,
        settings=Settings(metric="ctr"),
    )


@pytest.fixture(scope="module")
def frames(folder) -> dict[str, pd.DataFrame]:
    kinds = ("requests", "impressions", "interactions", "exposures")
    return {kind: pd.read_parquet(folder / kind).drop(columns="day") for kind in kinds}


@pytest.fixture(scope="module")
def users(frames) -> pd.DataFrame:
    """What the report computes in DuckDB, in pandas: a row a user."""
    exposed = (
        frames["exposures"].set_index("user_id")[["arm", "ts"]].rename(columns={"ts": "exposed"})
    )
    keys = ["user_id", "request_id", "item_id"]
    actions = frames["interactions"]
    shown = frames["impressions"].merge(
        actions[keys].drop_duplicates().assign(clicked=1), "left", keys
    )
    shown = shown.join(exposed, "user_id")
    shown["after"] = shown["ts"] >= shown["exposed"]
    made = exposed.copy()
    for when, name in ((True, ""), (False, "past_")):
        part = shown[shown["after"] == when]
        made[name + "impressions"] = part.groupby("user_id").size()
        made[name + "clicks"] = part.groupby("user_id")["clicked"].sum()
    actions = actions.join(exposed, "user_id")
    bought = actions[(actions["event"] == "purchase") & (actions["ts"] >= actions["exposed"])]
    made["revenue"] = bought.groupby("user_id")["value"].sum()
    made["distinct"] = shown[shown["after"]].groupby("user_id")["item_id"].nunique()
    return made.fillna(0.0)


def test_figures_of_the_arms_are_those_of_pandas(report, users, frames):
    for arm in report.arms:
        ours = users[users["arm"] == arm.name]
        assert (arm.users, arm.exposed) == (len(ours), len(ours))
        assert arm.impressions == ours["impressions"].sum()
        assert arm.clicks == ours["clicks"].sum()
        assert arm.buyers == (ours["revenue"] > 0).sum()
    requests = frames["requests"].join(users, "user_id")
    after = requests[requests["ts"] >= requests["exposed"]]
    assert [arm.requests for arm in report.arms] == after.groupby("arm").size().tolist()
    slow = after.groupby("arm")["ms"].quantile(0.95)
    assert [arm.p95_ms for arm in report.arms] == pytest.approx(slow.tolist())


def test_the_last_look_is_the_effect_on_the_users_totals(report, users):
    names = ("clicks", "impressions", "past_clicks", "past_impressions")
    control, treatment = (
        Sums.of_rows(names, users.loc[users["arm"] == arm, list(names)].to_numpy())
        for arm in ("control", "treatment")
    )
    metric = Ratio(
        numerator="clicks",
        denominator="impressions",
        past="past_clicks",
        past_denominator="past_impressions",
    )
    look = report.comparisons[0].looks[-1]
    expected = effect(control, treatment, metric, critical=look.bound)
    assert look.day == 6
    for name in ("control", "treatment", "difference", "se", "low", "high", "relative", "p"):
        assert getattr(look.effect, name) == pytest.approx(getattr(expected, name), rel=1e-9), name


def test_earlier_looks_are_reports_of_fewer_days(report, folder, design_of, tmp_path):
    few = tmp_path / "few"
    for path in folder.rglob("*.parquet"):
        if path.parent.name < f"day={np.datetime64(START_UTC // DAY_S + 4, 'D')}":
            copy = few / path.relative_to(folder)
            copy.parent.mkdir(parents=True)
            copy.write_bytes(path.read_bytes())
    early = experiment_report(design=design_of(days=6), events=few, settings=Settings(metric="ctr"))
    assert early.days == 4
    assert early.verdict.kind == "running"
    wanted, seen = report.comparisons[0].looks[:4], early.comparisons[0].looks
    assert [one.bound for one in seen] == pytest.approx([one.bound for one in wanted], rel=1e-6)
    assert [one.effect.z for one in seen] == pytest.approx(
        [one.effect.z for one in wanted], rel=1e-6
    )


def test_revenue_is_cut_at_the_quantile_of_the_buyers(report, users):
    buyers = users.loc[users["revenue"] > 0, "revenue"].sort_values(ascending=False)
    cap = buyers.iloc[max(1, int(0.01 * len(buyers)))]
    total = users["revenue"].clip(upper=cap).groupby(users["arm"]).sum()
    assert [arm.revenue for arm in report.arms] == pytest.approx(total.tolist())
    outcome = next(o for o in report.comparisons[0].outcomes if o.metric == "revenue")
    assert outcome.cuped
    plain = users["revenue"].clip(upper=cap).groupby(users["arm"]).mean()
    assert outcome.control == pytest.approx(plain["control"], rel=0.1)


def test_diversity_is_distinct_items_per_impression(report, users):
    outcome = next(o for o in report.comparisons[0].outcomes if o.metric == "diversity")
    ours = users.groupby("arm")[["distinct", "impressions"]].sum()
    shares = ours["distinct"] / ours["impressions"]
    assert (outcome.control, outcome.treatment) == pytest.approx(tuple(shares), rel=1e-9)


@pytest.mark.parametrize("metric", ["conversion", "revenue", "session_s", "depth"])
def test_the_sums_of_the_days_are_those_of_the_users(folder, design_of, metric):
    """Cumulative sums with caps give what one row a user gives."""
    found = experiment_report(
        design=design_of(days=6), events=folder, settings=Settings(metric=metric)
    )
    outcome = next(o for o in found.comparisons[0].outcomes if o.metric == metric)
    look = found.comparisons[0].looks[-1].effect
    assert look.control == pytest.approx(outcome.control, rel=1e-9)
    assert look.treatment == pytest.approx(outcome.treatment, rel=1e-9)
    # Student's t for one look against the normal distribution: nearly equal with 800 users.
    assert (outcome.high - outcome.low) / 2 == pytest.approx(1.962 * look.se, rel=2e-3)


def test_the_curves_end_at_the_totals(report, users):
    ours = users.groupby("arm")[["clicks", "impressions"]].sum()
    for arm, curve in report.curves.items():
        assert len(curve) == 6
        assert curve[-1] == pytest.approx(ours["clicks"][arm] / ours["impressions"][arm])


def test_the_report_is_json(report):
    plain = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert plain["verdict"]["kind"] == "no difference"
    assert plain["comparisons"][0]["looks"][-1]["day"] == 6
    assert {s["name"] for s in plain["comparisons"][0]["segments"]} >= {"existing"}


def test_guardrails_of_equal_arms_hold(report):
    seen = report.comparisons[0].guards["slate_ms:0.1"]
    assert [look.day for look in seen] == [1, 2, 3, 4, 5, 6]
    assert not any(look.is_crossed for look in seen)
    assert seen[-1].margin.limit == pytest.approx(1.1 * seen[-1].margin.control)


@pytest.fixture(scope="module")
def better(tmp_path_factory):
    folder = tmp_path_factory.mktemp("better")
    lift = {"treatment": 0.4}
    write_events(
        folder, Drawn(users=1500, days=6, click_lift=lift, ms_factor={"treatment": 1.5}, seed=4)
    )
    return folder


def test_a_better_arm_is_found_and_named(better, design_of):
    found = experiment_report(
        design=design_of(days=6), events=better, settings=Settings(metric="ctr")
    )
    assert found.verdict.kind == "better"
    assert found.verdict.word == "treatment is better than control"
    assert found.verdict.sentence.startswith("Click-through rate is up ")
    low = found.comparisons[0].looks[-1].effect
    assert low.relative_low < 0.4 < low.relative_high


def test_a_worse_arm_is_found_and_named(better, design_of):
    swapped = design_of(days=6, arms={"treatment": 0.5, "control": 0.5})
    found = experiment_report(design=swapped, events=better, settings=Settings(metric="ctr"))
    assert found.verdict.kind == "worse"
    assert found.verdict.arm == "control"
    assert found.verdict.sentence.startswith("Click-through rate is down ")


def test_a_broken_guardrail_comes_before_a_better_metric(better, design_of):
    guards = (Guard(metric="slate_ms", worse_by=0.1, alpha=0.01),)
    found = experiment_report(
        design=design_of(days=6, guards=guards), events=better, settings=Settings(metric="ctr")
    )
    assert found.verdict.kind == "guardrail"
    assert found.verdict.word == "Stop treatment"
    assert "Slate latency is beyond its limit since day" in found.verdict.sentence


def test_two_guardrails_on_one_metric_are_both_judged(better, design_of):
    """The latency grows by half: beyond the first limit, within the second."""
    guards = tuple(Guard(metric="slate_ms", worse_by=limit, alpha=0.01) for limit in (0.1, 2.0))
    found = experiment_report(
        design=design_of(days=6, guards=guards), events=better, settings=Settings(metric="ctr")
    )
    assert found.verdict.kind == "guardrail"
    looked = found.comparisons[0].guards
    assert [any(look.is_crossed for look in seen) for seen in looked.values()] == [True, False]
    limits = next(table for table in tables(found) if table.name == "limits-treatment")
    assert [(row[1], row[-1][:6]) for row in limits.rows] == [
        ("10.0%", "broken"),
        ("200.0%", "holds"),
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"metric": "profit"}, "metric 'profit': expected one of conversion, ctr"),
        ({"metric": "diversity"}, "metric 'diversity'"),
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"winsorise": 0.1}, "winsorise is 0.1"),
        ({"past_days": 1000}, "past_days is 1000"),
    ],
)
def test_settings_out_of_range_are_refused(folder, design_of, settings, said):
    with pytest.raises(InputError, match=said):
        experiment_report(design=design_of(), events=folder, settings=Settings(**settings))


def test_a_folder_without_exposures_is_refused(tmp_path, design_of):
    with pytest.raises(EventsInvalidError, match="no exposures"):
        experiment_report(design=design_of(), events=tmp_path)
