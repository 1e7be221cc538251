import json

import pytest

from pocketrec_training.errors import RecipeInvalidError
from pocketrec_training.recipe.load import parse_recipe, recipe_json

PURCHASE = {"name": "purchase", "events": ["purchase"]}
REVENUE = {"name": "revenue", "events": ["purchase"], "kind": "value"}


def parsed(*objectives, columns=(("value", "Amount"),), **more):
    recipe = {
        "name": "shop",
        "data": {"interactions": "i.csv", "items": "items.csv"},
        "columns": {"event": "event", **dict(columns)},
        "events": {
            "types": ["view", "purchase", "rate", "watch"],
            "default": "view",
            "purchase": {"value": "amount", "currency": "GBP"},
            "rate": {"value": "rating"},
            "watch": {"value": "seconds"},
        },
        "features": {
            "items": {"duration": {"kind": "number"}, "stock": {"kind": "number", "ranker": True}}
        },
        "objectives": list(objectives),
    }
    return parse_recipe(recipe | more, "shop.toml")


def test_objectives_become_the_heads_of_the_ranker():
    recipe = parsed(PURCHASE, {**REVENUE, "weight": 0.5}, ranker={"formula": "revenue + stock"})
    assert recipe.ranker.heads == ("purchase", "revenue")
    assert recipe.ranker.head_weights == (1.0, 0.5)
    assert recipe.objectives[1].kind == "value" and recipe.objectives[0].window_s == 0


def test_the_recipe_of_a_run_is_read_back():
    recipe = parsed(PURCHASE, REVENUE, ranker={"formula": "revenue"})
    assert parse_recipe(json.loads(recipe_json(recipe)), "recipe.json") == recipe


@pytest.mark.parametrize(
    ("objectives", "more", "problem"),
    [
        ([PURCHASE, PURCHASE], {}, "objectives: two have the name 'purchase'"),
        ([{"name": "Buy", "events": ["view"]}], {}, "objectives.Buy: a name has 1 to 40"),
        ([{"name": "clip", "events": ["view"]}], {}, "is not a function of formulas"),
        ([{"name": "price", "events": ["view"]}], {}, "a numeric column has this name"),
        ([{"name": "stock", "events": ["view"]}], {}, "a numeric column has this name"),
        ([{"name": "a", "events": ["purchas"]}], {}, "Did you mean 'purchase'?"),
        ([{"name": "a", "events": ["view", "view"]}], {}, "events: one stands twice"),
        ([{"name": "a", "events": []}], {}, "objectives.0.events"),
        ([{**PURCHASE, "kin": "value"}], {}, "objectives.0.kin: unknown key, did you mean 'kind'?"),
        ([{**PURCHASE, "kind": "rank"}], {}, "objectives.0.kind"),
        ([{**PURCHASE, "weight": 0}], {}, "objectives.0.weight"),
        ([{**PURCHASE, "window_s": -1}], {}, "objectives.0.window_s"),
        ([{**PURCHASE, "winsor": 0.5}], {}, 'winsor: only of kind = "value" (it is "binary")'),
        ([{**PURCHASE, "of": "duration"}], {}, 'of: only of kind = "share" (it is "binary")'),
        ([REVENUE], {"columns": {"event": "event"}}, 'kind = "value" needs values'),
        ([{**REVENUE, "events": ["rate"]}], {}, "ratings and shares do not add up"),
        ([{**REVENUE, "events": ["watch", "purchase"]}], {}, "values in different units"),
        ([{**REVENUE, "kind": "share"}], {}, "a share is between 0 and 1"),
        (
            [{"name": "a", "events": ["watch"], "kind": "share", "of": "lengt"}],
            {},
            "no numeric column 'lengt'",
        ),
        (
            [PURCHASE],
            {"ranker": {"heads": ["engage"]}},
            "ranker.heads: [[objectives]] name the heads",
        ),
        (
            [],
            {"ranker": {"heads": ["purchase"], "head_weights": [1]}},
            "no head 'purchase' without [[objectives]]",
        ),
        ([PURCHASE], {"ranker": {"formula": "engage"}}, "ranker.formula: at character 1"),
        (
            [PURCHASE],
            {"ranker": {"formula": "purchase * duration"}},
            "no numeric column 'duration'",
        ),
    ],
)
def test_what_cannot_be_learned_is_refused_in_one_line(objectives, more, problem):
    with pytest.raises(RecipeInvalidError) as caught:
        parsed(*objectives, **more)
    text = str(caught.value)
    assert problem in text and text.startswith("shop.toml: ") and text.count("\n") == 0


def test_a_share_of_a_column():
    one = {"name": "watched", "events": ["watch"], "kind": "share", "of": "duration"}
    assert parsed(one).objectives[0].of == "duration"


def test_a_formula_alone_is_over_the_usual_heads():
    recipe = parsed(ranker={"formula": "engage * price"})
    assert recipe.objectives == () and recipe.ranker.heads == ("engage",)
