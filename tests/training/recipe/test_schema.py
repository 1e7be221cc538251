from typing import Any

import pytest

pytest.importorskip("pydantic", reason="needs the train extra")

from pocketrec_bundle.features import BOUNDS
from pocketrec_training.errors import RecipeInvalidError
from pocketrec_training.recipe.bounds import MAX_NAME
from pocketrec_training.recipe.load import load_recipe, parse_recipe, recipe_json
from pocketrec_training.recipe.schema import Target

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
    with pytest.raises(RecipeInvalidError, match=told):
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
    with pytest.raises(RecipeInvalidError, match=told):
        load_recipe(path)
    path.write_text('name = "s"\n[data]\ndataset = "d"\n[ranker]\nheads = ["engage", "like"]\n')
    with pytest.raises(RecipeInvalidError, match=r"neither events\.like_value nor columns\.event"):
        load_recipe(path)
    # Runs of earlier versions have such a head, and are exported with it.
    old = tmp_path / "recipe.json"
    purchases = {**LEAST, "events": {"default": "purchase", "types": ["purchase"]}}
    heads = {"heads": ["engage", "like"], "head_weights": [1.0, 0.5]}
    old.write_bytes(recipe_json(parse_recipe({**purchases, "ranker": heads}, "r")))
    assert load_recipe(old).ranker.heads == ("engage", "like")


SHOP = 'name = "shop"\n[data]\ndataset = "d"\n'


def written(folder, text):
    path = folder / "r.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("number", ["inf", "-inf", "nan", "1e400"])
@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("export.targets.web", "latency_ratio"),
        ("ranker", "learning_rate"),
        ("retrieval", "minutes"),
        ("events", "like_value"),
        ("tune", "trial_minutes"),
    ],
)
def test_number_that_is_not_finite_is_refused_with_its_key(tmp_path, section, key, number):
    path = written(tmp_path, f"{SHOP}[{section}]\n{key} = {number}\n")
    with pytest.raises(
        RecipeInvalidError, match=rf"r\.toml: {section}\.{key}: must be a finite number"
    ):
        load_recipe(path)


def test_not_finite_numbers_in_lists_and_whole_numbers_beyond_64_bits_are_refused(tmp_path):
    path = written(tmp_path, f"{SHOP}[ranker]\nhead_weights = [1.0, nan]\n")
    with pytest.raises(
        RecipeInvalidError, match=r"ranker\.head_weights\.1: must be a finite number"
    ):
        load_recipe(path)
    path = written(tmp_path, f"{SHOP}[retrieval]\nminutes = 0x1{'0' * 5000}\n")
    with pytest.raises(RecipeInvalidError, match=r"retrieval\.minutes: must fit 64 bits"):
        load_recipe(path)
    saved = tmp_path / "recipe.json"
    saved.write_text('{"name": "t", "data": {"dataset": "d"}, "retrieval": {"minutes": Infinity}}')
    with pytest.raises(RecipeInvalidError, match=r"retrieval\.minutes: must be a finite number"):
        load_recipe(saved)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"seed": -1}, "seed: .*greater than or equal to 0"),
        ({"seed": 2**32}, "seed: .*less than or equal to 4294967295"),
        ({"retrieval": {"max_history": 1}}, r"retrieval\.max_history: .*equal to 2 "),
        ({"retrieval": {"max_history": 4097}}, r"retrieval\.max_history: .*4096"),
        ({"retrieval": {"dim": 1026}}, r"retrieval\.dim: .*1024"),
        ({"ranker": {"candidates": 8193}}, r"ranker\.candidates: .*8192"),
        ({"ranker": {"recent": 257}}, r"ranker\.recent: .*256"),
        ({"ranker": {"popularity_days": list(range(1, 63))}}, r"ranker\.popularity_days: .*61"),
        ({"ranker": {"popularity_days": [7, 7]}}, r"ranker\.popularity_days: 7 occurs twice"),
        ({"ranker": {"heads": [], "head_weights": []}}, r"ranker\.heads: .*at least 1"),
        (
            {"ranker": {"heads": ["engage", "engage"], "head_weights": [1.0, 1.0]}},
            r"ranker\.heads: 'engage' occurs twice",
        ),
        ({"events": {"types": ["rating", "rating"]}}, r"events\.types: 'rating' occurs twice"),
        ({"events": {"types": []}}, r"events\.types: .*at least 1"),
    ],
)
def test_values_that_cannot_train_or_that_no_bundle_holds_are_refused(section, told):
    with pytest.raises(RecipeInvalidError, match=rf"r\.toml: {told}"):
        parse_recipe({**LEAST, **section}, "r.toml")


def test_largest_values_of_a_bundle_are_accepted():
    ranker = {"candidates": BOUNDS["candidates"][1], "recent": BOUNDS["recent"][1]}
    retrieval = {"dim": BOUNDS["dim"][1], "max_history": 2}
    given = {**LEAST, "seed": 2**32 - 1, "ranker": ranker, "retrieval": retrieval}
    assert parse_recipe(given, "r").seed == 2**32 - 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{SHOP}[ranker]\nhead_weights = [0.0, 0.0]", r"ranker\.head_weights: .*one above 0"),
        (f"{SHOP}[ranker]\nhead_weights = [1.0, -0.5]", r"ranker\.head_weights: .*at least 0"),
        (f"{SHOP}[ranker]\nhead_weights = [1e16, 1.0]", r"ranker\.head_weights: .*1e\+15"),
        (f'{SHOP}[events]\ntypes = ["rating", "like", ""]', r"events\.types: .*empty"),
        (f"{SHOP}[export]\nvariants = []", r"export\.variants: name at least one"),
        (f"{SHOP}[export]\ntargets = {{}}", r"export\.targets: name at least one of android"),
        (SHOP.replace("shop", ""), "name: must have 1 to 180 printable"),
        (SHOP.replace("shop", "a\\nb"), "name: must have 1 to 180 printable"),
        (SHOP.replace("shop", "s" * 181), "name: must have 1 to 180 printable"),
    ],
)
def test_recipe_that_cannot_give_a_useful_release_is_refused(tmp_path, text, told):
    with pytest.raises(RecipeInvalidError, match=rf"r\.toml: {told}"):
        load_recipe(written(tmp_path, text))


def test_runs_of_such_recipes_still_load(tmp_path):
    old = tmp_path / "recipe.json"
    ranker = {"heads": ["engage", "like"], "head_weights": [1.0, -0.5]}
    export: dict[str, Any] = {"variants": [], "targets": {}}
    old.write_bytes(recipe_json(parse_recipe({**LEAST, "ranker": ranker, "export": export}, "r")))
    found = load_recipe(old)
    assert (found.ranker.head_weights, found.export.targets) == ((1.0, -0.5), {})


def test_longest_name_leaves_room_for_a_releases_name_in_the_manifest(tmp_path):
    from pocketrec_bundle.encoding.strict_json import is_text

    name = load_recipe(written(tmp_path, SHOP.replace("shop", "s" * MAX_NAME))).name
    assert is_text(f"{name}-4102444800+01234567")


def test_recipes_that_are_committed_load(repository):
    paths = sorted((repository / "recipes").glob("*.toml"))
    assert [load_recipe(path).name for path in paths]
