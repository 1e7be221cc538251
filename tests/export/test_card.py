"""The model card says what its figures are of."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

from pocketrec_bundle.reference import Reference
from pocketrec_export.card import render
from pocketrec_export.report import ExportReport
from pocketrec_training.recipe.load import load_recipe, recipe_json

REPORT = ExportReport(
    name="tiny",
    items=40,
    bundle_bytes=98_304,
    shipped=[],
    files=[],
    gates=[],
    golden_cases=4,
    golden_left_out=0,
    golden_unmade=[],
    baseline_gain="",
)
REFERENCE = Reference(
    interactions=9, until_utc=1_700_000_000, events={"view": 9}, categories={}, other_categories=0
)


def test_a_run_without_times_says_so(run_dir: Path, tmp_path: Path):
    run = Path(shutil.copytree(run_dir, tmp_path / "run"))
    assert json.loads(render(REPORT, run, REFERENCE)["model_card.json"])["no_times"] == ""
    recipe = load_recipe(run / "recipe.json")
    (run / "recipe.json").write_bytes(
        recipe_json(replace(recipe, split=replace(recipe.split, kind="random")))
    )
    card = render(REPORT, run, REFERENCE)
    assert "- no times are used" in card["model_card.md"].decode()
    assert "a seeded draw of each user" in json.loads(card["model_card.json"])["no_times"]
