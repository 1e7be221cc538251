"""The small twin of `warm-start`: a made-up log, every step."""

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

from benchmarks.harness import Options, document
from benchmarks.releases import warm_start

RECIPE = """
name = "twin"
seed = 3
[data]
interactions = "i.csv"
items = "p.csv"
[columns]
user = "user"
item = "item"
timestamp = "time"
timestamp_unit = "s"
item_id = "item"
title = "title"
[retrieval]
quantize_from = 1.0
dim = 8
blocks = 1
heads = 1
max_history = 6
title_buckets = 8
epochs = 6
batch = 16
learning_rate = 0.01
[ranker]
candidates = 10
epochs = 1
deep = [4]
cross_layers = 1
cross_rank = 2
[rerank]
slate = 5
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory, in_process):
    """40 people walk up 20 items; four who come in the last tenth of time know two more."""
    folder = tmp_path_factory.mktemp("warm-start")
    lines = [f"u{u},i{(u + n) % 20},{u * 100 + n}" for u in range(40) for n in range(9)]
    lines += [f"v{u},i{20 + n if n < 2 else n},{9000 + n}" for u in range(4) for n in range(9)]
    (folder / "i.csv").write_text("\n".join(["user,item,time", *lines]))
    rows = [f"i{n},Film {n}" for n in range(22)]
    (folder / "p.csv").write_text("\n".join(["item,title", *rows]))
    (folder / "r.toml").write_text(RECIPE)
    return warm_start.run(Options(work=folder / "work", data=folder), folder / "r.toml")


def test_four_forms_of_the_next_release_are_compared(result):
    rows = {row["release"]: row for row in result.rows}
    assert list(rows) == ["afresh", "afresh_rotated", "warm", "warm_rotated"]
    found = document(result)["figures"]
    assert (found["known_items"], found["items"]) == (20, 22)
    for name in ("afresh", "warm"):
        plain, rotated = rows[name], rows[f"{name}_rotated"]
        assert rotated["test_ndcg10"] == pytest.approx(plain["test_ndcg10"], abs=1e-3)
        assert rotated["moved"] <= plain["moved"] + 1e-6
        assert rotated["train_s"] == plain["train_s"] > 0
        assert plain["rows_bytes"] == 22 * 8
    assert rows["afresh_rotated"]["cosine"] > rows["afresh"]["cosine"]
    assert rows["warm"]["cosine"] > rows["afresh"]["cosine"]
    for row in result.rows:
        assert 0 < row["test_ndcg10_int8"] <= 1
        assert row["low"] <= row["test_ndcg10_int8"] <= row["high"]


def test_a_delta_weighs_what_changed():
    rng = np.random.default_rng(0)
    old = rng.normal(size=(400, 32)).astype(np.float32)
    kept = np.arange(400)
    same = warm_start.delta_bytes(old, old, kept)
    assert same["dictionary_bytes"] < 100
    assert same["difference_bytes"] < 100
    assert same["full_bytes"] > 0.8 * same["rows_bytes"] == 0.8 * 400 * 32
    turned = warm_start.delta_bytes(old, rng.normal(size=(400, 32)).astype(np.float32), kept)
    assert turned["dictionary_bytes"] > 0.9 * turned["full_bytes"]
    noise = rng.normal(size=old.shape).astype(np.float32)
    near = warm_start.delta_bytes(old, old + np.float32(0.02) * noise, kept)
    assert near["difference_bytes"] < 0.6 * near["dictionary_bytes"]
    # Rows that are new come as they are: 40 of 440.
    more = np.concatenate([rng.normal(size=(40, 32)).astype(np.float32), old])
    grown = warm_start.delta_bytes(old, more, kept + 40)
    assert 0.7 * 40 * 32 < grown["dictionary_bytes"] < 1.3 * 40 * 32
    assert 0.7 * 40 * 32 < grown["difference_bytes"] < 1.3 * 40 * 32


def test_mean_cosine_by_hand():
    one = np.array([[1, 0], [3, 4]], np.float32)
    two = np.array([[0, 2], [6, 8]], np.float32)
    assert warm_start.mean_cosine(one, two) == pytest.approx(0.5)
