"""The two worked recipes of the guide, on tables made as the page describes them."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

from pocketrec_bundle.features import History
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.releases.verify import verify
from pocketrec_export.build import export_bundle
from pocketrec_export.card_quality import sections
from pocketrec_training.data.dataset import load_dataset
from pocketrec_training.data.features.columns import feature_spec
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.evaluation.evaluate import evaluate
from pocketrec_training.evaluation.quality import Quality
from pocketrec_training.ranker.objectives import fit_objectives
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.recipe.objective_checks import numeric_names
from pocketrec_training.run_folder import RunFolder
from pocketrec_training.train import train
from pocketrec_training.trained import load_trained

DAY = 86_400


@pytest.fixture(scope="module")
def recipes(repository: Path) -> dict[str, str]:
    text = (repository / "docs" / "layouts" / "objectives.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    return {tomllib.loads(block)["name"]: block for block in blocks}


def write_tables(folder: Path, name: str) -> None:
    """Write the two tables that the page describes for a recipe."""
    rng = np.random.default_rng(4)
    shop = name == "shop"
    prices = rng.uniform(1, 90, 30).round(2)
    lengths = rng.integers(30, 4000, 30)
    items = ["sku,name,price" if shop else "video,name,length"]
    items += [f"i{i},thing {i},{prices[i] if shop else lengths[i]}" for i in range(30)]
    lines = ["customer,sku,time,what,paid" if shop else "viewer,video,time,what,seconds"]
    for user in range(40):
        for ts in np.sort(rng.integers(0, 90 * DAY, 25)) + 1_700_000_000:
            i = int(rng.integers(0, 30))
            if shop:
                what = rng.choice(["view", "cart", "purchase"], p=[0.6, 0.2, 0.2])
                value = f"{prices[i] * rng.integers(1, 5):.2f}" if what == "purchase" else ""
            else:
                what = rng.choice(["click", "watch"])
                value = str(int(lengths[i] * rng.random())) if what == "watch" else ""
            lines.append(f"u{user},i{i},{ts},{what},{value}")
    (folder / "interactions.csv").write_text("\n".join(lines) + "\n")
    (folder / "items.csv").write_text("\n".join(items) + "\n")


@pytest.mark.parametrize("name", ["shop", "videos"])
def test_a_worked_recipe_reads_its_tables_and_fits_its_objectives(recipes, name, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(recipes[name])
    write_tables(tmp_path, name)
    recipe = load_recipe(path)
    build_tables(recipe, tmp_path / "data", tmp_path)
    data = load_dataset(recipe, tmp_path / "data")
    objectives, facts = fit_objectives(recipe, data, str(tmp_path))
    assert objectives is not None and objectives.formula is not None
    assert all(0 < fact.positives <= fact.events for fact in facts)
    spec = feature_spec(recipe, data.items)
    assert spec.numeric == numeric_names(recipe)
    assert spec.heads == tuple(head.name for head in objectives.heads)
    if name == "shop":
        assert objectives.heads[2].unit == "amount GBP"
        assert 200 < objectives.heads[2].scale < 360


@pytest.fixture(scope="module")
def evaluated(recipes, tmp_path_factory, uncompiled, two_folds):
    """(run, report) of the shop, with small models: both stages, then the test events."""
    folder = tmp_path_factory.mktemp("shop")
    write_tables(folder, "shop")
    (folder / "recipe.toml").write_text(recipes["shop"])
    recipe = load_recipe(folder / "recipe.toml")
    small: dict[str, Any] = {
        "candidates": 20,
        "neighbour_candidates": 0,
        "own_candidates": 5,
        "epochs": 3,
    }
    recipe = replace(
        recipe,
        retrieval=replace(recipe.retrieval, dim=8, blocks=1, max_history=10, epochs=1),
        ranker=replace(recipe.ranker, deep=(8,), negatives=19, **small),
    )
    build_tables(recipe, folder / "data", folder)
    with uncompiled(), two_folds():
        train(recipe=recipe, data=folder / "data", out=folder / "run", final=False)
        found = evaluate(
            run=folder / "run",
            data=folder / "data",
            out=folder / "report",
            methods=["popularity"],
        )
    return folder / "run", found


def test_a_trained_shop_is_measured_in_pounds(evaluated):
    run, found = evaluated
    assert set(found.details["ranking"]) == {"cart", "purchase"}
    revenue = found.details["value_heads"]["revenue"]
    assert revenue["unit"] == "amount GBP" and revenue["positives"] > 0
    assert 0 < revenue["mean_predicted"] < revenue["scale"]
    assert revenue["mean_predicted"] == pytest.approx(revenue["mean_actual"], rel=1.0)
    for key in ("rmse", "bias", "spearman", "spearman_positive"):
        assert revenue[key]["low"] <= revenue[key]["value"] <= revenue[key]["high"]
    assert found.details["value_ndcg"].keys() == {"amount GBP"}
    assert "Heads of values" in found.report.read_text()
    report = RunFolder(run).read_report()
    assert [fact["name"] for fact in report["objectives"]] == ["cart", "purchase", "revenue"]
    assert "of the realised score" in report["ranker_gain_sentence"]


def test_the_terminal_and_the_card_show_the_head_of_values(evaluated, capsys):
    from pocketrec.commands.model.evaluate import _value_heads

    _, found = evaluated
    _value_heads(found.details)
    assert "revenue" in capsys.readouterr().out
    figures = {k: v for k, v in found.details["value_heads"]["revenue"].items() if k != "bins"}
    quality = Quality(
        split="test",
        ranker="",
        threshold="",
        heads={},
        item_hits={},
        value_heads={"revenue": figures},
    )
    card = sections(quality)
    assert "## Heads of values" in card and "| revenue | amount GBP |" in card


def test_a_trained_shop_becomes_a_release_of_format_3_that_phones_score_by_the_formula(
    evaluated, tmp_path
):
    run, _ = evaluated
    trained = load_trained(run)
    assert trained.objectives is not None and trained.objectives.formula is not None
    export_bundle(run=run, out=tmp_path / "bundle", force=True)
    bundle = open_bundle(tmp_path / "bundle")
    assert bundle.manifest.format_version == 3
    assert bundle.objectives == trained.objectives
    assert verify(bundle).passed  # golden requests on each runtime
    phone = Recommender(bundle, "litert")
    past = History(np.array([3, 4]), np.array([0, 1]), np.array([10 * DAY, 11 * DAY]))
    slate = phone.recommend(Query(history=past, now_utc=12 * DAY, k=5))
    assert slate.source == "model" and len(slate.items) == 5
