"""Tables `[events.NAME]`: what the value of an event type means."""

import json
import tomllib
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("pydantic", reason="needs the train extra")

from pocketrec_training.data.deliveries import _reading
from pocketrec_training.errors import RecipeInvalidError
from pocketrec_training.recipe.event_values import has_weights, weights
from pocketrec_training.recipe.load import parse_recipe, recipe_json
from pocketrec_training.recipe.tables import EventValue

SHOP: dict[str, Any] = tomllib.loads("""
name = "shop"
data = {dataset = "d"}

[events]
default = "view"
types = ["view", "play", "purchase", "types"]

[events.purchase]
value = "amount"
currency = "GBP"

[events.play]
value = "seconds"

[events.values.types]
value = "rating"
""")


def test_a_table_of_an_event_type_says_what_its_value_means():
    recipe = parse_recipe(SHOP, "shop.toml")
    assert recipe.events.values == {
        "types": EventValue(value="rating"),
        "purchase": EventValue(value="amount", currency="GBP"),
        "play": EventValue(value="seconds"),
    }
    assert parse_recipe(json.loads(recipe_json(recipe)), "recipe.json") == recipe


def test_meanings_do_not_change_how_tables_are_read():
    recipe = parse_recipe(SHOP, "shop.toml")
    plain = replace(recipe, events=replace(recipe.events, values={}))
    assert _reading(recipe) == _reading(plain)


def test_amounts_and_seconds_are_weights_and_ratings_and_counts_are_not():
    events = parse_recipe(SHOP, "shop.toml").events
    assert weights(events) == {"amount GBP": ("purchase",), "seconds": ("play",)}
    both = replace(events, values=events.values | {"view": EventValue(value="seconds")})
    assert weights(both)["seconds"] == ("play", "view")
    for values in ({}, {"types": EventValue(value="rating")}):
        assert not has_weights(replace(events, values=values))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"purchas": {"value": "amount"}}, r"events\.purchas: .*Did you mean 'purchase'"),
        ({"play": {"value": "hours"}}, r"events\.values\.play\.value"),
        ({"play": {}}, r"events\.values\.play\.value"),
        ({"play": {"value": "seconds", "unit": "h"}}, r"unit: unknown key"),
        ({"play": {"value": "seconds", "currency": "GBP"}}, "only amounts have a currency"),
        ({"purchase": {"value": "amount", "currency": "pounds"}}, "currency"),
        ({"values": 7}, "events.values"),
        ({"values": 7, "play": {"value": "seconds"}}, "events.values"),
        ({"like_valu": 4.0}, "did you mean 'like_value'"),
    ],
)
def test_a_wrong_meaning_is_named(table, told):
    events = {"default": "view", "types": ["view", "play", "purchase"], **table}
    with pytest.raises(RecipeInvalidError, match=told):
        parse_recipe({**SHOP, "events": events}, "shop.toml")
