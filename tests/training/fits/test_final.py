"""Two fits of a small log of 40 people who walk along a ring.

At the end all take an item that they know, and 30 of them then take a new one.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

from pocketrec_training.data.dataset import TEST, TRAIN, VALID, load_dataset
from pocketrec_training.data.features.columns import release_popularity
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.fits.final_ranker import final_cases, fit_final_ranker
from pocketrec_training.fits.report import TrainReport, read_report
from pocketrec_training.ranker.candidate_lists import CandidateGenerator
from pocketrec_training.ranker.cross_fit import load_cross_fit
from pocketrec_training.ranker.leakage import check_no_leak
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.run_folder import RunFolder
from pocketrec_training.towers.user_vectors import user_vectors
from pocketrec_training.train import train
from pocketrec_training.trained import load_trained

USERS, RING, EVENTS, START = 40, 60, 20, 1_600_000_000
NEW, BEFORE = "new", "the old one"
RECIPE = """
name = "ring"
seed = 3
[data]
interactions = "i.csv"
[columns]
user = "user"
item = "item"
timestamp = "time"
[split]
kind = "global_time"
[retrieval]
quantize_from = 1.0
dim = 8
blocks = 1
max_history = 10
epochs = 4
[neighbours]
per_item = 8
[ranker]
candidates = 12
neighbour_candidates = 4
popularity_days = [30]
epochs = 2
batch = 16
learning_rate = 0.01
deep = [8]
cross_layers = 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    folder: Path
    report: TrainReport

    @property
    def run(self) -> Path:
        return self.folder / "run"


@pytest.fixture(scope="module")
def ran(tmp_path_factory, uncompiled, two_folds) -> Ran:
    folder = tmp_path_factory.mktemp("ring")
    lines = ["user,item,time"]
    for user in range(USERS):
        for at in range(EVENTS):
            item = f"i{(user * 7 + at) % RING:02d}"
            if at in (5, EVENTS - 2):
                item = BEFORE
            elif at == EVENTS - 1 and user < 30:
                item = NEW
            lines.append(f"u{user:02d},{item},{START + at * 100_000 + user * 100}")
    (folder / "i.csv").write_text("\n".join(lines))
    (folder / "r.toml").write_text(RECIPE)
    recipe = load_recipe(folder / "r.toml")
    build_tables(recipe, folder / "data", folder)
    with uncompiled(), two_folds():
        report = train(recipe=recipe, data=folder / "data", out=folder / "run")
    return Ran(folder=folder, report=report)


@pytest.fixture(scope="module")
def data(ran):
    return load_dataset(load_recipe(ran.folder / "r.toml"), ran.folder / "data")


@pytest.fixture(scope="module")
def fits(ran):
    return {fit: load_trained(ran.run, fit=fit) for fit in ("evaluation", "final")}


def lists_at_the_end(trained, data):
    """Candidates of the ten users without the new item, just before the log's last events."""
    generator = trained.candidates(trained.as_released(data)[1])
    cases = [(user, EVENTS - 1) for user in range(30, USERS)]
    vectors = user_vectors(trained.user_tower, trained.item_vectors, trained.spec, data, cases)
    return [
        [data.items.ids[row] for row in generator.list_for(case, vector, repeats=False)]
        for case, vector in zip(cases, vectors, strict=True)
    ]


def test_item_of_the_last_days_is_recommended_by_the_final_fit_alone(fits, data):
    found = {fit: lists_at_the_end(trained, data) for fit, trained in fits.items()}
    # Twelve candidates of 62 items: an item that no one ever took can be among them by chance.
    assert sum(NEW in one for one in found["evaluation"]) <= 2
    assert sum(NEW in one for one in found["final"]) >= 8


def test_popularity_of_the_final_fit_counts_the_last_events(fits, data):
    row = data.items.ids.index(NEW)
    column = {
        fit: release_popularity(trained.spec, trained.as_released(data)[1])[:, 0]
        for fit, trained in fits.items()
    }
    assert (column["evaluation"][row], column["final"][row]) == (0.0, 30.0)
    assert column["final"].sum() == USERS * EVENTS
    assert column["evaluation"].sum() == USERS * EVENTS * 0.9


def test_neighbours_of_the_final_fit_know_the_last_events(fits, data):
    row = data.items.ids.index(NEW)
    weights = {
        fit: np.abs(trained.neighbours.weights[trained.neighbours.rows == row]).sum()
        for fit, trained in fits.items()
    }
    assert weights["evaluation"] == 0
    assert weights["final"] > 0


def test_final_towers_run_a_quarter_of_the_chosen_epochs(ran):
    best = 1 + int(np.argmax([point["ndcg10"] for point in ran.report.curve]))
    final = ran.report.final
    assert final is not None
    assert final.epochs == final.epochs_planned == max(1, -(-best // 4))
    assert final.retrieval_stopped_by == "epochs"
    assert final.new_items == 1
    assert final.last_ts == START + 100_000 * (EVENTS - 1) + 100 * (USERS - 1)
    assert final.alignment.max_score_change < 1e-3


def test_report_of_the_run_is_that_of_both_fits(ran):
    assert read_report(RunFolder(ran.run).report) == ran.report
    final = json.loads(RunFolder(ran.run).final.report.read_bytes())
    assert final["new_items"] == 1


def test_ranker_never_learns_from_events_that_its_retrieval_had_seen(
    ran, fits, data, monkeypatch, two_folds
):
    """Lists and features are those of the evaluation fit, which knows the training fold alone."""
    asked = []
    honest = CandidateGenerator.lists_for

    def spied(self, cases):
        asked.append((self, cases))
        return honest(self, cases)

    monkeypatch.setattr(CandidateGenerator, "lists_for", spied)
    evaluation = fits["evaluation"]
    with two_folds():
        cross_fit = load_cross_fit(ran.run)
    made = fit_final_ranker(evaluation, data, cross_fit, replace(ran.report, ranker_epochs=0))
    ((generator, cases),) = asked
    assert made.lists == len(cases) == ran.report.final.ranker_lists
    folds = {int(data.fold[data.offsets[user] + end]) for user, end in cases}
    assert folds == {VALID, TEST}
    assert generator.items.neighbours is evaluation.neighbours
    assert np.array_equal(generator.table, evaluation.item_vectors)
    trained_on = np.bincount(data.rows[data.fold == TRAIN], minlength=len(data.items))
    assert np.array_equal(generator.items.numeric[:, 0], trained_on)
    check_no_leak(generator.over, data, cases[:3] + cases[-3:], 5)


def test_a_training_event_is_no_case_of_the_final_ranker(data):
    with pytest.raises(AssertionError):
        final_cases(data, [(0, 1)], [])
    test, valid = [(0, EVENTS - 1)], [(1, EVENTS - 3)]
    assert final_cases(data, test, valid) == test + valid


def test_run_without_a_final_fit_ships_the_evaluation_fit(ran, tmp_path):
    from pocketrec_training.errors import RunInvalidError

    assert RunFolder(ran.run).shipped == "final"
    assert RunFolder(tmp_path).shipped == "evaluation"
    with pytest.raises(RunInvalidError, match="has no final fit"):
        load_trained(tmp_path, fit="final")
