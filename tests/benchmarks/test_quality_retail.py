"""The benchmark on a small made-up twin of its data: shoppers with habits, split by time."""

import numpy as np
import pytest
from rich.console import Console

from benchmarks import quality_retail
from benchmarks.harness import Options, document

DAY = 86_400
FIGURES = {
    f"{best}{name}{suffix}"
    for best in ("", "best_baseline_")
    for name in ("recall20", "ndcg20")
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
[events]
default = "purchase"
types = ["purchase"]
[split]
kind = "global_time"
[retrieval]
dim = 8
blocks = 1
max_history = 20
epochs = 1
[ranker]
candidates = 20
epochs = 1
deep = [8]
cross_layers = 1
heads = ["engage"]
head_weights = [1.0]
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory):
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
    options = Options(work=folder / "work", data=folder, minutes=1)
    return quality_retail.run(options, folder / "twin.toml", Console(width=120, record=True))


def test_every_figure_is_there(result):
    assert document(result)["figures"].keys() == FIGURES
    assert all(0 <= value <= 1 for value in result.figures.values())


def test_baselines_of_habit_lead_on_repeats(result):
    """The twin's shoppers buy their five favourites again: counting them is near the best."""
    lines = {(r["setting"], r["method"]): r for r in result.rows}
    own = lines["all", "personal_frequency"]["recall20"]
    assert own > lines["all", "popularity"]["recall20"]
    assert result.figures["best_baseline_recall20_all"] >= own
    assert result.figures["recall20_all"] > lines["all", "popularity"]["recall20"]


def test_every_figure_stands_in_the_table_with_its_interval(result):
    lines = {(r["setting"], r["method"]): r for r in result.rows}
    for setting, suffix in (("new_to_user", ""), ("all", "_all")):
        row = lines[setting, quality_retail.MODEL]
        assert row["ndcg20"] == result.figures[f"ndcg20{suffix}"]
        assert row["ndcg20_low"] <= row["ndcg20"] <= row["ndcg20_high"]
        rivals = [
            r["recall20"]
            for (where, method), r in lines.items()
            if where == setting and method not in quality_retail.OURS and "p" not in r
        ]
        assert max(rivals) == result.figures[f"best_baseline_recall20{suffix}"]
    tested = [r for r in result.rows if "p" in r]
    assert len(tested) == 4
    assert all(0 < r["p"] <= 1 for r in tested)
