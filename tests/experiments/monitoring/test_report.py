"""The report against exports whose figures a pencil can follow."""

import json
import math
import re

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.support.pictures.chromium import violations
from pocketrec import cli
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.errors import EventsInvalidError
from pocketrec_experiments.monitoring import Settings, monitor_report
from pocketrec_experiments.monitoring.calibration import Calibration, Tenth
from pocketrec_experiments.monitoring.page import page, verdict
from pocketrec_experiments.monitoring.page.verdicts import verdicts
from pocketrec_experiments.monitoring.prometheus import exposition
from pocketrec_experiments.monitoring.report import Published
from pocketrec_experiments.monitoring.terminal import lines

OVER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
FIRST_DAY = 20_000
NOW = (FIRST_DAY + 40) * DAY_S
OLD = "0123456789abcdef"


@pytest.fixture
def report(export, bundle, tmp_path):
    """Return a function that writes the export and makes the report of the bundle."""

    def make(now_utc=NOW, published=None, **settings):
        folder = tmp_path / "events"
        if not folder.exists():
            export.write(folder)
        return monitor_report(
            events=folder,
            bundle=bundle,
            now_utc=now_utc,
            settings=Settings(**settings),
            published=published,
        )

    return make


@pytest.fixture
def release(bundle):
    return open_bundle(bundle).sha256[:16]


@pytest.fixture
def items(bundle):
    return open_bundle(bundle).item_ids()


@pytest.fixture
def fill(export, release, items):
    """Return a function that adds events as the training data had, or with other shares."""

    def add(events=(500, 100), score=lambda n: n / 600):
        for n in range(600):
            export.request("a", f"r{n}", release, at=n)
            export.impression("a", f"r{n}", items[n % 48], at=n, score=score(n))
        for name, count in zip(("rating", "like"), events, strict=True):
            for n in range(count):
                export.interaction("b", items[n % 48], at=n, event=name)

    return add


def by_release(report):
    return {each.release: each for each in report.releases}


def test_slates_are_counted_by_release_and_source_with_latency_and_faults(export, report, release):
    for n in range(8):
        export.request("a", f"m{n}", release, at=n, ms=float(n))
    export.request("b", "f", release, at=9, source="fallback", faults=["ranker_failed", "deadline"])
    export.request("b", "r", OLD, at=3, source="retrieval", ms=None, faults=["deadline"])
    found = by_release(report())
    new, old = found[release], found[OLD]
    assert new.sources == {"model": 8, "fallback": 1} and new.slates == 9
    assert new.fallback_share == pytest.approx(1 / 9)
    assert new.latency_ms["p50"] == 4 and 9 < new.latency_ms["p99"] < 10
    assert new.faults == {"ranker_failed": 1, "deadline": 1}
    assert (old.sources, old.latency_ms, old.faults) == ({"retrieval": 1}, {}, {"deadline": 1})
    assert (new.users, old.users) == (2, 1)


def test_what_devices_invent_fills_no_report(export, report, release):
    for n in range(60):
        name = f"{n:016x}"
        export.request("a", f"r{n}", name, at=n, source=f"source {n}", faults=[f"fault {n}"])
        export.request("b", f"s{n}", OLD, at=n, faults=[f"fault {n}"])
    export.request("c", "t", OLD)
    export.request("c", "u", release)
    found = by_release(report())
    assert len(found) == 22 and {OLD, release, "other"} <= set(found)
    assert found["other"].slates == 41 and found["other"].sources == {"other": 41}
    assert len(found[OLD].faults) == 30


def test_users_move_from_one_release_to_the_next(export, report, release):
    for user, days in {"a": (0, 2), "b": (0, 1, 2), "c": (1,)}.items():
        for day in days:
            is_new = (user == "a" and day == 2) or (user == "b" and day >= 1)
            export.request(user, f"{user}{day}", release if is_new else OLD, day=day)
    export.request("b", "b-early", OLD, day=1, at=0)
    export.request("b", "b-late", release, day=1, at=9)
    made = report()
    adopted = made.adoption
    assert adopted.days == [FIRST_DAY, FIRST_DAY + 1, FIRST_DAY + 2]
    assert adopted.users == {OLD: [2, 1, 0], release: [0, 1, 2]}
    assert adopted.updates == {OLD: [0, 0, 0], release: [0, 1, 1]}
    shares = {each.release: each.installed_share for each in made.releases}
    assert shares == {OLD: pytest.approx(1 / 3), release: pytest.approx(2 / 3)}


def test_an_impression_is_clicked_by_request_or_by_the_latest_of_user_and_item(
    export, report, release
):
    export.request("a", "r1", release, at=0)
    export.request("a", "r2", release, at=100)
    for name, at in (("r1", 0), ("r2", 100)):
        for item in ("item 1", "item 14", "item 15"):
            export.impression("a", name, item, at=at)
    export.interaction("a", "item 1", at=200, request="r1")
    export.interaction("a", "item 1", at=201, request="r1")  # the same impression again
    export.interaction("a", "item 14", at=200)  # of r2, the latest
    export.interaction("a", "item 15", at=50)  # of r1
    export.interaction("b", "item 15", at=200)  # of another user
    export.interaction("a", "item 15", day=9, at=200)  # beyond the window
    (found,) = report().releases
    assert (found.impressions, found.clicks, found.items) == (6, 3, 3)
    assert found.click_share == 0.5
    assert found.coverage == pytest.approx(3 / 48)
    (found,) = report(clicks=("buy",)).releases
    assert found.clicks == 0


def test_impressions_of_old_clients_have_no_release_and_keep_their_source(export, report):
    export.impression("a", None, "item 1", source="model")
    export.interaction("a", "item 1", at=5)
    (found,) = report().releases
    assert (found.release, found.impressions, found.clicks) == ("unknown", 1, 1)
    assert found.coverage is None


def test_the_same_data_has_no_drift(fill, report):
    fill()
    made = report()
    assert [(d.what, d.state) for d in made.drifts] == [
        ("events", "stable"),
        ("categories", "stable"),
        ("item popularity", "stable"),
        ("item year", "stable"),
        ("item price", "stable"),
        ("scores", "stable"),
    ]
    assert all(d.psi < 0.05 and d.jensen_shannon < 0.01 for d in made.drifts)
    assert made.unknown_items_share == 0
    assert verdict(made) == "No distribution has drifted from the training data."


def test_each_distribution_drifts_alone(fill, report):
    fill(events=(300, 300), score=lambda n: 0.5 + n / 1200)
    found = {d.what: d for d in report().drifts}
    assert found["events"].state == found["scores"].state == "large"
    assert found["categories"].state == found["item year"].state == "stable"
    assert found["events"].largest_change() == "like: 16.7%, now 50.0%"
    mix = 1 / 3 * (np.log(3) + np.log(5 / 3))  # shares .5 and .5 against 5/6 and 1/6
    assert found["events"].psi == pytest.approx(mix, rel=0.02)


def test_items_and_events_that_training_never_saw_are_counted(export, report, items):
    for n in range(200):
        export.interaction(
            "a", "never heard of" if n % 4 == 0 else items[n % 48], at=n, event="share"
        )
    made = report()
    (mix,) = [d for d in made.drifts if d.what == "events"]
    assert (mix.bins, mix.found) == (("like", "rating", "other"), (0, 0, 200))
    assert mix.state == "large" and made.unknown_items_share == 0.25


def test_few_values_are_missing_and_not_drift(export, report, items):
    for n in range(20):
        export.interaction("a", items[0], at=n, event="like")
    made = report()
    assert {d.state for d in made.drifts} == {"missing"}
    assert "too few: 20 values in the field, 480 in training" in made.notes[1]


def test_calibration_compares_scores_with_clicks_by_tenth(export, report, release):
    for n in range(1000):
        export.impression("a", f"r{n}", "item 1", at=n, score=(n % 10) / 10 + 0.05)
        export.request("a", f"r{n}", release, at=n)
        if (n // 10) % 10 < n % 10:  # a share of (n % 10) / 10
            export.interaction("a", "item 1", at=n + 1, request=f"r{n}")
    export.request("b", "s", release)
    export.impression("b", "s", "item 1", score=1e9, sponsored="campaign")
    export.request("b", "t", release, source="fallback")
    export.impression("b", "t", "item 1", score=1e9)
    found = report().calibration
    assert [t.impressions for t in found.tenths] == [100] * 10
    assert [round(t.click_share, 3) for t in found.tenths] == [n / 10 for n in range(10)]
    assert found.error == pytest.approx(0.05)
    assert found.lift is None  # nobody clicked the lowest tenth


def test_the_calibration_error_by_chance_is_that_of_binomial_shares():
    """Mean |share - 1/2| of 100 fair coins: 0.0398 = C(100, 50) / 2**101 (de Moivre)."""
    tenth = Tenth(impressions=100, score=0.5, clicks=50, click_share=0.5)
    found = Calibration(release="a", tenths=(tenth,) * 10, error=0.0, lift=1.0)
    assert found.by_chance() == pytest.approx(math.comb(100, 50) / 2**101, rel=0.01)


def test_scores_that_are_not_probabilities_have_no_calibration_error(fill, report):
    fill(score=lambda n: n / 100 - 3)
    assert report().calibration.error is None


def test_names_channels_and_the_age_of_the_data_come_from_the_repository(export, report, release):
    export.request("a", "r", OLD)
    until = FIRST_DAY * DAY_S - 3 * DAY_S
    known = Published(name="shop-7", channels=("stable", "beta"), data_until_utc=until)
    (found,) = report(published={OLD: known}).releases
    assert (found.name, found.channels) == ("shop-7", ("stable", "beta"))
    assert found.data_age_s == 3 * DAY_S + 1


def test_the_window_ends_with_the_newest_event_that_is_not_in_the_future(export, report):
    for day in (0, 5, 20, 90):
        export.request("a", f"r{day}", OLD, day=day)
    made = report(days=16)
    assert made.until_utc == (FIRST_DAY + 20) * DAY_S + 1
    assert made.adoption.days == [FIRST_DAY + 5, FIRST_DAY + 20]
    assert "1 events are in the future and were left out" in made.notes


@pytest.mark.parametrize(
    ("card", "note"),
    [
        ({"fit": "final"}, "the model card has no reference distributions"),
        ({"reference": {"format": 9}}, "format is 9, expected 1"),
        ([], "the model card has no reference distributions"),
    ],
)
def test_a_card_without_a_reference_is_said(export, with_card, tmp_path, card, note):
    export.request("a", "r", OLD)
    events = export.write(tmp_path / "events")
    made = monitor_report(events=events, bundle=with_card(card), now_utc=NOW)
    assert made.drifts == [] and note in made.notes[0]
    assert verdict(made).startswith("Drift is unknown")


def test_an_export_without_events_is_refused(export, report, tmp_path, bundle):
    (tmp_path / "empty").mkdir()
    with pytest.raises(EventsInvalidError, match="no requests or impressions or interactions"):
        monitor_report(events=tmp_path / "empty", bundle=bundle, now_utc=NOW)
    export.request("a", "r", OLD, day=90)
    with pytest.raises(EventsInvalidError, match="no event before now"):
        report()
    with pytest.raises(InputError, match=r"days is 0; expected 1\.\.3660"):
        report(days=0)


def test_the_report_as_text_page_json_and_metrics(fill, export, report, release):
    fill(events=(300, 300))
    export.request("x", "evil", '<script>"', faults=["<b>"])
    made = report()
    text = "\n".join(lines(made))
    assert re.search(r"^events +large +0\.\d+", text, re.MULTILINE)
    html = page(made)
    assert "Drifted from the training data: events (large, PSI" in html
    assert "<script" not in html and "&lt;script&gt;" in html
    assert html.count("<figure>") == 7  # calibration, and six distributions
    marks = ("<strong>Large drift.</strong>", "Miscalibrated", "<svg", "<table")
    assert [html.index(mark) for mark in marks] == sorted(html.index(mark) for mark in marks)
    plain = json.loads(json.dumps(made.to_json(), allow_nan=False))
    assert plain["releases"][0]["click_share"] == 0
    samples = {
        (s.name, s.labels.get("what") or s.labels.get("release")): s.value
        for family in text_string_to_metric_families(exposition(made, 7))
        for s in family.samples
    }
    assert samples["pocketrec_monitor_timestamp_seconds", None] == 7
    assert samples["pocketrec_drift_psi", "events"] > 0.25
    (mix,) = [one for one in made.drifts if one.what == "events"]
    above = samples["pocketrec_drift_psi_above_chance", "events"]
    assert above == mix.psi - mix.by_chance < samples["pocketrec_drift_psi", "events"]
    for one in made.drifts:
        assert samples["pocketrec_drift_jensen_shannon", one.what] == one.jensen_shannon
        assert 0 <= one.jensen_shannon <= 1
    assert samples["pocketrec_drift_jensen_shannon", "events"] > 0.01
    assert samples["pocketrec_unknown_items_share", release] == made.unknown_items_share
    assert samples["pocketrec_calibration_error", release] == made.calibration.error
    above = samples["pocketrec_calibration_error_above_chance", release]
    assert above == made.calibration.error - made.calibration.by_chance()
    assert samples["pocketrec_field_installed_share", '<script>"'] == 0.5
    assert samples["pocketrec_field_coverage", release] == 1


def test_verdicts_name_fallbacks_unknown_items_and_calibration(export, report, release, items):
    for n in range(300):
        export.request("a", f"r{n}", release, at=n, source="fallback" if n % 10 == 0 else "model")
        export.impression("a", f"r{n}", items[n % 48], at=n, score=0.9)
        export.interaction("b", "never heard of" if n % 4 == 0 else items[n % 48], at=n)
    made = report()
    found = [(each.tone, each.word) for each in verdicts(made)[1:]]
    assert found == [("bad", "Unknown items"), ("bad", "Fallbacks"), ("bad", "Miscalibrated")]
    html = page(made)
    assert "25.0% of the interactions are with items that the bundle lacks." in html
    assert "10.0%. The limit is 5%." in html


def test_a_report_of_one_slate_has_a_page_too(export, report):
    export.request("a", "r", OLD)
    html = page(report())
    assert "Drift unknown" in html and "No pictures" in html


@pytest.mark.browser
def test_axe_finds_nothing_and_the_page_fits_light_and_dark(fill, report, tab, axe, tmp_path):
    fill(events=(300, 300))
    (tmp_path / "page.html").write_text(page(report()))
    tab.go((tmp_path / "page.html").as_uri())
    for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")):
        tab.show_as(width, scheme)
        assert tab.run(OVER) == 0, (width, scheme)
        assert violations(tab, axe) == [], (width, scheme)
    assert tab.complaints == []


def test_the_command_writes_table_page_and_metrics(fill, export, bundle, release, tmp_path, runner):
    fill()
    events = str(export.write(tmp_path / "events"))
    out, prom = tmp_path / "report.html", tmp_path / "pocketrec.prom"
    words = ["monitor", "--events", events, "--bundle", str(bundle), "--now", str(NOW)]
    done = runner.invoke(cli.main, [*words, "--out", str(out), "--prometheus", str(prom)])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[0].endswith(f"bundle tiny ({release})")
    assert out.read_text().startswith("<!doctype html>")
    assert prom.stat().st_mode & 0o777 == 0o644
    again = runner.invoke(cli.main, [*words, "--out", str(out)])
    assert again.exit_code == 2 and "exists already" in again.output
    done = runner.invoke(cli.main, [*words, "--out", str(out), "--force", "--json"])
    assert json.loads(done.output)["release"] == release
