import json

import numpy as np
import pytest

from training.baselines import BASELINES
from training.case_file import read_cases
from training.compare import compare
from training.evaluation import evaluate
from training.recipe import parse_recipe
from training.tables import build_tables
from training.train import train

DAY = 86_400


@pytest.fixture(scope="module")
def shop(tmp_path_factory, uncompiled):
    """A run on baskets with repeats and late newcomers, split by time; folder with run and data."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    lines = ["who,what,when"]
    for user in range(60):
        mine = rng.choice(30, 6, replace=False)
        for week in range(10) if user < 54 else (9,):
            day = week * 7 + int(rng.integers(0, 7))
            lines += [f"u{user},i{item},{day * DAY}" for item in rng.choice(mine, 2, False)]
            lines += [f"u{user},i{rng.integers(0, 30)},{day * DAY}"]
    (folder / "i.csv").write_text("\n".join(lines))
    value = {
        "name": "shop",
        "data": {"interactions": "i.csv"},
        "columns": {"user": "who", "item": "what", "timestamp": "when"},
        "events": {"default": "purchase", "types": ["purchase"]},
        "split": {"kind": "global_time", "valid_share": 0.2, "test_share": 0.2},
        "retrieval": {"dim": 8, "blocks": 1, "max_history": 20, "epochs": 1},
        "ranker": {
            "candidates": 20,
            "epochs": 1,
            "deep": [8],
            "cross_layers": 1,
            "heads": ["engage"],
            "head_weights": [1.0],
        },
    }
    recipe = parse_recipe(value, "shop.toml")
    build_tables(recipe, folder / "data", folder)
    with uncompiled():
        train(recipe, folder / "data", folder / "run")
    return folder


@pytest.fixture(scope="module")
def found(shop):
    return evaluate(shop / "run", shop / "data", shop / "report")


def test_both_settings_are_reported_with_all_methods(found):
    always = {"two_stage", "two_tower"} | {
        name for name, b in BASELINES.items() if not b.only_all and not b.needs
    }
    assert always <= found["retrieval"].keys()
    assert always | {"personal_frequency"} <= found["retrieval_all"].keys()
    assert "personal_frequency" not in found["retrieval"]
    # Habits decide here: who counts them does better than who counts everybody's.
    every = found["retrieval_all"]
    own, popular = (every[m]["recall@20"]["value"] for m in ("personal_frequency", "popularity"))
    assert own > popular


def test_newcomers_are_a_segment_of_their_own(found):
    assert found["segments"]["no history"]["users"] == 6
    with_history = sum(s["users"] for name, s in found["segments"].items() if name != "no history")
    assert with_history == found["protocol"]["settings"]["new_to_user"]["cases"]


def test_parameters_and_what_was_tried_are_reported(found):
    chosen = {(b["method"], b["setting"]): b for b in found["baselines"]["chosen"]}
    ease = chosen["ease", "all"]
    best = max(ease["tried"], key=lambda t: t["ndcg@20"])
    assert ease["parameters"] == best["parameters"]
    assert len(ease["tried"]) == len(BASELINES["ease"].grid)


def test_beyond_accuracy_of_popularity_is_that_of_one_list(found):
    popular = found["beyond_accuracy"]["all"]["popularity"]
    assert popular["coverage@10"] == pytest.approx(10 / 30)
    others = found["beyond_accuracy"]["all"]["personal_frequency"]
    assert others["mean_popularity@10"] < popular["mean_popularity@10"]
    assert others["exposure_gini@10"] < popular["exposure_gini@10"]


def test_files_agree_with_each_other(found, shop):
    assert json.loads((shop / "report" / "evaluation.json").read_bytes()) == found
    page = (shop / "report" / "evaluation.html").read_text()
    for words in ("Repeats included", "no history", "Beyond accuracy", "tifu knn"):
        assert words in page
    for setting, key in (("new_to_user", "retrieval"), ("all", "retrieval_all")):
        cases = read_cases(shop / "report")[setting]
        for method in found[key]:
            value = cases.per_case(method, (20,))["ndcg@20"].mean()
            assert value == pytest.approx(found[key][method]["ndcg@20"]["value"])


def test_model_is_compared_with_a_baseline_in_both_settings(found, shop):
    report = shop / "report"
    result = compare(report, report, "two_tower", "personal_frequency")
    assert result["settings"].keys() == {"all"}
    result = compare(report, report, "two_tower", "two_tower")
    assert result["settings"].keys() == {"all", "new_to_user"}
    assert result["settings"]["all"]["metrics"]["ndcg@20"]["p"] == 1


def test_runs_are_compared_by_evaluating_them(shop, runner):
    from pocketrec.cli import main

    words = ["compare", shop / "run", shop / "report", "--data", shop / "data", "--json"]
    done = runner.invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    difference = json.loads(done.stdout)["settings"]["all"]["metrics"]["ndcg@20"]["difference"]
    assert difference == pytest.approx(0, abs=1e-6)
