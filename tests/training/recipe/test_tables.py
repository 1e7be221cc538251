"""Keys of the tables: a file's name, or a table with settings of its own."""

import json
import tomllib

import pytest

from pocketrec_training.errors import RecipeInvalidError
from pocketrec_training.recipe.load import parse_recipe, recipe_json
from pocketrec_training.recipe.tables import NULL_VALUES, TableFile
from pocketrec_training.recipe.toml import recipe_toml


def recipe(**data):
    return parse_recipe({"name": "t", "data": {"interactions": "i.csv", **data}}, "t.toml")


def test_a_table_with_settings_of_its_own_survives_json_and_toml():
    made = recipe(items={"file": "p.csv", "separator": ";", "null_values": ["-"]}, header=False)
    assert made.data.items == TableFile(file="p.csv", separator=";", null_values=("-",))
    assert parse_recipe(json.loads(recipe_json(made)), "recipe.json") == made
    assert parse_recipe(tomllib.loads(recipe_toml(made, "a comment")), "t.toml") == made


def test_a_recipe_from_before_the_keys_has_their_defaults():
    data = recipe(items="p.csv").data
    assert (data.separator, data.quote, data.header, data.encoding) == ("", "auto", True, "utf-8")
    assert (data.null_values, data.layout, data.items) == (NULL_VALUES, "rows", "p.csv")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"items": {"file": "b", "separater": ";"}},
            "data.items.separater: unknown key, did you mean 'separator'?",
        ),
        ({"items": {"separator": ";"}}, "data.items.file: Field required"),
        ({"items": 5}, "data.items: Input should be a valid string (found 5)"),
        ({"quote": "x"}, "data.quote: Input should be 'auto', '' or '\"' (found 'x')"),
        ({"layout": "columns"}, "data.layout: Input should be 'rows'"),
    ],
)
def test_a_wrong_key_of_a_table_is_named_once(data, message):
    with pytest.raises(RecipeInvalidError) as caught:
        recipe(**data)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"t.toml: {message}")
