import json
import os
import subprocess
import sys

import numpy as np
import pytest

from pocketrec_training.baselines import BASELINES
from pocketrec_training.data.dataset import TEST, TRAIN, VALID, load_dataset
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.evaluation.evaluate import evaluate
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.trained import load_trained

RECIPE = """
name = "tiny"
seed = 3
[data]
interactions = "i.csv"
items = "p.csv"
[columns]
user = "user"
item = "item"
timestamp = "time"
timestamp_unit = "s"
value = "stars"
item_id = "item"
title = "title"
categories = "genre"
[events]
like_value = 4.0
[retrieval]
quantize_from = 1.0
dim = 16
blocks = 1
max_history = 10
epochs = 12
patience = 12
batch = 16
[ranker]
candidates = 15
epochs = 1
deep = [8]
cross_layers = 1
[rerank]
slate = 5
"""


def write_tables(folder, recipe, *, users=80, items=30, events=12):
    """Write a recipe and tables in which each item is followed by the next one."""
    rng = np.random.default_rng(0)
    lines = ["user,item,time,stars"]
    for user in range(users):
        start = int(rng.integers(0, items))
        lines += [
            f"u{user},i{(start + n) % items},{user * 1000 + n},{n % 6}" for n in range(events)
        ]
    (folder / "i.csv").write_text("\n".join(lines))
    (folder / "p.csv").write_text(
        "\n".join(["item,title,genre", *(f"i{n},Film {n},g{n % 3}" for n in range(items))])
    )
    (folder / "r.toml").write_text(recipe)
    build_tables(load_recipe(folder / "r.toml"), folder / "data", folder)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_tables(folder, RECIPE)
    return folder


@pytest.fixture(scope="module")
def killed(tiny, tmp_path_factory, repository):
    """What a child found that killed trainings, see `killed_child.py`, and its second folder."""
    many = tmp_path_factory.mktemp("many")
    recipe = RECIPE.replace("epochs = 12", "epochs = 3").replace(
        "candidates = 15", "candidates = 8"
    )
    write_tables(many, recipe, users=30, items=12, events=8)
    (many / "work" / "run").mkdir(parents=True)
    (many / "work" / "run" / "old").write_text("kept")
    done = subprocess.run(
        [sys.executable, repository / "tests/training/killed_child.py", tiny, many, "3"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), many / "work"


@pytest.fixture(scope="module")
def run(killed, tiny):
    """A finished run of a training that was killed once on the way."""
    found = killed[0]["once"]
    assert (found["killed"], found["finished"], found["code"], found["left"]) == (
        -9,
        False,
        0,
        False,
    )
    report = json.loads((tiny / "run" / "train_report.json").read_bytes())
    assert report["epochs"] > found["epochs"] >= 1
    return tiny / "run"


def test_splits_hold_out_the_last_events_of_each_user(tiny):
    data = load_dataset(load_recipe(tiny / "r.toml"), tiny / "data")
    assert data.n_users == 80
    for user in range(80):
        fold = data.fold[data.offsets[user] : data.offsets[user + 1]].tolist()
        assert fold == [TRAIN] * 10 + [VALID, TEST]
        assert (np.diff(data.history(user).ts) >= 0).all()
    assert len(data.held_out(TEST)) == 80


def test_killed_training_goes_on_and_the_run_is_complete(run, tiny, tmp_path):
    trained = load_trained(run)
    assert trained.item_vectors.shape == (30, 16)
    found = evaluate(run=run, data=tiny / "data", out=tmp_path).details
    assert found["retrieval"]["two_tower"]["hr@10"]["value"] > 0.5
    assert "tiny" in (tmp_path / "evaluation.html").read_text()
    assert {"pair.retrieval_score", "user_vector"} <= {i["feature"] for i in found["importance"]}
    assert json.loads((tmp_path / "evaluation.json").read_text())["figures"] == found["figures"]


def test_killed_at_many_steps_training_leaves_the_old_run_or_the_new(killed):
    """SIGKILL at every third step: checkpoints, batches of the ranker, saving, the last renames."""
    found, work = killed[0]["often"], killed[1]
    assert found["whole"] == 0
    *tries, (code, new, left) = found["after"]
    assert (code, left) == (0, [])
    assert new == sorted(path.name for path in (work / "whole").iterdir())
    assert len(tries) >= 7
    switch = sum(files == ["old"] for _, files, _ in tries)
    assert [files for _, files, _ in tries] == [["old"]] * switch + [new] * (len(tries) - switch)
    assert {tuple(left) for _, _, left in tries} <= {(), (".run.work",)}
    for fit in ("evaluation", "final"):
        whole, again = (load_trained(work / name, fit=fit) for name in ("whole", "run"))
        for model in ("user_tower", "item_tower", "ranker"):
            weights = (getattr(each, model).get_weights() for each in (whole, again))
            for one, two in zip(*weights, strict=True):
                assert np.array_equal(one, two)


def test_stale_checkpoint_that_nobody_claims_is_dropped(tmp_path):
    """A kill while the work folder is cleared can leave the checkpoint without its claim."""
    from pocketrec_training.train import _claim

    write_tables(tmp_path, RECIPE, users=4, items=3, events=4)
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "retrieval.npz").write_bytes(b"of another recipe")
    _claim(tmp_path / "w", load_recipe(tmp_path / "r.toml"), tmp_path / "data")
    assert [path.name for path in (tmp_path / "w").iterdir()] == ["claim"]


def test_work_of_another_recipe_is_not_taken_over(run, tiny, tmp_path):
    from pocketrec_training.train import _claim

    recipe = load_recipe(tiny / "r.toml")
    _claim(tmp_path / "w", recipe, tiny / "data")
    _claim(tmp_path / "w", recipe, tiny / "data")
    with pytest.raises(RunInvalidError, match="--no-final it began with"):
        _claim(tmp_path / "w", recipe, tiny / "data", final=False)
    (tmp_path / "w" / "claim").write_bytes(b"other")
    with pytest.raises(RunInvalidError, match="another recipe"):
        _claim(tmp_path / "w", recipe, tiny / "data")


def test_training_refuses_a_planted_leak_and_goes_on_once_it_is_mended(
    tmp_path, runner, monkeypatch, uncompiled
):
    from pocketrec.cli import main
    from pocketrec_training.ranker.candidate_lists import CandidateGenerator

    def whole_log(self, case, vector, rows, honest=CandidateGenerator.inputs_for):
        """Counts the user's events up to the end of the log, not up to the case."""
        found = honest(self, case, vector, rows)
        counts = np.bincount(self.data.history(case[0]).rows, minlength=len(self.data.items))
        found["pair"][:, self.spec.pair.index("times_had")] = counts[rows]
        return found

    write_tables(tmp_path, RECIPE.replace("epochs = 12", "epochs = 1"), users=30, events=8)
    words = ["train", tmp_path / "r.toml", "--data", tmp_path / "data", "--out", tmp_path / "run"]
    words.append("--no-final")
    with monkeypatch.context() as planted, uncompiled():
        planted.setattr(CandidateGenerator, "inputs_for", whole_log)
        done = runner.invoke(main, [*map(str, words), "--json"])
    assert done.exit_code == 2
    assert "know the future: pair.times_had (user 'u" in done.stderr
    assert "pocketrec_training.ranker.candidate_lists" in done.stderr
    assert not (tmp_path / "run").exists()
    assert (tmp_path / ".run.work" / "retrieval.npz").exists()
    with uncompiled():
        assert runner.invoke(main, list(map(str, words))).exit_code == 0
    checked = json.loads((tmp_path / "run" / "train_report.json").read_text())["leak_check"]
    assert checked["cases"] == 16
    assert {"pair.times_had", "context.hour", "user_vector", "rows"} <= set(checked["features"])


def test_later_events_do_not_change_an_earlier_state(run):
    trained = load_trained(run)
    states = trained.user_tower.get_layer("tower")
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(1, 10, 16)).astype(np.float32)
    events = np.ones((1, 10), np.int32)
    ages = np.sort(rng.uniform(0, 1e6, (1, 10)))[:, ::-1].astype(np.float32)
    one = np.asarray(states(vectors, events, ages))
    vectors[0, 6:], events[0, 6:] = 9.0, 2
    ages[0, 6:] = 0.0
    two = np.asarray(states(vectors, events, ages))
    assert np.allclose(one[0, :7], two[0, :7], atol=1e-5)
    assert not np.allclose(one[0, 7:], two[0, 7:], atol=1e-2)


def test_new_item_gets_a_finite_vector_from_its_content(run):
    trained = load_trained(run)
    vectors = trained.item_vectors_for(trained.items)
    assert np.isfinite(vectors).all()
    assert vectors.std() > 0


def test_transition_counts_reach_their_published_figure(data_root, tmp_path):
    """NDCG@10 .159 and HR@10 .276 on MovieLens-1M, leave-one-out; measured for the protocol."""
    recipe = load_recipe(tmp_recipe(tmp_path))
    build_tables(recipe, tmp_path / "data", data_root / "movielens_1m_sequences")
    data = load_dataset(recipe, tmp_path / "data")
    scorer = BASELINES["transitions"].fit(data)(window=5, decay=0.8)
    gains = []
    for user, end in data.held_out(TEST)[::10]:
        past = data.history(user, end)
        scores = scorer([(user, past)])[0]
        target = data.rows[data.offsets[user] + end]
        wanted = scores[target]
        scores[past.rows] = -1
        place = int((scores > wanted).sum())
        gains.append(1 / np.log2(place + 2) if place < 10 else 0.0)
    assert 0.13 < np.mean(gains) < 0.19  # every tenth user: a standard error of about .012


def tmp_recipe(folder):
    path = folder / "ml1m.toml"
    path.write_text('name = "m"\n[data]\ndataset = "movielens-1m-sequences"\n')
    return path
