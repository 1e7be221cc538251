"""The page of a report, in text and in a browser; the commands `report` and `power`."""

import dataclasses
import json
import re

import pytest
from click.testing import CliRunner

from benchmarks.experiments.drawn_events import EXPERIMENT, SALT, START_UTC, Drawn, write_events
from benchmarks.support.pictures.chromium import violations
from pocketrec.cli import main
from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_bundle.settings.experiment_arms import Arm, Guardrail
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis import Guard, Settings, experiment_report
from pocketrec_experiments.analysis.page import render

OVER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
ARMS = {"control": 0.4, "treatment": 0.4, "third": 0.2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("events")
    lift = {"treatment": 0.5}
    drawn = Drawn(
        users=900, arms=ARMS, days=7, past_days=3, joining_days=2, click_lift=lift, seed=9
    )
    write_events(folder, drawn)
    return folder


@pytest.fixture(scope="module")
def report(folder, design_of):
    design = design_of(
        days=10,
        arms=ARMS,
        hypothesis="<b>More</b> clicks",
        guards=(Guard(metric="slate_ms", worse_by=0.1, alpha=0.01),),
    )
    return experiment_report(design=design, events=folder, settings=Settings(metric="ctr"))


@pytest.fixture(scope="module")
def page(report) -> str:
    return render(report)


def test_the_verdict_comes_first_then_pictures_tables_and_notes(page):
    marks = (
        "treatment is better than control",
        "Keep running",
        "<svg",
        "<table",
        "Intention to treat",
    )
    places = [page.index(mark) for mark in marks]
    assert page.index("<title>drawn: treatment is better than control</title>") < places[0] + 99
    assert places[1:] == sorted(places[1:])
    assert page.count("<svg") == 2 * 4 + 1  # effects, days, bounds, novelty of two; the curves


def test_the_page_carries_everything_itself_and_escapes_texts(page):
    assert "&lt;b&gt;More&lt;/b&gt; clicks" in page
    assert "<b>More" not in page
    assert not re.search(r"<script|<link|\bsrc=|\bhref=\"[^#]|url\(|@import|https?:", page)
    assert "default-src 'none'" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_a_report_without_any_event_has_a_page_too(report, export, design_of, tmp_path):
    export.exposure("u", "control")
    found = experiment_report(design=design_of(), events=export.write(tmp_path))
    text = render(found)
    assert "Arm treatment has no users" in text
    assert "No pictures" in text
    assert dataclasses.is_dataclass(found)


@pytest.mark.browser
def test_axe_finds_nothing_and_the_page_fits_light_and_dark(page, tab, axe, tmp_path):
    (tmp_path / "page.html").write_text(page)
    tab.go((tmp_path / "page.html").as_uri())
    for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")):
        tab.show_as(width, scheme)
        assert tab.run(OVER) == 0, (width, scheme)
        assert violations(tab, axe) == [], (width, scheme)
    assert tab.complaints == []


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """An `experiments.json` with the drawn experiment."""
    arms = tuple(Arm(name=name, share=share) for name, share in ARMS.items())
    experiment = Experiment(
        id=EXPERIMENT,
        hypothesis="more clicks",
        salt=SALT,
        layer="ranking",
        segment=(0.0, 1.0),
        state="running",
        from_utc=START_UTC,
        until_utc=START_UTC + 10 * DAY_S,
        arms=arms,
        guardrails=(Guardrail(metric="slate_ms", worse_by=0.1, alpha=0.01),),
    )
    path = tmp_path_factory.mktemp("signed") / "experiments.json"
    path.write_bytes(Experiments(channel="stable", experiments=(experiment,)).to_bytes())
    return path


def run(*words: object):
    return CliRunner().invoke(main, ["experiment", *map(str, words)])


def test_the_command_prints_the_verdict_and_writes_the_page(folder, signed, tmp_path):
    out = tmp_path / "report.html"
    words = ("report", EXPERIMENT, "--events", folder, "--experiments", signed, "--metric", "ctr")
    done = run(*words, "--out", out)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("treatment is better than control. Click-through rate is up")
    assert "Conversion" in done.output
    assert "Verdict" in out.read_text()


def test_the_command_prints_one_json_object(folder, signed, report):
    words = ("report", EXPERIMENT, "--events", folder, "--experiments", signed, "--metric", "ctr")
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["verdict"] == json.loads(json.dumps(dataclasses.asdict(report.verdict)))
    assert found["source"] == "events"
    assert found["comparisons"][0]["looks"][-1]["day"] == 7


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("report", "other"), 2, "no experiment 'other'; its experiments: drawn"),
        (("report", EXPERIMENT, "--metric", "profit"), 2, "metric 'profit'"),
    ],
)
def test_a_wrong_name_is_refused_with_those_there_are(folder, signed, words, code, said):
    done = run(*words, "--events", folder, "--experiments", signed)
    assert done.exit_code == code, done.output
    assert said in done.output


RECIPE = """
name = "shop"
[data]
interactions = "i.csv"
items = "p.csv"
[columns]
user = "user"
item = "item"
timestamp = "time"
item_id = "item"
title = "title"
[events]
default = "click"
types = ["click", "purchase"]
"""


def test_a_recipe_says_which_events_are_amounts(folder, signed, tmp_path):
    recipe = tmp_path / "shop.toml"
    recipe.write_text(RECIPE + '[events.purchase]\nvalue = "amount"\ncurrency = "EUR"\n')
    words = ("report", EXPERIMENT, "--events", folder, "--experiments", signed, "--json")
    done = run(*words, "--recipe", recipe)
    assert done.exit_code == 0, done.output
    settings = json.loads(done.output)["settings"]
    assert (settings["conversions"], settings["currency"]) == (["purchase"], "EUR")
    recipe.write_text(RECIPE)
    done = run(*words, "--recipe", recipe)
    assert done.exit_code == 2
    assert "no event type has" in done.output


def test_conversions_are_those_that_are_signed(folder, signed, tmp_path):
    usual = Experiments.from_bytes(signed.read_bytes())
    other = tmp_path / "experiments.json"
    other.write_bytes(dataclasses.replace(usual, conversions=("click",)).to_bytes())
    words = ("report", EXPERIMENT, "--events", folder, "--json", "--experiments")
    found = json.loads(run(*words, other).output)
    assert found["settings"]["conversions"] == ["click"]
    said, by_option, usual_said = (
        one["comparisons"][0]["verdict"]["sentence"]
        for one in (
            found,
            json.loads(run(*words, signed, "--conversion", "click").output),
            json.loads(run(*words, signed).output),
        )
    )
    assert said == by_option != usual_said


def test_one_source_of_experiments_is_needed(folder):
    done = run("report", EXPERIMENT, "--events", folder)
    assert done.exit_code == 2
    assert "one of --experiments and --repo" in done.output


def test_power_prints_users_and_whole_weeks():
    # Kohavi, Tang, Xu 2020, ch. 15: about 16 p (1 - p) / delta^2 users an arm, for power .8.
    words = ("power", "--mean", 0.05, "--effect", 0.1, "--looks", 1, "--users-per-day", 5000)
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("59,652 users in both arms find a change of +10.0% with 80%.")
    assert "12 days; run whole weeks: 14 days." in done.output
    plain = json.loads(run(*words, "--json").output)
    assert plain["users"] == pytest.approx(2 * 16 * 0.05 * 0.95 / 0.005**2, rel=0.03)
    assert plain["weeks_days"] == 14
    less = json.loads(run(*words, "--correlation", 0.5, "--json").output)
    assert less["users"] == pytest.approx(0.75 * plain["users"], abs=1)


def test_power_of_a_mean_needs_its_spread():
    done = run("power", "--mean", 20, "--effect", 0.1)
    assert done.exit_code == 2
    assert "--sd" in done.output


@pytest.mark.parametrize("words", [("--mean", 0.5, "--sd", 1e200), ("--mean", 1e-200)])
def test_power_refuses_numbers_that_no_experiment_has(words):
    done = run("power", *words, "--effect", 0.1, "--looks", 1)
    assert done.exit_code == 2 and "more than 1e+12 users" in done.output


def test_power_measures_an_export(folder):
    done = run("power", "--events", folder, "--metric", "ctr", "--effect", 0.05, "--days", 7)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("ctr in 7 days: mean 0.")
    assert "after CUPED" in done.output
    plain = json.loads(
        run(
            "power", "--events", folder, "--metric", "ctr", "--effect", 0.05, "--days", 7, "--json"
        ).output
    )
    now = plain["baseline"]
    assert now["users"] <= 900
    assert now["users_per_day"] == pytest.approx(now["users"] / 7)
    reach = (1.959964 + 0.841621) ** 2 * 4 * now["variance"] / (0.05 * now["mean"]) ** 2
    assert plain["users"] == pytest.approx(reach * plain["inflation"], abs=1)


def test_power_of_an_export_with_few_users_is_refused(export, tmp_path):
    export.request("u", "r", 0)
    done = run("power", "--events", export.write(tmp_path), "--effect", 0.1)
    assert done.exit_code == 2
    assert "1 users in the newest 28 days" in done.output
