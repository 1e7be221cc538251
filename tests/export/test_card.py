"""The model card says what its figures are of."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

from pocketrec_bundle.reference import Reference
from pocketrec_export.card import render
from pocketrec_export.report import ExportReport
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.evaluation.quality import Quality, read_quality, write_quality
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


HEAD: dict[str, Any] = {
    "lists": 40,
    "cases": 8000,
    "positives": 31,
    "roc_auc": 0.75,
    "pr_auc": 0.02,
    "log_loss": 0.03,
    "f1": None,
    "threshold": None,
    "ece": 0.001,
    "intervals": {"roc_auc": {"low": 0.7, "high": 0.8}},
    "reliability": [],
    "calibration": [],
}
RIVAL = {"best_baseline": "ease", "best_baseline_hits@20": 2}
EVALUATION: dict[str, Any] = {
    "protocol": {"split": "test", "ranker": "the one that ships", "threshold": "the highest F1"},
    "ranking": {"engage": HEAD},
    "item_hits": {
        "new_to_user": {
            "0": {"cases": 9, "targets": 12, "hits@20": 0, **RIVAL},
            "5-19": {"cases": 10, "targets": 13, "hits@20": 1, **RIVAL},
            "20+": {"cases": 11, "targets": 14, "hits@20": 2, **RIVAL},
        }
    },
}


def test_the_last_test_evaluation_is_in_the_card(run_dir: Path, tmp_path: Path):
    run = Path(shutil.copytree(run_dir, tmp_path / "run"))
    (run / "quality.json").unlink(missing_ok=True)
    without = render(REPORT, run, REFERENCE)
    assert json.loads(without["model_card.json"])["quality"] == {}
    assert "## Heads" not in without["model_card.md"].decode()
    write_quality(run, EVALUATION)
    found = read_quality(run)
    assert isinstance(found, Quality) and "reliability" not in found.heads["engage"]
    card = render(REPORT, run, REFERENCE)
    assert json.loads(card["model_card.json"])["quality"] == asdict(found)
    text = card["model_card.md"].decode()
    assert (
        "| engage | 40 | 8000 | 31 | 0.7500 (0.7000 to 0.8000) | 0.0200 | 0.0300 | - | - | 0.0010 |"
    ) in text
    assert "Of the evaluation fit, on lists that retrieval returned for test cases" in text
    assert "| training events | cases | items | hits | hits of ease |" in text
    assert "| 0 | 9 | 12 | 0 | 2 |\n| 5-19 | 10 | 13 | 1 | 2 |\n| 20+ | 11 | 14 | 2 | 2 |" in text


@pytest.mark.parametrize("text", ["{", "[]", '{"split": "test"}'])
def test_a_damaged_file_of_figures_is_refused(run_dir: Path, tmp_path: Path, text: str):
    run = Path(shutil.copytree(run_dir, tmp_path / "run"))
    (run / "quality.json").write_text(text)
    with pytest.raises(RunInvalidError, match=r"quality.json: damaged .* Evaluate the run again"):
        render(REPORT, run, REFERENCE)
