import pytest

pytest.importorskip("pydantic", reason="needs the train extra")

from training.errors import RecipeInvalid
from training.recipe import Target, load_recipe, parse_recipe, recipe_json

LEAST = {"name": "shop", "data": {"dataset": "d"}}


def test_targets_are_all_by_default_and_those_named_otherwise():
    assert set(parse_recipe(LEAST, "r").export.targets) == {"android", "ios", "web", "legacy"}
    given = {**LEAST, "export": {"targets": {"web": {"models_bytes": 5000, "engine": "litert"}}}}
    assert parse_recipe(given, "r").export.targets == {
        "web": Target(models_bytes=5000, engine="litert")
    }


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"export": {"targets": {"watch": {}}}}, r"export.targets.watch.*'android'"),
        ({"export": {"targets": {"web": {"model_bytes": 1}}}}, "did you mean 'models_bytes'"),
        ({"export": {"targets": {"legacy": {"runtime": "old"}}}}, "export.targets.legacy.runtime"),
        ({"export": {"targets": {"web": {"cosine": 1.5}}}}, "export.targets.web.cosine"),
        ({"export": {"variants": ["int4"]}}, "export.variants.0"),
        ({"export": {"format_version": 3}}, "export.format_version"),
        (
            {"export": {"format_version": 1}, "columns": {"age_rating": "age"}},
            r"columns\.age_rating: export\.format_version = 1 has neither",
        ),
        ({"index": {"probes": 4, "recall": 0.9}}, "set either probes or recall"),
    ],
)
def test_wrong_settings_are_named_with_what_is_known(section, told):
    with pytest.raises(RecipeInvalid, match=told):
        parse_recipe({**LEAST, **section}, "r.toml")


def test_heads_of_a_recipe_that_names_none_are_those_whose_events_it_has(tmp_path):
    purchases = {**LEAST, "events": {"default": "purchase", "types": ["purchase"]}}
    found = parse_recipe(purchases, "r").ranker
    assert (found.heads, found.head_weights) == (("engage",), (1.0,))
    # The default types name a like, but nothing says which event is one.
    assert parse_recipe(LEAST, "r").ranker.heads == ("engage",)
    for way in ({"events": {"like_value": 4.0}}, {"columns": {"event": "kind"}}):
        found = parse_recipe({**LEAST, **way}, "r").ranker
        assert (found.heads, found.head_weights) == (("engage", "like"), (1.0, 0.5))


def test_head_without_an_event_to_learn_from_is_refused(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text(
        'name = "shop"\n[data]\ndataset = "d"\n[events]\ndefault = "purchase"\n'
        'types = ["purchase"]\n[ranker]\nheads = ["engage", "like"]\n'
    )
    told = r"head 'like' has no event .*'purchase', .*\. Set ranker\.heads = \['engage'\]"
    with pytest.raises(RecipeInvalid, match=told):
        load_recipe(path)
    path.write_text('name = "s"\n[data]\ndataset = "d"\n[ranker]\nheads = ["engage", "like"]\n')
    with pytest.raises(RecipeInvalid, match=r"neither events\.like_value nor columns\.event"):
        load_recipe(path)
    # Runs of earlier versions have such a head, and are exported with it.
    old = tmp_path / "recipe.json"
    purchases = {**LEAST, "events": {"default": "purchase", "types": ["purchase"]}}
    heads = {"heads": ["engage", "like"], "head_weights": [1.0, 0.5]}
    old.write_bytes(recipe_json(parse_recipe({**purchases, "ranker": heads}, "r")))
    assert load_recipe(old).ranker.heads == ("engage", "like")
