"""The small twin of `rerank`: a ring of items with categories, every setting."""

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

from benchmarks.harness import Options, document
from benchmarks.quality import rerank

RECIPE = """
name = "rerank-twin"
seed = 3
[data]
interactions = "FOLDER/interactions.csv"
items = "FOLDER/items.csv"
[columns]
user = "who"
item = "what"
timestamp = "when"
timestamp_unit = "s"
item_id = "what"
title = "title"
categories = "kind"
year = "year"
[retrieval]
dim = 16
blocks = 1
heads = 1
max_history = 10
epochs = 2
title_buckets = 8
[ranker]
candidates = 30
epochs = 1
deep = [4]
cross_layers = 1
cross_rank = 2
[rerank]
slate = 5
[export]
golden_cases = 2
variants = ["fp32"]
targets = { android = {} }
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory, write_ring, in_process):  # its clock stands at 1970
    folder = tmp_path_factory.mktemp("rerank")
    recipe = write_ring(folder, 60, RECIPE)
    kinds = ("drama", "war", "comedy|war")
    lines = [f"i{n},Film {n},{kinds[n % 3]},{1930 + n}" for n in range(40)]
    (folder / "items.csv").write_text("\n".join(["what,title,kind,year", *lines]))
    return rerank.run(Options(work=folder / "work"), recipe)


def test_every_setting_has_its_row(result):
    rows = {row["setting"]: row for row in result.rows}
    assert list(rows) == [name for name, _ in rerank.settings()]
    assert rows["policy"]["change_low"] == rows["policy"]["change_high"] == 0.0
    for row in result.rows:
        assert 0 <= row["ndcg10"] <= 1
        assert row["change_low"] <= row["ndcg10"] - rows["policy"]["ndcg10"] <= row["change_high"]
        assert 0 < row["items"] <= 10
        assert 1 <= row["categories"] <= 3
        assert 0 <= row["head_share"] <= 1
        assert row["rerank_ms_p50"] > 0
    figures = document(result)["figures"]
    assert figures["ndcg10, policy"] == rows["policy"]["ndcg10"]


def test_each_rule_moves_what_it_is_for(result):
    rows = {row["setting"]: row for row in result.rows}
    policy = rows["policy"]
    for kind in ("mmr 0.5", "dpp 0.5"):
        assert rows[kind]["intra_list_distance"] > policy["intra_list_distance"]
    assert rows["category calibration 0.9"]["divergence"] < policy["divergence"]
    assert rows["freshness 0.2"]["year"] > policy["year"]
    assert rows["floor 0.4"]["items"] < policy["items"]
    for name in ("thompson 0.2", "sponsored 0.2"):
        assert rows[name]["year"] != policy["year"]  # others were shown


def test_the_ruler_counts_what_a_hand_counts():
    ruler = rerank.Ruler(
        vectors=np.array([[1, 0], [0, 1], [1, 0], [0, 0]], np.float32),
        categories=np.array([[1, 2], [2, 0], [1, 0], [0, 0]]),
        taste=np.array([[0.5, 0.5], [1.0, 0.0]]),
        head=np.array([True, False, False, False]),
        years=np.array([2000.0, 1990.0, np.nan, np.nan]),
    )
    found = ruler.measure(np.array([[0, 1], [2, -1]], np.int32))
    assert found["intra_list_distance"] == pytest.approx(1.0)  # one list has a pair
    assert found["categories"] == 1.5
    q = 0.99 * np.array([0.25, 0.75]) + 0.01 * 0.5
    assert found["divergence"] == pytest.approx((0.5 * np.log(0.5 / q)).sum() / 2)
    assert found["head_share"] == pytest.approx(1 / 3)
    assert found["coverage"] == 0.75
    assert found["year"] == 1995
    assert found["items"] == 1.5
