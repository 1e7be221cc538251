"""The search: resumable to the same end, honest about the test, clear about its space."""

import csv
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec.cli import main
from pocketrec_training.data.dataset import TEST, load_dataset
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.errors import RecipeInvalidError, RunInvalidError, TrainingDivergedError
from pocketrec_training.recipe.load import load_recipe, parse_recipe
from pocketrec_training.recipe.toml import recipe_toml
from pocketrec_training.tuning import tune as room
from pocketrec_training.tuning.search_space import check_space, with_values
from pocketrec_training.tuning.tune import tune

RECIPE = """
name = "tiny"
seed = 3
[data]
interactions = "i.csv"
[columns]
user = "user"
item = "item"
timestamp = "time"
timestamp_unit = "s"
[retrieval]
quantize_from = 1.0
dim = 8
blocks = 1
heads = 1
max_history = 6
title_buckets = 8
epochs = 2
batch = 16
[tune]
startup_trials = 2
trial_minutes = 500.0
[tune.space]
"retrieval.dropout" = { low = 0.0, high = 0.6 }
"retrieval.learning_rate" = { low = 0.0001, high = 0.1, log = true }
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Folder with a recipe and tables in which each item is followed by the next one."""
    folder = tmp_path_factory.mktemp("tune")
    rng = np.random.default_rng(0)
    lines = ["user,item,time"]
    for user in range(40):
        start = int(rng.integers(0, 20))
        lines += [f"u{user},i{(start + n) % 20},{user * 1000 + n}" for n in range(8)]
    (folder / "i.csv").write_text("\n".join(lines))
    (folder / "r.toml").write_text(RECIPE)
    build_tables(load_recipe(folder / "r.toml"), folder / "data", folder)
    return folder


@pytest.fixture
def scripted(monkeypatch):
    """Training replaced by curves read from the values: what it was asked for, in order."""
    asked = []

    def fit(recipe, spec, data, checkpoint, minutes, *, on_epoch):
        asked.append(SimpleNamespace(recipe=recipe, data=data, minutes=minutes))
        curve = []
        for epoch in range(4):
            value = 0.1 * epoch + recipe.retrieval.dropout
            curve.append({"loss": 1.0, "ndcg10": value})
            on_epoch(epoch, curve[-1])
        return SimpleNamespace(curve=curve, seconds=1.0, stopped_by="epochs")

    monkeypatch.setattr(room, "fit_towers", fit)
    return asked


def facts(report):
    return [(row["values"], row["ndcg10"], row["epochs"]) for row in report.trials]


UNCOMPILED = """
import tensorflow
from pocketrec.cli import main
tensorflow.config.run_functions_eagerly(True)
main()
"""


def test_killed_search_goes_on_to_the_same_end(tiny, tmp_path, uncompiled):
    """A child is killed in its first trial; the search then finds what an unbroken one finds."""
    study = tmp_path / "a.db"
    words = ["tune", tiny / "r.toml", "--data", tiny / "data", "--study", study, "--trials", "2"]
    child = subprocess.Popen(
        [sys.executable, "-c", UNCOMPILED, *map(str, words)], stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 600
    while child.poll() is None and time.monotonic() < end:
        if list(tmp_path.glob(".a.db.work/*.npz")):
            break
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert list(tmp_path.glob(".a.db.work/*.npz"))
    recipe = load_recipe(tiny / "r.toml")
    with uncompiled():
        resumed = tune(recipe, tiny / "data", study, trials=2)
        unbroken = tune(recipe, tiny / "data", tmp_path / "b.db", trials=2)
    assert facts(resumed) == facts(unbroken)
    assert len({row["ndcg10"] for row in resumed.trials}) > 1
    assert not (tmp_path / ".a.db.work").exists()


def test_search_keeps_the_best_and_writes_a_recipe_that_trains_it(tiny, tmp_path, scripted):
    recipe = load_recipe(tiny / "r.toml")
    report = tune(recipe, tiny / "data", tmp_path / "s.db", trials=5)
    best = max(asked.recipe.retrieval.dropout for asked in scripted)
    assert report.best_ndcg10 == pytest.approx(best + 0.3)
    found = load_recipe(tmp_path / "s.best.toml")
    assert found.retrieval.dropout == best
    assert found == with_values(recipe, report.best_values)
    with (tmp_path / "s.trials.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 5
    assert float(rows[0]["retrieval.dropout"]) == best
    # More trials later: those before are kept, not done again.
    again = tune(recipe, tiny / "data", tmp_path / "s.db", trials=7)
    assert len(again.trials) == len(scripted) == 7


def test_no_trial_sees_a_test_event(tiny, tmp_path, scripted):
    recipe = load_recipe(tiny / "r.toml")
    whole = load_dataset(recipe, tiny / "data")
    tune(recipe, tiny / "data", tmp_path / "s.db", trials=1)
    seen = scripted[0].data
    assert len(seen.rows) == (whole.fold != TEST).sum() == len(whole.rows) - 40
    for user in range(seen.n_users):
        assert np.array_equal(seen.history(user).rows, whole.history(user).rows[:-1])
        assert np.array_equal(seen.history(user).ts, whole.history(user).ts[:-1])


def test_every_trial_has_the_same_seed_and_its_own_time(tiny, tmp_path, scripted):
    tune(load_recipe(tiny / "r.toml"), tiny / "data", tmp_path / "s.db", trials=3)
    assert {(asked.recipe.seed, asked.minutes) for asked in scripted} == {(3, 500.0)}


def test_weak_trials_are_stopped_early(tiny, tmp_path, scripted):
    report = tune(load_recipe(tiny / "r.toml"), tiny / "data", tmp_path / "s.db", trials=9)
    states = {row["state"] for row in report.trials}
    assert states == {"complete", "pruned"}
    assert all(row["epochs"] < 4 for row in report.trials if row["state"] == "pruned")


def test_time_over_stops_the_call_and_the_next_goes_on(tiny, tmp_path, scripted):
    recipe = load_recipe(tiny / "r.toml")
    with pytest.raises(RunInvalidError, match="no trial has finished yet"):
        tune(recipe, tiny / "data", tmp_path / "s.db", trials=2, minutes=1e-9)
    cut = len(scripted)
    report = tune(recipe, tiny / "data", tmp_path / "s.db", trials=2)
    assert len(scripted) == cut + 2
    assert len(report.trials) == 2


class Killed(BaseException):
    """Ends a call as a kill does: nothing is caught, nothing tidied up."""


def test_epochs_before_a_kill_stay_in_the_curve(tiny, tmp_path, monkeypatch):
    """The curve falls, so its best epoch is before the kill; the next call goes on after it."""
    recipe = load_recipe(tiny / "r.toml")
    curve = [{"loss": 1.0, "ndcg10": 0.9 - 0.1 * epoch} for epoch in range(3)]
    calls: list[int] = []

    def fit(recipe, spec, data, checkpoint, minutes, *, on_epoch):
        calls.append(len(calls))
        for epoch in range(calls[-1], 3):
            on_epoch(epoch, curve[epoch])
            if calls == [0]:
                raise Killed
        return SimpleNamespace(curve=curve, seconds=1.0, stopped_by="epochs")

    monkeypatch.setattr(room, "fit_towers", fit)
    with pytest.raises(Killed):
        tune(recipe, tiny / "data", tmp_path / "s.db", trials=1)
    report = tune(recipe, tiny / "data", tmp_path / "s.db", trials=1)
    assert calls == [0, 1]
    assert (report.trials[0]["ndcg10"], report.trials[0]["epochs"]) == (0.9, 3)
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 's.db'}")
    assert study.best_trial.intermediate_values == {
        epoch: point["ndcg10"] for epoch, point in enumerate(curve)
    }


def test_trial_that_diverges_is_passed_over(tiny, tmp_path, monkeypatch):
    calls = []

    def fit(*args, on_epoch):
        calls.append(args)
        if len(calls) == 1:
            raise TrainingDivergedError("weights that are not finite")
        on_epoch(0, {"loss": 1.0, "ndcg10": 0.5})
        curve = [{"loss": 1.0, "ndcg10": 0.5}]
        return SimpleNamespace(curve=curve, seconds=1.0, stopped_by="minutes")

    monkeypatch.setattr(room, "fit_towers", fit)
    report = tune(load_recipe(tiny / "r.toml"), tiny / "data", tmp_path / "s.db", trials=2)
    assert [(row["state"], row["stopped_by"]) for row in report.trials] == [
        ("complete", "minutes"),
        ("pruned", ""),
    ]


def test_values_that_do_not_go_together_are_passed_over(tiny, tmp_path, scripted):
    space = {"retrieval.heads": {"choices": [1, 3]}, "retrieval.dropout": {"low": 0.1, "high": 0.2}}
    value = {**json.loads(json.dumps({"name": "t", "data": {"interactions": "i.csv"}}))}
    value |= {"retrieval": {"dim": 8, "heads": 1}, "tune": {"space": space}}
    report = tune(parse_recipe(value, "t"), tiny / "data", tmp_path / "s.db", trials=8)
    refused = [row for row in report.trials if row["values"]["retrieval.heads"] == 3]
    assert refused
    assert {row["state"] for row in refused} == {"pruned"}
    assert all(asked.recipe.retrieval.heads == 1 for asked in scripted)


def test_more_hard_negatives_than_items_are_passed_over_or_refused(tiny, tmp_path, scripted):
    space = {"retrieval.hard_negatives": {"choices": [1, 9999]}}
    retrieval = {"dim": 8, "heads": 1, "loss": "sampled", "hard_negatives": 1}
    value = {"name": "t", "data": {"interactions": "i.csv"}, "tune": {"space": space}}
    recipe = parse_recipe({**value, "retrieval": retrieval}, "t")
    report = tune(recipe, tiny / "data", tmp_path / "s.db", trials=8)
    found = {(row["values"]["retrieval.hard_negatives"], row["state"]) for row in report.trials}
    assert found == {(1, "complete"), (9999, "pruned")}
    always = parse_recipe({**value, "retrieval": {**retrieval, "hard_negatives": 9999}}, "t")
    with pytest.raises(RecipeInvalidError, match=r"retrieval\.hard_negatives: 9999 "):
        tune(always, tiny / "data", tmp_path / "other.db", trials=1)


def test_search_runs_with_the_largest_seed(tiny, tmp_path, scripted):
    recipe = replace(load_recipe(tiny / "r.toml"), seed=2**32 - 1)
    report = tune(recipe, tiny / "data", tmp_path / "s.db", trials=2)
    assert len(report.trials) == 2


def test_study_of_another_recipe_is_refused(tiny, tmp_path, scripted):
    recipe = load_recipe(tiny / "r.toml")
    tune(recipe, tiny / "data", tmp_path / "s.db", trials=1)
    other = with_values(recipe, {"retrieval.batch": 8})
    with pytest.raises(RunInvalidError, match="another recipe"):
        tune(other, tiny / "data", tmp_path / "s.db", trials=1)
    (tmp_path / "x.db").write_text("no database")
    with pytest.raises(RunInvalidError, match="not an Optuna study"):
        tune(recipe, tiny / "data", tmp_path / "x.db", trials=1)


@pytest.mark.parametrize(
    ("key", "wanted", "message"),
    [
        ("retrieval.dropuot", {"low": 0.1, "high": 0.2}, "did you mean 'retrieval.dropout'"),
        ("split.valid_share", {"low": 0.1, "high": 0.2}, "cannot be searched"),
        ("retrieval.minutes", {"low": 1, "high": 2}, "cannot be searched"),
        ("retrieval.dropout", {"low": 0.3, "high": 0.2}, "low 0.3 must be below high 0.2"),
        ("retrieval.dropout", {"low": 0.3}, "give low and high"),
        ("retrieval.dropout", {"low": 0.3, "high": 1.2}, "1.2 is not a valid value"),
        ("retrieval.dropout", {"low": 0.0, "high": 0.2, "log": True}, "log needs low above 0"),
        ("retrieval.dropout", {"choices": [0.1], "high": 0.2}, "either choices"),
        ("retrieval.dim", {"low": 8.5, "high": 16}, "whole"),
        ("retrieval.dim", {"choices": [8, "wide"]}, "'wide' is not a valid value"),
        ("retrieval.dim", {"low": 8, "high": 16, "step": 0}, "step 0"),
    ],
)
def test_wrong_search_space_says_which_key_and_why(key, wanted, message):
    value = {"name": "t", "data": {"dataset": "d"}, "tune": {"space": {key: wanted}}}
    recipe = parse_recipe(value, "t.toml")
    with pytest.raises(RecipeInvalidError, match=message) as caught:
        check_space(recipe.tune.space, "t.toml")
    assert str(caught.value).startswith(f't.toml: tune.space."{key}": ')


def test_empty_or_misspelt_space_is_refused():
    recipe = parse_recipe({"name": "t", "data": {"dataset": "d"}}, "t")
    with pytest.raises(RecipeInvalidError, match=r"tune\.space is empty"):
        check_space(recipe.tune.space, "t.toml")
    wrong = {"tune": {"space": {"retrieval.dim": {"lo": 1}}}}
    with pytest.raises(RecipeInvalidError, match="did you mean 'low'"):
        parse_recipe({"name": "t", "data": {"dataset": "d"}, **wrong}, "t.toml")


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
numbers = st.floats(1e-6, 1e6) | st.integers(1, 1000)


@given(
    name=texts.filter(lambda text: text and text.isprintable()),
    types=st.lists(texts.filter(bool), max_size=3, unique=True),
    like=st.none() | st.floats(-1e3, 1e3),
    rate=st.floats(1e-9, 1e9),
    space=st.dictionaries(texts, st.lists(numbers | st.booleans() | texts, max_size=3), max_size=2),
)
@settings(max_examples=50, deadline=None)
def test_recipe_written_as_toml_reads_back_equal(tmp_path_factory, name, types, like, rate, space):
    value = {
        "name": name,
        "data": {"dataset": "d"},
        "events": {"default": "rating", "types": ["rating", "like", *types], "like_value": like},
        "retrieval": {"learning_rate": rate},
        "tune": {"space": {key: {"choices": found} for key, found in space.items()}},
    }
    recipe = parse_recipe(value, "t")
    path = tmp_path_factory.mktemp("toml") / "r.toml"
    path.write_text(recipe_toml(recipe, "one\ntwo"), encoding="utf-8", newline="")
    assert load_recipe(path) == recipe


def test_tune_command_prints_the_table(tiny, tmp_path, scripted, runner):
    words = ["tune", tiny / "r.toml", "--data", tiny / "data", "--study", tmp_path / "s.db"]
    words = [*map(str, words), "--trials", "2"]
    done = runner.invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "retrieval.dropout = " in done.stdout
    assert str(tmp_path / "s.best.toml") in done.stdout
    assert len(json.loads(runner.invoke(main, [*words, "--json"]).stdout)["trials"]) == 2
