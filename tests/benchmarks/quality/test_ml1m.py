"""The benchmark's small twin: made-up sequences, every step."""

import numpy as np
import pytest

from benchmarks.harness import Options, document
from benchmarks.quality import ml1m

RECIPE = """
name = "twin"
seed = 3
[data]
dataset = "movielens-1m-sequences"
[events]
types = ["rating"]
[split]
min_user_events = 3
[retrieval]
dim = 16
blocks = 1
heads = 1
attention = "gated"
positions = "relative"
max_history = 12
dropout = 0.0
learning_rate = 0.01
id_dropout = 0.0
epochs = 8
batch = 8
[ranker]
candidates = 30
epochs = 1
heads = ["engage"]
head_weights = [1.0]
[rerank]
category_cap = 0
near_duplicate_cosine = 2.0
[export]
golden_cases = 4
variants = ["fp32", "fp16", "dynamic"]
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory, in_process):
    folder = tmp_path_factory.mktemp("ml1m")
    chance = np.random.default_rng(0)
    lines = []
    for _ in range(90):
        start = int(chance.integers(0, 40))
        lines.append(
            " ".join(str((start + i) % 40 + 1) for i in range(int(chance.integers(8, 20))))
        )
    (folder / "raw").mkdir()
    (folder / "raw" / "sequences.txt").write_text("\n".join(lines) + "\n")
    (folder / "twin.toml").write_text(RECIPE)
    options = Options(work=folder / "work", data=folder / "raw")
    first = ml1m.run(options, recipe=folder / "twin.toml")
    (folder / "work" / "bundle" / "manifest.json").stat()
    return folder, options, first


def test_every_figure_is_there_and_the_device_keeps_what_keras_found(found):
    _, _, result = found
    figures = result.figures
    assert {"ndcg10_device", "hr10_device", "ndcg10_keras", "model_bytes", "train_s"} <= set(
        figures
    )
    assert figures["ndcg10_keras"] > 0.3  # the next item is certain, so chance (.1) is far below
    assert figures["ndcg10_device_retrieval"] == pytest.approx(figures["ndcg10_keras"], abs=0.03)
    assert 0 < figures["model_bytes"] < 1_000_000
    assert document(result)["name"] == "quality-ml1m"


def test_the_table_holds_published_figures_baselines_and_every_variant(found):
    _, _, result = found
    methods = [row["method"] for row in result.rows]
    assert "HSTU-large" in methods
    assert {"popularity", "item_knn", "transitions", "slist", "ease_popularity"} <= set(methods)
    assert sum("on the device" in str(name) for name in methods) == 6


def test_a_finished_run_of_the_same_recipe_is_not_trained_again(found):
    folder, _, _ = found
    assert ml1m.finished(folder / "twin.toml", folder / "work" / "run")
    (folder / "other.toml").write_text(RECIPE.replace("seed = 3", "seed = 4"))
    assert not ml1m.finished(folder / "other.toml", folder / "work" / "run")
