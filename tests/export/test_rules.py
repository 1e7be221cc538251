import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.settings.rules import NAMES, Rules
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.releases.selftest import replay
from pocketrec_edge.releases.stages import check_stages, read_stages
from pocketrec_export.build import export_bundle
from pocketrec_export.conformance.tiny_bundle import SPEC
from pocketrec_export.items.catalogue import update_catalogue
from pocketrec_export.rules import popularity_bounds, release_rules
from pocketrec_training.errors import RecipeInvalidError
from pocketrec_training.recipe.load import parse_recipe
from pocketrec_training.recipe.schema import RerankConfig

POPULARITY = np.array([60, 20, 10, 5, 3, 1, 1], np.float32)
EVERYTHING = RerankConfig(
    near_duplicate_titles=True,
    category_cap_place=1,
    floor=0.1,
    freshness=0.2,
    diversity="dpp",
    price_cap=2,
    price_bounds=(5.0, 20.0),
    explore=0.05,
    sponsored_places=(2, 5),
)


def test_a_recipe_that_asks_for_nothing_new_gives_no_rules():
    assert release_rules(RerankConfig(), POPULARITY) is None
    still = RerankConfig(category_cap=0, near_duplicate_cosine=0.9, repeats=True, depth=9)
    assert release_rules(still, POPULARITY) is None


def test_rules_come_in_the_order_in_which_each_leaves_the_others_whole():
    rules = release_rules(EVERYTHING, POPULARITY)
    assert rules is not None
    assert [NAMES[type(rule)] for rule in rules.rules] == [
        *("freshness", "quality_floor", "near_duplicates", "dpp"),
        *("category_cap", "band_cap", "sponsored", "exploration"),
    ]
    assert Rules.from_json(rules.to_json(), SPEC) == rules


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"near_duplicate_titles": True}, "near_duplicates"),
        ({"category_cap_place": 1}, "category_cap"),
        ({"floor": 0.1}, "quality_floor"),
        ({"freshness": 0.1}, "freshness"),
        ({"diversity": "mmr"}, "mmr"),
        ({"category_calibration": 0.1}, "category_calibration"),
        ({"popularity_calibration": 0.1}, "band_calibration"),
        ({"price_cap": 1, "price_bounds": (9.0,)}, "band_cap"),
        ({"explore": 0.1}, "exploration"),
        ({"sponsored_places": (2,)}, "sponsored"),
        ({"explore": 0.1, "explore_by": "category"}, "category_thompson"),
        ({"explore": 0.1, "explore_by": "popularity"}, "band_thompson"),
        ({"explore": 0.1, "explore_by": "price", "price_bounds": (9.0,)}, "band_thompson"),
    ],
)
def test_one_new_rule_comes_with_what_the_policy_said(change, kind):
    rules = release_rules(replace(RerankConfig(category_cap=3), **change), POPULARITY)
    assert rules is not None
    kinds = [NAMES[type(rule)] for rule in rules.rules]
    assert set(kinds) == {"near_duplicates", "category_cap", kind}


def test_head_middle_and_tail_are_shares_of_all_events():
    # 100 events: the first item alone has the first 20, the items from 10 down the last 20.
    assert popularity_bounds(POPULARITY) == (20.0, 60.0)
    assert popularity_bounds(np.ones(5, np.float32)) == (1.0,)
    assert popularity_bounds(np.zeros(3, np.float32)) == (0.0,)


@pytest.mark.parametrize(
    ("rerank", "told"),
    [
        ({"diversity": "mmr", "category_calibration": 0.5}, "each selects the complete slate"),
        ({"price_cap": 2}, r"needs rerank\.price_bounds"),
        ({"price_cap": 2, "price_bounds": [9.0, 5.0]}, r"needs rerank\.price_bounds"),
        ({"price_bounds": [-1.0]}, "price_bounds"),
        ({"explore": 1.5}, "explore"),
        ({"sponsored_places": [3, 3]}, r"sponsored_places must be increasing"),
        ({"sponsored_places": [0]}, "sponsored_places"),
        ({"explore": 0.1, "explore_by": "price"}, r"needs rerank\.price_bounds"),
        ({"explore_prior": [0.1, 1.0]}, "explore_prior"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(rerank, told):
    with pytest.raises(RecipeInvalidError, match=told):
        parse_recipe({"name": "t", "data": {"interactions": "i"}, "rerank": rerank}, "t")


def test_a_release_for_older_apps_has_no_rules():
    value = {"name": "t", "data": {"interactions": "i"}, "export": {"format_version": 1}}
    parse_recipe(value, "t")
    with pytest.raises(RecipeInvalidError, match=r"format_version = 1 has no rules"):
        parse_recipe(value | {"rerank": {"floor": 0.1}}, "t")
    with pytest.raises(RecipeInvalidError, match=r"format_version = 1 has no rules"):
        parse_recipe(value | {"rerank": {"sponsored_places": [2]}}, "t")


def test_rules_are_in_the_release_and_in_the_next_of_its_catalogue(
    repeats_run_dir: Path, tmp_path: Path
):
    export_bundle(run=repeats_run_dir, out=tmp_path / "b", force=True)
    (tmp_path / "c.json").write_text(json.dumps({"withdraw": ["i07"]}))
    update_catalogue(tmp_path / "b", tmp_path / "c.json", repeats_run_dir, tmp_path / "next")
    for folder in ("b", "next"):
        bundle = open_bundle(tmp_path / folder)
        assert bundle.rules is not None
        kinds = [NAMES[type(rule)] for rule in bundle.rules.rules]
        assert kinds == ["near_duplicates", "mmr", "category_cap", "sponsored", "exploration"]
        golden = Golden.of(bundle)
        expected = read_stages(bundle, golden)
        assert expected is not None and (expected["slate"][:, 0] >= 0).all()
        checks = check_stages(Recommender(bundle, "onnx"), golden, expected)
        assert checks[-1].stage == "slate" and checks[-1].passed
        assert replay(bundle, "litert") == len(golden.cases)
