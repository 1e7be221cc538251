"""The small twin of `experiment`: few tests, few users."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tea_tasting", reason="needs the train extra")

from benchmarks.experiments import experiment, false_winners, narrowing
from benchmarks.harness import Options, document
from benchmarks.results_page.experiments import SECTIONS
from benchmarks.results_page.section import Run

DATA = Path(__file__).parents[3] / "data"


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    work = tmp_path_factory.mktemp("bench") / "work"
    return experiment.run(Options(work=work, seed=3), on_sums=200, through_events=2, users=100)


def test_the_twin_has_every_figure_of_the_claim(result):
    assert set(document(result)["figures"]) == {
        "aa_false_winners",
        "aa_false_winners_events",
        "cuped_narrowing_error",
        "report_s_10m_events",
        "report_cpu_s",
        "report_events",
        "report_peak_bytes",
        "impression_log_bytes_by_before",
        "impression_upload_bytes_by_before",
    }
    assert result.figures["cuped_narrowing_error"] < 0.05
    assert result.figures["report_events"] > 10_000
    assert 1e7 < result.figures["report_peak_bytes"] < 4e9
    assert 0.1 < result.figures["report_cpu_s"] < 1000
    assert 0.3 < result.figures["impression_log_bytes_by_before"] <= 1
    assert 0.3 < result.figures["impression_upload_bytes_by_before"] <= 1
    rows = [row for row in result.rows if row["what"] == "impression"]
    assert len(rows) == 5 and all(row["body_bytes"] <= row["body_bytes_before"] for row in rows)


def test_the_page_has_bytes_of_runs_that_measured_them(result):
    (section,) = SECTIONS
    stored = json.loads(json.dumps(document(result)))
    run = Run(**{name: stored.get(name) for name in Run.__dataclass_fields__})
    figures = [target.figure for target in section.targets(run)]
    assert sum("bytes of an impression" in figure for figure in figures) == 2
    titles = [table.title for table in section.tables(run)]
    assert "Bytes of an impression, its share of the request included" in titles
    before = {k: v for k, v in run.figures.items() if "impression" not in k and "cpu" not in k}
    older = replace(run, figures=before)
    assert len(section.targets(older)) == len(figures) - 2
    assert len(section.tables(older)) == len(titles) - 1


def test_peeking_without_bounds_finds_more_false_winners(result):
    for row in result.rows[:2]:
        assert row["bounds"] < row["naive"]
        assert row["once"] < row["naive"]
    # 4 standard errors of a share of .05 among 200.
    assert result.figures["aa_false_winners"] < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 200)


def test_a_real_difference_is_no_false_winner(monkeypatch):
    """The simulation can fail: arms that differ cross the bounds."""
    real, turns = false_winners._arm, itertools.cycle((True, False))

    def shifted(rng, metric):
        totals, squares = real(rng, metric)
        return (totals * 1.5, squares * 2.25) if next(turns) else (totals, squares)

    monkeypatch.setattr(false_winners, "_arm", shifted)
    assert false_winners.on_sums(20, "revenue", 1).bounds > 0.9


def test_retail_customers_are_narrowed_as_their_correlation_says(tmp_path):
    """A drawn shop in the file's layout: each customer buys for amounts of their own."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(2)
    n = 400
    level = rng.lognormal(3.0, 0.7, n)
    days = pd.date_range("2010-05-05", "2010-06-25", periods=8)
    lines = pd.DataFrame(
        {
            "Customer ID": np.repeat(np.arange(n), len(days)).astype(float),
            "StockCode": "85048",
            "InvoiceDate": np.tile(days.strftime("%Y-%m-%d %H:%M:%S"), n),
            "Quantity": 1,
            "Price": np.repeat(level, len(days)) * rng.lognormal(0.0, 1.0, n * len(days)),
        }
    )
    path = tmp_path / narrowing.FILE
    path.parent.mkdir()
    lines.to_parquet(path)
    found = narrowing.retail(tmp_path, tmp_path / "events", "2010-05-31", 4)
    assert found.users == n
    assert found.rho > 0.3
    assert found.error < 0.05
