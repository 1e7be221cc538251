import pytest

pytest.importorskip("pydantic", reason="needs the train extra")

from training.errors import RecipeInvalid
from training.recipe import Target, parse_recipe

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
