"""Releases of sums: k devices or nothing, one for a day, noise drawn once; and the commands."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pocketrec.cli import main
from pocketrec_bundle.settings.experiment_sums import LIMITS, PAST_LIMITS, DeviceSums
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis import Design, Settings, sums_report
from pocketrec_experiments.errors import EventsInvalidError
from pocketrec_experiments.statistics import Sums
from pocketrec_experiments.statistics.noise import noisy
from pocketrec_server.events.rate_limit import LIMITS as UPLOADS
from pocketrec_server.sums import store
from pocketrec_server.sums.export import export_sums
from pocketrec_server.sums.histogram import merged
from pocketrec_server.sums.release import LEAST_K, Run, release

SALT = "ab" * 16
RUN = Run(channel="stable", experiment="blend", salt=SALT)
NOW = 1_780_000_000


def body(n: int, arm: str, *, currency="EUR", past=0, **sums: int) -> DeviceSums:
    """Sums of device n: 10 impressions, and a purchase of every third."""
    bought = n % 3 == 0
    counts = dict.fromkeys(LIMITS, 0) | {
        "requests": 2,
        "impressions": 10,
        "clicks": n % 4,
        "interactions": n % 4 + bought,
        "conversions": int(bought),
        "revenue_cents": 500 * bought,
        "sessions": 1,
        "busiest_day": 6,
        "timed": 2,
        "slate_us": 20_000,
        "distinct_items": 8,
    }
    return DeviceSums(
        channel="stable",
        experiment="blend",
        salt=SALT,
        arm=arm,
        id=f"{n:032x}",
        seq=1,
        currency=currency,
        sums=counts | sums,
        past=dict.fromkeys(PAST_LIMITS, 0) | {"requests": past},
        score_bins=(0,) * 13,
        latency_bins=(0, 0, 0, 2, *[0] * 9),
    )


@pytest.fixture
def fill(engine):
    """Return a function that stores bodies."""

    def run(*bodies):
        for each in bodies:
            assert store.store(engine, each, NOW + 9 * DAY_S, UPLOADS, NOW, "network")

    return run


@pytest.fixture
def design():
    return Design(
        id="blend",
        salt=SALT,
        arms={"control": 0.5, "treatment": 0.5},
        from_utc=NOW - DAY_S,
        until_utc=NOW + 9 * DAY_S,
    )


def two_arms(control: int, treatment: int) -> list[DeviceSums]:
    arms = ["control"] * control + ["treatment"] * treatment
    return [body(n, arm) for n, arm in enumerate(arms)]


def test_an_arm_below_k_is_not_shown(engine, fill, design, tmp_path):
    fill(*two_arms(LEAST_K, LEAST_K - 1))
    done = export_sums(engine, tmp_path / "sums", now=NOW)
    assert (done.experiments, done.written, done.hidden) == (1, 1, 1)
    (path,) = (tmp_path / "sums").rglob("*.json")
    shown = json.loads(path.read_text())
    assert shown["arms"]["treatment"] is None and shown["arms"]["control"]["devices"] == LEAST_K
    report = sums_report(design=design, sums=tmp_path / "sums")
    assert report.verdict.kind == "too few users"
    assert "treatment has fewer than 50 devices" in report.verdict.sentence
    assert report.comparisons[0].outcomes == [] and report.comparisons[0].looks == []


def test_k_may_be_larger_but_never_smaller(engine, fill):
    fill(*two_arms(60, 60))
    with pytest.raises(ValueError, match="at least 50"):
        release(engine, RUN, now=NOW, k=49)
    found = release(engine, RUN, now=NOW, k=61)
    assert found["arms"] == {"control": None, "treatment": None}


def test_a_day_has_one_release_whoever_asks_again(engine, fill, tmp_path):
    fill(*two_arms(60, 60))
    first = release(engine, RUN, now=NOW, epsilon=1.0)
    fill(replace(body(3, "control"), id="f" * 32))
    again = release(engine, RUN, now=NOW + 60)
    assert again == first and first["epsilon"] == 1.0
    assert export_sums(engine, tmp_path / "sums", now=NOW + 60).other_settings == 1
    tomorrow = release(engine, RUN, now=NOW + DAY_S)
    assert tomorrow["arms"]["control"]["devices"] == 61


def test_new_and_existing_users_are_shown_only_together(engine, fill):
    old = [body(n, "control", past=1) for n in range(LEAST_K - 1)]
    new = [body(n + 100, "control") for n in range(LEAST_K)]
    fill(*old, *new)
    assert release(engine, RUN, now=NOW)["arms"]["control"]["parts"] == {}
    fill(body(300, "control", past=1))
    parts = release(engine, RUN, now=NOW + DAY_S)["arms"]["control"]["parts"]
    assert {name: part["ctr"]["n"] for name, part in parts.items()} == {"new": 50, "existing": 50}


def test_a_bot_and_another_currency_are_handled(engine, fill):
    bot = body(500, "control", interactions=20_000, busiest_day=20_000, clicks=9)
    pound = [body(n, "treatment", currency="GBP") for n in range(600, 606)]
    fill(*two_arms(60, 60), bot, *pound)
    found = release(engine, RUN, now=NOW)
    control, treatment = found["arms"]["control"], found["arms"]["treatment"]
    assert (control["devices"], control["metrics"]["ctr"]["n"]) == (61, 60)
    assert found["currency"] == "EUR"
    sums = Sums.from_plain(treatment["metrics"]["revenue"])
    assert sums.totals[0] == 20 * 5.0  # of 60..119 every third, in euros
    assert found["other_currency_devices"] == 0  # fewer than k


def test_no_figure_of_one_device_is_in_a_release(engine, fill):
    rich = body(501, "control", revenue_cents=987_654_321, conversions=1, interactions=1)
    second = body(504, "control", revenue_cents=123_456_789, conversions=1, interactions=1)
    fill(*two_arms(60, 60), rich, second)
    text = json.dumps(release(engine, RUN, now=NOW))
    assert f"{501:032x}" not in text and "9876543.21" not in text and "1234567.89" not in text


def test_an_empty_arm_gives_no_verdict(engine, fill, design, tmp_path):
    fill(*(body(n, "control") for n in range(200)))
    export_sums(engine, tmp_path / "sums", now=NOW)
    report = sums_report(design=design, sums=tmp_path / "sums")
    assert report.verdict.kind == "too few users"
    assert "Arm treatment has fewer than 50 devices" in report.verdict.sentence
    assert [(arm.exposed, arm.users) for arm in report.arms] == [(200, 200), (0, 0)]
    assert report.comparisons[0].outcomes == []


def test_one_device_with_half_of_the_revenue_is_cut(engine, fill, design, tmp_path):
    users = two_arms(300, 300)
    half = sum(each.sums["revenue_cents"] for each in users)
    rich = body(1000, "treatment", revenue_cents=half, conversions=1, interactions=1)
    fill(*users, rich)
    made = release(engine, RUN, now=NOW)
    assert made["revenue_cap"] == 5.0  # what each of the other buyers paid
    revenue = Sums.from_plain(made["arms"]["treatment"]["metrics"]["revenue"])
    assert revenue.totals[0] == 100 * 5.0 + 5.0  # of the others, and of one that was cut
    export_sums(engine, tmp_path / "sums", now=NOW)
    report = sums_report(design=design, sums=tmp_path / "sums", settings=Settings(metric="revenue"))
    assert report.verdict.kind != "better"


def bins(**counts):
    """A histogram of 13 bins: b3=2 is 2 in the fourth."""
    return tuple(counts.get(f"b{at}", 0) for at in range(13))


def released_bins(engine, day=0):
    arm = release(engine, RUN, now=NOW + day * DAY_S)["arms"]["control"]
    return arm["latency_bins"], arm["score_bins"]


def test_every_bin_of_a_histogram_is_of_k_devices_or_of_none(engine, fill):
    most = [replace(body(n, "control"), latency_bins=bins(b2=1, b4=3)) for n in range(60)]
    slow = [replace(body(n, "control"), latency_bins=bins(b4=1, b9=1)) for n in range(60, 109)]
    fill(*most, *slow)
    # 49 devices have b9: it is merged with b4, of 109, so that neither follows from the total.
    latency, scores = released_bins(engine)
    assert latency == [0, 0, 60, 0, *[None] * 8, 3 * 60 + 49 * 2]
    assert scores == [0] * 13
    fill(replace(body(200, "control"), latency_bins=bins(b9=7)))
    latency, _ = released_bins(engine, day=1)
    assert latency == [0, 0, 60, 0, 3 * 60 + 49, 0, 0, 0, 0, 49 + 7, 0, 0, 0]


def test_histograms_of_bots_and_of_few_devices_are_not_shown(engine, fill):
    bot = body(500, "control", interactions=20_000, busiest_day=20_000, clicks=9)
    scored = [replace(body(n, "control"), score_bins=bins(b1=4)) for n in range(LEAST_K - 1)]
    others = [replace(body(n, "control"), latency_bins=bins(b0=1)) for n in range(100, 150)]
    fill(*scored, *others, replace(bot, score_bins=bins(b1=9), latency_bins=bins(b12=99)))
    latency, scores = released_bins(engine)
    assert scores == [None] * 13  # 49 devices without the bot
    assert latency == [*[None] * 12, 50 + 2 * (LEAST_K - 1)]  # b3 has 49 devices


def test_no_histogram_is_released_with_noise(engine, fill):
    fill(*two_arms(60, 60))
    shown = release(engine, RUN, now=NOW, epsilon=1.0)["arms"]["control"]
    assert set(shown) == {"devices", "metrics"}


@given(
    rows=st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=30),
    k=st.integers(2, 12),
)
def test_merged_bins_lose_no_count_and_show_no_few_devices(rows, k):
    table = np.array(rows, dtype=np.int64)
    made = merged(table, k)
    first = 0
    for at, count in enumerate(made):
        if count is None:
            continue
        of = table[:, first : at + 1]
        assert count == of.sum()
        n = (of > 0).any(axis=1).sum()
        assert n == 0 or n >= k
        first = at + 1
    if first == 0:
        assert (table > 0).any(axis=1).sum() < k
    else:
        assert first == 5 and sum(count or 0 for count in made) == table.sum()


def test_a_quantile_in_merged_last_bins_is_not_shown_and_the_report_says_so(
    engine, fill, design, tmp_path
):
    slow = [replace(body(n, "control"), latency_bins=bins(b3=2, b8=2)) for n in range(10)]
    fast = [body(n, "control") for n in range(10, 200)]
    other = [body(n, "treatment") for n in range(200, 400)]
    fill(*slow, *fast, *other)
    export_sums(engine, tmp_path / "sums", now=NOW)
    report = sums_report(design=design, sums=tmp_path / "sums")
    assert [arm.p95_ms for arm in report.arms] == [None, 10.0]
    notes = [note for note in report.notes if "95% latency" in note]
    assert notes == [
        "95% latency of arm control: not shown, fewer than 50 devices have such slates."
    ]


def test_intervals_with_noise_cover_the_truth():
    """95% intervals of a mean, over 400 draws of noise and users."""
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(400):
        users = (rng.random(2000) < 0.3).astype(float)
        sums = noisy(Sums.of_rows(("converted",), users[:, None]), 0.5, rng)
        error = np.sqrt(sums.covariance("converted", "converted") / sums.n)
        covered += abs(sums.mean("converted") - 0.3) < 1.96 * error
    assert 0.92 <= covered / 400 <= 0.985


def test_noise_has_the_scale_of_the_limits():
    rng = np.random.default_rng(6)
    rows = Sums.of_rows(("clicks", "impressions"), np.zeros((100, 2)))
    drawn = np.array([noisy(rows, 1.0, rng).totals for _ in range(4000)])
    # 2 totals and 3 products share epsilon; the limits are 500 and 5,000.
    assert np.abs(drawn).mean(axis=0) == pytest.approx([5 * 500, 5 * 5000], rel=0.1)


def test_a_report_says_its_noise(engine, fill, design, tmp_path):
    fill(*two_arms(400, 400))
    export_sums(engine, tmp_path / "sums", now=NOW, epsilon=8.0)
    report = sums_report(design=design, sums=tmp_path / "sums", settings=Settings())
    assert "Laplace noise with epsilon 8" in report.source_line
    assert any("epsilon 8 for each metric and day" in note for note in report.notes)
    assert (report.to_json()["epsilon"], report.comparisons[0].segments) == (8.0, [])
    assert not any(outcome.cuped for outcome in report.comparisons[0].outcomes)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(version=2),
        lambda v: v.update(format="other"),
        lambda v: v.pop("k"),
        lambda v: v["arms"]["control"]["metrics"].pop("ctr"),
        lambda v: v["arms"]["control"]["metrics"]["ctr"].update(n=-1),
        lambda v: v["arms"]["control"]["metrics"]["ctr"].update(names=["clicks", "other"]),
        lambda v: v["arms"]["control"].update(latency_bins=[1]),
        lambda v: v["arms"]["control"].update(latency_bins=[0.5] * 13),
        lambda v: v["arms"]["control"].update(latency_bins=[-1] * 13),
        lambda v: v.update(arms=[]),
        lambda v: v.update(epsilon="1"),
    ],
)
def test_a_damaged_file_is_named(engine, fill, design, tmp_path, change):
    fill(*two_arms(60, 60))
    export_sums(engine, tmp_path, now=NOW)
    (path,) = tmp_path.rglob("day=*.json")
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    with pytest.raises(EventsInvalidError, match=r"day=.*\.json"):
        sums_report(design=design, sums=path)


def test_sums_of_another_experiment_or_salt_are_not_read(engine, fill, design, tmp_path):
    fill(*two_arms(60, 60))
    export_sums(engine, tmp_path / "sums", now=NOW)
    for other in (replace(design, id="other"), replace(design, salt="00" * 16)):
        with pytest.raises(EventsInvalidError, match="no sums of experiment"):
            sums_report(design=other, sums=tmp_path / "sums")


def test_commands_export_sums_and_report_from_them(site, tmp_path):
    experiment = site.experiment
    for n in range(120):
        arm = ("control", "treatment")[n % 2]
        one = replace(body(n, arm), salt=experiment.salt)
        store.store(site.engine, one, experiment.until_utc, UPLOADS, time.time(), "network")
    run = CliRunner().invoke
    where = ["--repo", str(site.repo)]
    done = run(main, ["events", "export-sums", *where, "--out", str(tmp_path / "s"), "--json"])
    assert json.loads(done.stdout)["written"] == 1
    again = run(
        main,
        ["events", "export-sums", *where, "--out", str(tmp_path / "s"), "--epsilon", "1"],
    )
    assert "1 unchanged" in again.stdout and "apply tomorrow" in again.stderr
    small = run(main, ["events", "export-sums", *where, "--out", "x", "--k", "49"])
    assert small.exit_code == 2 and "49" in small.stderr
    report = ["experiment", "report", "blend", *where, "--sums", str(tmp_path / "s")]
    shown = run(main, report)
    assert shown.exit_code == 0, shown.output
    assert "Computed from sums of 120 devices" in shown.stdout.splitlines()[1]
    page = tmp_path / "report.html"
    plain = run(main, [*report, "--json", "--out", str(page)])
    assert next(iter(json.loads(plain.stdout))) == "source"
    assert "Computed from sums of 120 devices" in page.read_text()
    for more in (["--click", "view"], ["--winsorise", "0.9"], ["--events", "e"]):
        assert run(main, [*report, *more]).exit_code == 2
