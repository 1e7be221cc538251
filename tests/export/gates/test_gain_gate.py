import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

pytest.importorskip("keras", reason="needs the train extra")

from pocketrec_export.build import export_bundle
from pocketrec_export.errors import GateRefusedError
from pocketrec_export.gates.gain_gate import checked_gain
from pocketrec_training.evaluation.baseline_gain import BaselineGain, write_gain
from pocketrec_training.recipe.load import load_recipe, recipe_json

LOST = BaselineGain(
    split="test",
    setting="new_to_user",
    cases=943,
    rival="transitions",
    model_ndcg10=0.099,
    rival_ndcg10=0.1016,
    difference=-0.0026,
    low=-0.011,
    high=0.006,
)


@pytest.fixture
def run(run_dir: Path, tmp_path: Path):
    """Copy the run with a recipe that wants this gain."""

    def make(wanted: Literal["off", "warn", "refuse"]) -> Path:
        copy = tmp_path / wanted
        shutil.copytree(run_dir, copy)
        recipe = load_recipe(copy / "recipe.json")
        recipe = replace(recipe, export=replace(recipe.export, require_gain=wanted))
        (copy / "recipe.json").write_bytes(recipe_json(recipe))
        return copy

    return make


def test_a_run_that_loses_to_a_baseline_is_refused_where_the_recipe_says_so(run, tmp_path):
    folder = run("refuse")
    write_gain(folder, LOST)
    with pytest.raises(
        GateRefusedError, match=r"transitions: NDCG@10 0\.0990.*require_gain = 'refuse'"
    ):
        export_bundle(run=folder, out=tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_run_that_nobody_evaluated_is_refused_too(run):
    folder = run("refuse")
    with pytest.raises(GateRefusedError, match="pocketrec evaluate"):
        checked_gain(load_recipe(folder / "recipe.json"), folder, force=False)


def test_a_run_that_wins_and_one_that_is_forced_pass(run):
    folder = run("refuse")
    recipe = load_recipe(folder / "recipe.json")
    write_gain(folder, LOST)
    assert checked_gain(recipe, folder, force=True) == LOST.sentence()
    won = replace(LOST, difference=0.01)
    write_gain(folder, won)
    assert checked_gain(recipe, folder, force=False) == won.sentence()


def test_by_default_the_card_and_the_terminal_say_it(run, tmp_path, runner):
    from pocketrec.cli import main

    folder = run("warn")
    write_gain(folder, LOST)
    words = ["export", str(folder), "--out", str(tmp_path / "bundle"), "--force"]
    done = runner.invoke(main, words)
    assert done.exit_code == 0, done.output
    assert LOST.sentence() in done.stderr
    from pocketrec_bundle.reader import open_bundle

    opened = open_bundle(tmp_path / "bundle")
    card = opened.path("model_card.md").read_text()
    assert card.splitlines()[2] == f"- {LOST.sentence()}"


def test_off_says_nothing(run):
    folder = run("off")
    write_gain(folder, LOST)
    assert checked_gain(load_recipe(folder / "recipe.json"), folder, force=False) == ""


def test_a_tie_is_no_gain_and_a_recipe_without_a_test_is_told_so(run):
    folder = run("refuse")
    recipe = load_recipe(folder / "recipe.json")
    tie = replace(LOST, difference=0.0, low=0.0, high=0.0)
    assert tie.sentence().startswith("two_stage equals the best simple baseline")
    write_gain(folder, tie)
    with pytest.raises(GateRefusedError, match="equals"):
        checked_gain(recipe, folder, force=False)
    (folder / "baseline_gain.json").unlink()
    untested = replace(recipe, split=replace(recipe.split, kind="global_time", test_share=0.0))
    with pytest.raises(GateRefusedError, match="keeps no test events"):
        checked_gain(untested, folder, force=False)
