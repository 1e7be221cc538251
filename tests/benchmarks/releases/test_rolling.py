"""The benchmark on a small made-up shop, whose things are news for two weeks."""

from typing import Any, get_args

import numpy as np
import pytest

from benchmarks.harness import Options, document
from benchmarks.releases import rolling
from benchmarks.releases.rolling import FINAL, WITHOUT
from pocketrec_training.metrics.cases import Setting

DAY = 86_400
RECIPE = """
name = "news"
[data]
interactions = "interactions.csv"
[columns]
user = "who"
item = "what"
timestamp = "when"
[events]
default = "purchase"
types = ["purchase"]
[split]
kind = "global_time"
[retrieval]
dim = 8
blocks = 1
max_history = 20
quantize_from = 1.0
epochs = 4
[neighbours]
kind = "together"
per_item = 8
[ranker]
candidates = 40
neighbour_candidates = 10
popularity_days = [7]
epochs = 2
batch = 8
deep = [8]
heads = ["engage"]
head_weights = [1.0]
"""
TUNED: dict[Setting, dict[str, dict[str, float]]] = {
    "new_to_user": {"popularity": {"half_life_days": 0.0}},
    "all": {"popularity": {"half_life_days": 0.0}, "personal_frequency": {}},
}
WEEKS, USERS = 10, 50


@pytest.fixture(scope="module")
def result(tmp_path_factory, in_process):
    folder = tmp_path_factory.mktemp("news")
    rng = np.random.default_rng(0)
    lines = ["who,what,when"]
    for user in range(USERS):
        for week in range(WEEKS):
            # Four of a week's twelve new things, in this week or the next one.
            for item in rng.permutation(12)[:4]:
                day = week * 7 + int(rng.integers(0, 14))
                lines.append(f"u{user},w{week}-{item},{(15000 + day) * DAY + user}")
    (folder / "interactions.csv").write_text("\n".join(lines))
    (folder / "twin.toml").write_text(RECIPE)
    return rolling.run(
        Options(work=folder / "work", data=folder),
        folder / "twin.toml",
        smaller={"retrieval.epochs": 3},
        starts=((15000 + 7 * 9) * DAY,),
        tuned=TUNED,
    )


def test_every_method_answers_every_case_of_the_week(result):
    week = [row for row in result.rows if row["week"] == "2011-03-30"]
    for setting, names in TUNED.items():
        cases = {row["method"]: row["cases"] for row in week if row["setting"] == setting}
        assert set(cases) == {FINAL, WITHOUT, *names}
        assert len(set(cases.values())) == 1
        assert 0 < cases[FINAL] <= USERS
    figures = document(result)["figures"]
    assert figures["ndcg_final"] != figures["ndcg_without"]
    assert figures["final_time_share"] > 0


def test_figures_are_means_over_the_cases_of_all_weeks():
    """Three cases in the first week and one in the second."""
    nothing = np.zeros(3), np.zeros(1)
    first, second = np.array([0.2, 0.4, 0.6]), np.array([1.0])
    found: dict[tuple[Setting, str], list[dict[str, Any]]] = {}
    settings: tuple[Setting, ...] = get_args(Setting)
    for setting in settings:
        for method, factor in ((FINAL, 1.0), (WITHOUT, 0.5), ("popularity", 0.0), ("ease", 0.8)):
            found[setting, method] = [
                {"ndcg": factor * values, "recall": zero}
                for values, zero in zip((first, second), nothing, strict=True)
            ]
    figures = rolling.figures(found, 7)
    assert figures["ndcg_final"] == pytest.approx(0.55)
    assert figures["ndcg_without_all"] == pytest.approx(0.275)
    assert figures["ndcg_best_baseline"] == pytest.approx(0.44)
    assert 0 < figures["ndcg_lead_over_best_baseline_low"] < 0.11
    assert 0.11 < figures["ndcg_lead_over_best_baseline_high"] <= 0.2
    assert figures["recall_lead_over_without_low"] == 0.0


def test_settings_of_the_baselines_are_those_of_another_result():
    found = rolling.tuned_settings(rolling.TUNED)
    assert set(found["all"]) - set(found["new_to_user"]) == {
        "personal_frequency",
        "ease_tifu_popularity",
    }
    assert {"popular", "half_life_days"} == set(found["new_to_user"]["ease_popularity"])
