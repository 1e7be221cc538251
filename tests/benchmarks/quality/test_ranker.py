"""The small twin of `quality-ranker`: the same comparison on lists made here."""

import numpy as np
import pytest

from benchmarks.harness import Options, Result, document
from benchmarks.quality.ranker import Source, compare, first_places, run
from pocketrec_training.metrics.ranking import ndcg_by_list

pytest.importorskip("keras", reason="needs the train extra")


def lists(n=120, m=30, seed=3):
    """Places in retrieval's order; one positive a list, whose chance a hidden number sets."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, m)) - np.arange(m) / 10
    chance = np.exp(hidden) / np.exp(hidden).sum(1, keepdims=True)
    labels = np.zeros((n, m))
    for i in range(n):
        labels[i, rng.choice(m, p=chance[i])] = 1
    return chance, labels


def scores(chance, noise):
    rng = np.random.default_rng(0)
    return {
        name: (chance * np.exp(rng.normal(size=chance.shape) * size)).astype(np.float32)
        for name, size in noise.items()
    }


def test_a_better_order_shows_in_every_figure_and_interval():
    chance, labels = lists()
    place = -np.tile(np.arange(30.0, dtype=np.float32), (len(labels), 1))
    made = scores(chance, {"ranker": 0, "ranker_device": 0.01, "logistic": 2, "lightgbm": 2})
    orders = {
        "retrieval": place,
        "two_stage": made["ranker"],
        "two_stage_device": made["ranker_device"],
        "logistic": made["logistic"],
        "lightgbm": made["lightgbm"],
    }
    rows, figures = compare(orders, made, labels, np.ones_like(labels, bool), 1, draws=60)
    assert figures["ndcg10_two_stage"] > figures["ndcg10_retrieval"]
    assert figures["auc"] > max(figures["auc_logistic"], figures["auc_lightgbm"])
    assert figures["auc_device"] == pytest.approx(figures["auc"], abs=0.01)
    assert figures["ece"] < 0.02
    written = document(Result(name="x", seed=1, rows=rows))["rows"]
    by_name = {row["what"]: row for row in written}
    assert by_name["ndcg10_two_stage - ndcg10_retrieval"]["low"] > 0
    for row in written:
        assert row["low"] is None or row["low"] <= row["value"] <= row["high"]


def test_probabilities_ten_times_too_high_show_in_the_calibration():
    chance, labels = lists()
    made = scores(chance, dict.fromkeys(("ranker", "ranker_device", "logistic", "lightgbm"), 0))
    made["ranker"] = np.minimum(made["ranker"] * 10, 1)
    orders = dict.fromkeys(("retrieval", "two_stage", "two_stage_device"), made["logistic"])
    _, figures = compare(orders, made, labels, np.ones_like(labels, bool), 1, draws=2)
    assert figures["ece"] > 0.1
    assert figures["ece_slate"] > 0.1


def test_ndcg_of_a_list_by_hand():
    labels = np.array([[0, 1, 0], [0, 0, 0], [1, 1, 0]], float)
    real = np.array([[1, 1, 1], [1, 1, 1], [1, 1, 0]], bool)
    values = np.array([[3, 2, 1], [3, 2, 1], [1, 2, 9]], np.float32)
    assert ndcg_by_list(values, labels, real) == pytest.approx([1 / np.log2(3), 0, 1])
    assert first_places(values, real)[2].tolist() == [1, 0, 2]


TWIN = """
name = "ranker-twin"
seed = 3
[data]
interactions = "FOLDER/interactions.csv"
[columns]
user = "who"
item = "what"
timestamp = "when"
timestamp_unit = "s"
[retrieval]
dim = 8
blocks = 1
heads = 1
max_history = 10
epochs = 2
[neighbours]
per_item = 4
l2 = 5.0
[ranker]
candidates = 20
neighbour_candidates = 5
negatives = 19
epochs = 6
heads = ["engage"]
head_weights = [1.0]
[rerank]
slate = 5
[export]
golden_cases = 4
variants = ["fp32", "fp16", "dynamic"]
"""


@pytest.fixture(scope="module")
def twin(tmp_path_factory, write_ring, in_process):
    """Every step of the benchmark."""
    folder = tmp_path_factory.mktemp("ranker")
    recipe = write_ring(folder, 120, TWIN)
    sources = (
        Source(title="Ring", suffix="", recipe=recipe, folder=""),
        Source(title="Needs --data", suffix="_other", recipe=recipe, folder="nowhere"),
    )
    return run(Options(work=folder / "work"), sources)


def test_the_twin_runs_every_step_and_the_device_ranks_as_keras_does(twin):
    figures = twin.figures
    assert figures["ndcg10_two_stage"] > figures["ndcg10_retrieval"]  # neighbours know the ring
    assert figures["ndcg10_device"] == pytest.approx(figures["ndcg10_two_stage"], abs=0.02)
    assert figures["auc_device"] == pytest.approx(figures["auc"], abs=0.01)
    assert {"auc", "auc_lightgbm", "auc_logistic", "ece"} <= figures.keys()
    assert document(twin)["name"] == "quality-ranker"


def test_a_data_set_that_was_not_given_is_left_out(twin):
    assert {row["data"] for row in twin.rows} == {"Ring"}
    assert not any(name.endswith("_other") for name in twin.figures)
