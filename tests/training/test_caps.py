"""Caps on a stage's time: what counts, what is always done, and what is reported."""

import dataclasses
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

import keras

from pocketrec.cli import main
from pocketrec_training.data.dataset import VALID
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.monitoring.counted_time import CountedTime
from pocketrec_training.monitoring.stopping import cap_warning, stopped_told
from pocketrec_training.ranker import epochs as ranker_epochs
from pocketrec_training.ranker.epochs import RankerFit
from pocketrec_training.recipe.load import load_recipe, parse_recipe
from pocketrec_training.towers.fit import fit_towers
from pocketrec_training.towers.step import TowerFit
from pocketrec_training.train import train
from pocketrec_training.trained import load_trained

RECIPE = """
name = "capped"
[data]
interactions = "i.csv"
[columns]
user = "user"
item = "item"
timestamp = "time"
timestamp_unit = "s"
[events]
types = ["rating"]
[retrieval]
dim = 8
blocks = 1
heads = 1
max_history = 6
title_buckets = 8
epochs = 5
batch = 8
[ranker]
candidates = 10
epochs = 4
deep = [4]
cross_layers = 1
cross_rank = 2
[rerank]
slate = 5
"""
NEVER = 1e-6
"""Minutes that are over when anything was counted."""


class HandClock:
    """Stands still until someone turns it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def slowed(monkeypatch, owner, name, clock, seconds):
    """Let a real call take `seconds(call number, its arguments)` on the clock."""
    real = getattr(owner, name)
    calls: list[Any] = []

    def call(*args, **kwargs):
        clock.now += seconds(len(calls), args)
        calls.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)
    return calls


@pytest.fixture
def epochs_of_towers(world, tmp_path, monkeypatch, uncompiled):
    """Return a function that fits towers under a cap, with steps of set lengths."""
    recipe, spec, data = world
    retrieval = dataclasses.replace(recipe.retrieval, epochs=5, batch=16)
    recipe = dataclasses.replace(recipe, retrieval=retrieval)

    def fit(minutes, seconds, name="c.npz", **more):
        clock = HandClock()
        keras.utils.set_random_seed(1)
        with monkeypatch.context() as patch:
            slowed(patch, TowerFit, "step", clock, seconds)
            # The set-up is slow, too.
            slowed(patch, TowerFit, "snapshot", clock, lambda n, _: 500.0 if n == 0 else 0.0)
            return fit_towers(recipe, spec, data, tmp_path / name, minutes, clock=clock, **more)

    # The clock says how long compilation takes; the real one would take most of these tests.
    with uncompiled():
        yield fit


def compiling(compile_s, step_s):
    """Seconds of a step: those of compilation for the first of each shape, as XLA does."""
    met = set()

    def seconds(_, args):
        first = args[1].shape not in met
        met.add(args[1].shape)
        return compile_s if first else step_s

    return seconds


def test_compilation_and_set_up_of_the_towers_do_not_count(epochs_of_towers):
    """The busy machine of `minutes = 0.3`: 18 s, of which the first step alone took a minute."""
    fitted = epochs_of_towers(0.3, compiling(60.0, 0.1))
    assert (len(fitted.curve), fitted.stopped_by) == (5, "epochs")


def test_towers_complete_one_epoch_under_any_cap(epochs_of_towers):
    fitted = epochs_of_towers(NEVER, compiling(60.0, 10.0))
    assert (len(fitted.curve), fitted.stopped_by) == (1, "minutes")


def test_no_cap_lets_every_epoch_run_however_slow(epochs_of_towers):
    fitted = epochs_of_towers(0.0, compiling(600.0, 600.0))
    assert (len(fitted.curve), fitted.stopped_by) == (5, "epochs")


def test_resumed_towers_go_on_counting_and_end_where_an_unbroken_run_ends(epochs_of_towers):
    class KilledError(Exception):
        pass

    def kill(epoch, _):
        if epoch == 1:
            raise KilledError

    cap, steps = 2.0, compiling(60.0, 4.0)
    whole = epochs_of_towers(cap, steps, "whole.npz")
    assert 2 < len(whole.curve) < 5
    with pytest.raises(KilledError):
        epochs_of_towers(cap, compiling(60.0, 4.0), "broken.npz", on_epoch=kill)
    resumed = epochs_of_towers(cap, compiling(60.0, 4.0), "broken.npz")
    assert resumed.stopped_by == whole.stopped_by == "minutes"
    assert resumed.curve == whole.curve


def test_compilation_and_set_up_of_the_ranker_do_not_count(world, make_candidates, monkeypatch):
    recipe, spec, data = world
    candidates, clock = make_candidates(data), HandClock()
    lists = candidates.lists_for(data.held_out(VALID))
    slowed(monkeypatch, ranker_epochs, "build_ranker", clock, lambda *_: 500.0)
    shapes = set()

    def seconds(_, args):
        first = args[2].shape not in shapes
        shapes.add(args[2].shape)
        return 100.0 if first else 0.1

    slowed(monkeypatch, ranker_epochs._Step, "__call__", clock, seconds)
    fit = RankerFit(recipe.ranker, spec, candidates, np.random.default_rng(0), clock)
    made = fit.run(lists, lists, 4, 0.2)
    assert (len(made.losses), made.stopped_by) == (4, "epochs")


def test_ranker_completes_one_epoch_under_any_cap(world, make_candidates):
    recipe, spec, data = world
    candidates = make_candidates(data)
    lists = candidates.lists_for(data.held_out(VALID))
    fit = RankerFit(recipe.ranker, spec, candidates, np.random.default_rng(0))
    made = fit.run(lists, lists.take(np.arange(0)), 4, NEVER)
    assert (len(made.losses), made.epochs, made.stopped_by) == (1, 1, "minutes")
    assert len(fit.run(lists, lists, 4, 0.0).losses) == 4


def test_plan_is_made_from_counted_seconds():
    clock = HandClock()
    counted = CountedTime(1.0, clock=clock)
    assert counted.planned(30, 0) == 30
    for shape in ("a", "b", "a", "a"):
        with counted.counting(shape):
            clock.now += 5.0
    with counted.counting():
        clock.now += 2.0
    assert counted.seconds == 12.0  # two steps of "a" and the validation
    assert counted.planned(30, 1) == 5
    assert counted.planned(3, 1) == 3
    assert CountedTime(0.1, 600.0).planned(30, 2) == 2
    assert CountedTime(0.0, 600.0).planned(30, 2) == 30


def test_a_recipe_has_no_cap_unless_someone_sets_one(repository):
    for path in (repository / "recipes").glob("*.toml"):
        recipe = load_recipe(path)
        caps = recipe.retrieval.minutes, recipe.ranker.minutes, recipe.tune.trial_minutes
        assert caps == (0.0, 0.0, 0.0), path
    asked = {"name": "t", "data": {"dataset": "d"}, "retrieval": {"minutes": 2.5}}
    assert parse_recipe(asked, "t").retrieval.minutes == 2.5


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("caps")
    rng = np.random.default_rng(0)
    lines = ["user,item,time"]
    for user in range(40):
        start = int(rng.integers(0, 20))
        lines += [f"u{user},i{(start + n) % 20},{user * 1000 + n}" for n in range(8)]
    (folder / "i.csv").write_text("\n".join(lines))
    (folder / "r.toml").write_text(RECIPE)
    build_tables(load_recipe(folder / "r.toml"), folder / "data", folder)
    return folder


def test_cut_training_warns_and_is_marked_as_not_reproducible(tiny, runner, uncompiled, two_folds):
    capped = RECIPE.replace("[ranker]", f"minutes = {NEVER}\n[ranker]\nminutes = {NEVER}")
    (tiny / "capped.toml").write_text(capped)
    words = ["train", tiny / "capped.toml", "--data", tiny / "data", "--out", tiny / "cut"]
    with uncompiled(), two_folds():
        done = runner.invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert "two-tower: 1 of 5 epochs, stopped by minutes" in done.stdout
    assert "ranker: 1 of 4 epochs, stopped by minutes" in done.stdout
    assert "warning: a cap cut this training short" in done.stderr
    assert "Set retrieval.minutes = 0 and ranker.minutes = 0" in done.stderr
    report = json.loads((tiny / "cut" / "train_report.json").read_text())
    assert (report["epochs"], report["epochs_planned"]) == (1, 5)
    assert report["reproducible"] is False
    assert report["retrieval_stopped_by"] == report["ranker_stopped_by"] == "minutes"


def test_minutes_of_a_call_are_split_where_the_recipe_has_no_caps(tiny, uncompiled, two_folds):
    told: list[str] = []
    recipe = load_recipe(tiny / "r.toml")
    with uncompiled(), two_folds():
        report = train(
            recipe=recipe,
            data=tiny / "data",
            out=tiny / "called",
            minutes=NEVER,
            final=False,
            warn=told.append,
        )
    assert (report.epochs, len(report.ranker_losses)) == (1, 1)
    assert len(told) == 1
    assert "It is not reproducible" in told[0]


def test_model_is_the_same_whatever_the_load_of_the_machine(tiny, uncompiled, two_folds):
    recipe = load_recipe(tiny / "r.toml")
    retrieval = dataclasses.replace(recipe.retrieval, epochs=2, quantize_from=1.0)
    recipe = dataclasses.replace(recipe, retrieval=retrieval)
    with uncompiled(), two_folds():
        train(recipe=recipe, data=tiny / "data", out=tiny / "idle", final=False)
        loop = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            report = train(recipe=recipe, data=tiny / "data", out=tiny / "busy", final=False)
        finally:
            loop.kill()
            loop.wait()
    assert report.reproducible
    assert (report.retrieval_stopped_by, report.ranker_stopped_by) == ("epochs", "epochs")
    vectors = [(tiny / name / "item_vectors.npy").read_bytes() for name in ("idle", "busy")]
    assert vectors[0] == vectors[1]
    one, two = load_trained(tiny / "idle"), load_trained(tiny / "busy")
    for model in ("user_tower", "item_tower", "ranker"):
        weights = (getattr(each, model).get_weights() for each in (one, two))
        for before, after in zip(*weights, strict=True):
            assert np.array_equal(before, after)


def test_words_about_the_end_of_a_training():
    report = {
        "epochs": 13,
        "epochs_planned": 30,
        "retrieval_stopped_by": "patience",
        "ranker_losses": [0.1, 0.2],
        "ranker_epochs_planned": 20,
        "ranker_stopped_by": "epochs",
        "reproducible": True,
    }
    assert "two-tower: 13 of 30 epochs, stopped by patience" in stopped_told(report)
    assert cap_warning(report) == ""
    assert "13 of 30" in cap_warning(report | {"reproducible": False})
    old = {"epochs": 13, "ranker_losses": []}
    assert stopped_told(old) == cap_warning(old) == ""
