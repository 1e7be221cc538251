"""The two worked recipes of the guide, on tables made as the page describes them."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

from pocketrec_training.data.dataset import load_dataset
from pocketrec_training.data.features.columns import feature_spec
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.ranker.objectives import fit_objectives
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.recipe.objective_checks import numeric_names

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
