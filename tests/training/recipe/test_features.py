"""Table `[features.items]`: columns beside the built-in ones."""

import json
import tomllib
from dataclasses import replace

import pytest

pytest.importorskip("pydantic", reason="needs the train extra")

from pocketrec_bundle.declared import Feature
from pocketrec_training.data.deliveries import _reading
from pocketrec_training.errors import RecipeInvalidError
from pocketrec_training.recipe.load import parse_recipe, recipe_json
from pocketrec_training.recipe.toml import recipe_toml

SHOP = tomllib.loads("""
name = "shop"
data = {interactions = "sales.csv", items = "products.csv"}

[features.items]
brand = { column = "Brand", kind = "category", vocabulary = 200, hash_buckets = 16 }
stock = { kind = "number", log = true, clip = [0, 100] }
image = { kind = "vector", length = 3 }
""")


def test_a_recipe_declares_features_by_name():
    recipe = parse_recipe(SHOP, "shop.toml")
    assert recipe.features.items == {
        "brand": Feature(kind="category", column="Brand", vocabulary=200, hash_buckets=16),
        "stock": Feature(kind="number", log=True, clip=(0.0, 100.0)),
        "image": Feature(kind="vector", length=3),
    }
    assert parse_recipe(json.loads(recipe_json(recipe)), "recipe.json") == recipe
    assert parse_recipe(tomllib.loads(recipe_toml(recipe, "a comment")), "s.toml") == recipe


def test_only_what_changes_reading_makes_tables_of_another_recipe():
    recipe = parse_recipe(SHOP, "shop.toml")
    features = recipe.features

    def reading(**changed: Feature) -> str:
        items = features.items | changed
        return _reading(replace(recipe, features=replace(features, items=items)))

    assert reading(stock=Feature(kind="number", buckets=9)) == _reading(recipe)
    assert reading(image=Feature(kind="vector", length=4)) != _reading(recipe)
    assert reading(stock=Feature(kind="flag")) != _reading(recipe)
    assert reading(brand=Feature(kind="category", column="Maker")) != _reading(recipe)


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ({"brand": {"kind": "cat"}}, r"features\.items\.brand\.kind.*'cat'"),
        ({"brand": {}}, r"features\.items\.brand\.kind"),
        ({"brand": 3}, r"features\.items\.brand"),
        ({"stock": {"kind": "number", "clipp": [0, 1]}}, "did you mean 'clip'"),
        ({"image": {"kind": "vector"}}, r"features\.items\.image\.length: must be"),
        ({"Brand": {"kind": "category"}}, r"features\.items\.Brand: a name has"),
        ({"price": {"kind": "number"}}, r"features\.items\.price: the name of a built-in"),
        ({f"f{n}": {"kind": "flag"} for n in range(65)}, r"features\.items: 65 features"),
    ],
)
def test_a_wrong_declaration_is_named(items, told):
    with pytest.raises(RecipeInvalidError, match=told):
        parse_recipe({**SHOP, "features": {"items": items}}, "shop.toml")


def test_features_of_items_need_a_table_of_items():
    with pytest.raises(RecipeInvalidError, match=r"Set data\.items"):
        parse_recipe({**SHOP, "data": {"interactions": "sales.csv"}}, "shop.toml")
