"""The benchmark on a small made-up twin of its data: shoppers with habits, split by time."""

import numpy as np
import pytest
from rich.console import Console

from benchmarks.harness import Options, document
from benchmarks.quality import retail

DAY = 86_400
FIGURES = {
    f"{name}{suffix}"
    for metric in ("recall20", "ndcg20")
    for name in (
        metric,
        f"{metric}_keras",
        f"{metric}_retrieval",
        f"best_baseline_{metric}",
        f"hybrid_{metric}",
        f"lead_{metric}_low",
    )
    for suffix in ("", "_all")
}
RECIPE = """
name = "retail-twin"
[data]
interactions = "interactions.csv"
[columns]
user = "who"
item = "what"
timestamp = "when"
timestamp_unit = "s"
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
epochs = 1
[neighbours]
kind = "together"
per_item = 8
[ranker]
candidates = 40
neighbour_candidates = 5
own_candidates = 15
popularity_days = [30]
epochs = 20
batch = 8
deep = [8]
heads = ["engage"]
head_weights = [1.0]
[rerank]
near_duplicate_cosine = 2.0
repeats = true
[export]
golden_cases = 4
variants = ["fp32", "fp16", "dynamic"]
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory, in_process):
    folder = tmp_path_factory.mktemp("twin")
    rng = np.random.default_rng(0)
    lines = ["who,what,when"]
    for user in range(50):
        mine = rng.choice(60, 5, replace=False)
        for week in range(10):
            day = week * 7 + int(rng.integers(0, 7))
            bought = {*rng.choice(mine, 3, replace=False), *rng.integers(0, 60, 2)}
            lines += [f"u{user},i{item},{day * DAY}" for item in bought]
    (folder / "interactions.csv").write_text("\n".join(lines))
    (folder / "twin.toml").write_text(RECIPE)
    options = Options(work=folder / "work", data=folder)
    return retail.run(options, folder / "twin.toml", Console(width=120, record=True))


def test_every_figure_is_there(result):
    assert document(result)["figures"].keys() == FIGURES
    assert all(-1 <= value <= 1 for value in result.figures.values())


def test_baselines_of_habit_lead_on_repeats(result):
    """The twin's shoppers buy their five favourites again: counting them is near the best."""
    lines = {(r["setting"], r["method"]): r for r in result.rows}
    own = lines["all", "personal_frequency"]["recall20"]
    assert own > lines["all", "popularity"]["recall20"]
    assert result.figures["best_baseline_recall20_all"] >= own


def test_the_ranker_learns_the_habits_and_the_device_shows_what_it_learned(result):
    lines = {(r["setting"], r["method"]): r for r in result.rows}
    assert result.figures["recall20_all"] > result.figures["recall20_retrieval_all"] + 0.1
    assert result.figures["recall20_all"] == pytest.approx(
        result.figures["recall20_keras_all"], abs=0.03
    )
    assert result.figures["recall20_all"] > lines["all", "popularity"]["recall20"]


def test_every_figure_stands_in_the_table_with_its_interval(result):
    lines = {(r["setting"], r["method"]): r for r in result.rows}
    for setting, suffix in (("new_to_user", ""), ("all", "_all")):
        row = lines[setting, retail.DEVICE]
        assert row["ndcg20"] == result.figures[f"ndcg20{suffix}"]
        assert row["ndcg20_low"] <= row["ndcg20"] <= row["ndcg20_high"]
        rivals = [
            r["recall20"]
            for (where, method), r in lines.items()
            if where == setting and method not in retail.OURS and "p" not in r
        ]
        assert max(rivals) == result.figures[f"best_baseline_recall20{suffix}"]
    tested = [r for r in result.rows if "p" in r]
    assert len(tested) == 8
    assert all(0 < r["p"] <= 1 for r in tested)


@pytest.mark.parametrize(("setting", "suffix"), [("new_to_user", ""), ("all", "_all")])
@pytest.mark.parametrize("name", ["recall20", "ndcg20"])
def test_the_lead_is_that_of_the_device_over_the_best_baseline_of_all(
    result, setting, suffix, name
):
    lines = {r["method"]: r for r in result.rows if r["setting"] == setting and "p" not in r}
    rivals = {m: r[name] for m, r in lines.items() if m not in retail.OURS}
    assert set(rivals) >= {"slist", "ease_popularity"}
    rival = max(rivals, key=rivals.__getitem__)
    (row,) = (
        r
        for r in result.rows
        if r["setting"] == setting and r["method"] == f"{retail.DEVICE} - {rival}" and name in r
    )
    assert row[name] == pytest.approx(lines[retail.DEVICE][name] - rivals[rival])
    assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    assert result.figures[f"lead_{name}_low{suffix}"] == row[f"{name}_low"]
    assert result.figures[f"best_baseline_{name}{suffix}"] == rivals[rival]
    mixed = [rivals[m] for m in ("ease_popularity", "ease_tifu_popularity") if m in rivals]
    assert result.figures[f"hybrid_{name}{suffix}"] == max(mixed)
