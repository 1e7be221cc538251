"""Recipe keys of earlier versions work for one release, with a warning that names the new key."""

import json
import warnings
from pathlib import Path

import pytest

pytest.importorskip("pydantic", reason="needs the train extra")

from click.testing import CliRunner

from pocketrec.cli import main
from pocketrec_training.errors import RecipeInvalidError
from pocketrec_training.recipe.load import load_recipe, parse_recipe, recipe_json
from pocketrec_training.recipe.renamed_keys import RENAMED

SHOP = {"name": "shop", "data": {"dataset": "d"}}
OLD = {**SHOP, "ranker": {"pieces": 4, "piece_gain": 0.2, "batch": 8}}
NEW = {**SHOP, "ranker": {"ple_bins": 4, "ple_scale": 0.2, "batch": 8}}


def test_old_keys_work_and_the_warning_names_the_new_ones():
    texts: list[str] = []
    assert parse_recipe(OLD, "shop.toml", warn=texts.append) == parse_recipe(NEW, "shop.toml")
    assert texts == [
        "shop.toml: ranker.pieces is now ranker.ple_bins. The old name works until PocketRec "
        "0.3.0.",
        "shop.toml: ranker.piece_gain is now ranker.ple_scale. The old name works until PocketRec "
        "0.3.0.",
    ]
    assert OLD["ranker"] == {"pieces": 4, "piece_gain": 0.2, "batch": 8}  # the caller's own value


def test_a_caller_without_a_function_gets_a_python_warning(tmp_path):
    path = tmp_path / "shop.toml"
    path.write_text('name = "s"\n[data]\ndataset = "d"\n[ranker]\npieces = 4\n')
    with pytest.warns(FutureWarning, match=r"ranker\.pieces is now ranker\.ple_bins"):
        assert load_recipe(path).ranker.ple_bins == 4


def test_a_value_of_an_old_key_is_checked_under_its_new_name():
    wrong = {**SHOP, "ranker": {"pieces": -1}}
    with pytest.raises(RecipeInvalidError, match=r"ranker\.ple_bins: .*greater than or equal to 0"):
        parse_recipe(wrong, "r", warn=lambda _: None)


@pytest.mark.parametrize("old", RENAMED)
def test_a_key_under_both_names_is_refused(old):
    section, _, key = old.partition(".")
    both = {**SHOP, section: {key: 1, RENAMED[old].partition(".")[2]: 1}}
    with pytest.raises(RecipeInvalidError, match=rf"{old} is the old name of .*Remove {old}"):
        parse_recipe(both, "r")


def test_keys_of_the_search_space_are_renamed_too():
    texts: list[str] = []
    space = {"ranker.pieces": {"low": 2, "high": 6}, "retrieval.dim": {"choices": [8, 16]}}
    recipe = parse_recipe({**SHOP, "tune": {"space": space}}, "r", warn=texts.append)
    assert list(recipe.tune.space) == ["ranker.ple_bins", "retrieval.dim"]
    assert texts == [
        'r: tune.space."ranker.pieces" is now tune.space."ranker.ple_bins". The old name works '
        "until PocketRec 0.3.0."
    ]
    both = {"tune": {"space": {**space, "ranker.ple_bins": {"low": 2, "high": 6}}}}
    with pytest.raises(RecipeInvalidError, match="both are set"):
        parse_recipe({**SHOP, **both}, "r")


@pytest.mark.parametrize("wrong", [{"ranker": 3}, {"tune": []}, {"tune": {"space": "pieces"}}])
def test_a_section_that_is_not_a_table_is_still_named(wrong):
    with pytest.raises(RecipeInvalidError, match=r"r: (ranker|tune)"):
        parse_recipe({**SHOP, **wrong}, "r")


def test_the_recipe_of_an_earlier_run_loads_without_a_warning(tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(OLD))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipe = load_recipe(path)
    assert recipe == parse_recipe(NEW, "r")
    assert json.loads(recipe_json(recipe))["ranker"].keys() >= {"ple_bins", "ple_scale"}


def test_a_command_prints_the_warning_on_stderr(tmp_path: Path):
    recipe = tmp_path / "shop.toml"
    recipe.write_text(
        'name = "s"\n[data]\ninteractions = "i.csv"\nitems = "t.csv"\n[ranker]\npieces = 4\n'
    )
    result = CliRunner().invoke(
        main, ["data", str(recipe), "--out", str(tmp_path / "data"), "--source", str(tmp_path)]
    )
    assert f"warning: {recipe}: ranker.pieces is now ranker.ple_bins." in result.stderr


def test_the_page_of_recipe_keys_lists_the_old_ones(repository: Path):
    page = (repository / "docs" / "recipe.md").read_text()
    assert [old for old, new in RENAMED.items() if f"| `{old}` | `{new}` |" not in page] == []
