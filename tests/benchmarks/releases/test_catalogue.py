"""The small twin: a ring of items that grows to some hundred, is updated and compacted."""

import pytest

from benchmarks.harness import Options, document
from benchmarks.releases import catalogue

pytest.importorskip("keras", reason="needs the train extra")

RECIPE = """
name = "catalogue-twin"
seed = 3
[data]
interactions = "FOLDER/interactions.csv"
[columns]
user = "who"
item = "what"
timestamp = "when"
timestamp_unit = "s"
[retrieval]
dim = 16
blocks = 1
heads = 1
max_history = 10
epochs = 1
[neighbours]
per_item = 2
[ranker]
candidates = 20
neighbour_candidates = 4
epochs = 1
heads = ["engage"]
head_weights = [1.0]
[rerank]
slate = 5
[export]
golden_cases = 4
variants = ["fp32", "fp16", "dynamic"]
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory, write_ring, in_process):
    folder = tmp_path_factory.mktemp("catalogue")
    recipe = write_ring(folder, 60, RECIPE)
    return catalogue.run(Options(work=folder / "work"), recipe, items=400)


def test_each_step_does_what_it_says(result):
    grow, update, compact, rebuilt = result.rows
    assert (grow["items"], grow["added"], grow["removed"]) == (400, 360, 0)
    assert (update["added"], update["changed"], update["withdrawn"]) == (4, 4, 2)
    assert (update["items"], update["removed"]) == (404, 0)
    assert compact["removed"] == 81  # the first number above a fifth of 404
    assert compact["items"] == 404 - 81
    assert rebuilt["items"] == 404
    for row in (grow, update, compact):
        assert row["seconds"] > 0
        assert row["peak_mib"] > 100


def test_an_update_changes_its_rows_alone(result):
    update = result.rows[1]
    assert 4 <= update["changed_rows"] <= 8  # those that training knew keep their vectors
    assert result.rows[3]["moves"] > update["moves"]


def test_figures_are_those_of_the_steps(result):
    figures = document(result)["figures"]
    assert figures["items"] == 400
    assert figures["changed"] == 10
    assert figures["compact_removed"] == 81
    assert figures["items_per_s"] == pytest.approx(360 / figures["seconds"])
