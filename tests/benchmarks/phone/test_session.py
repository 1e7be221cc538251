"""The small twin of `session`: a ring of items with categories, logs of up to nine events."""

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

from benchmarks.harness import Options, document
from benchmarks.phone import session
from benchmarks.support import session_reaction

RECIPE = """
name = "session-twin"
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
def result(tmp_path_factory, write_ring, in_process):
    folder = tmp_path_factory.mktemp("session")
    recipe = write_ring(folder, 60, RECIPE)
    kinds = ("drama", "war", "comedy|war")
    lines = [f"i{n},Film {n},{kinds[n % 3]}" for n in range(40)]
    (folder / "items.csv").write_text("\n".join(["what,title,kind", *lines]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_reaction, "LENGTHS", (0, 9))
        patch.setattr(session_reaction, "USERS", 4)
        return session.run(Options(work=folder / "work"), recipe)


def test_every_method_has_its_row(result):
    rows = {row["knows"]: row for row in result.rows if row["table"] == "cold"}
    assert len(rows) == 16
    assert rows[session.EMPTY]["change_low"] == rows[session.EMPTY]["change_high"] == 0.0
    for row in rows.values():
        assert 0 <= row["ndcg10"] <= 1
        assert row["ndcg10"] <= row["recall20"] + 1e-9  # one target a case
        change = row["ndcg10"] - rows[session.EMPTY]["ndcg10"]
        assert row["change_low"] <= change <= row["change_high"]
        assert 0 <= row["of_interest"] <= 1
    lists = rows["lists of 3 categories"]
    assert lists["of_interest"] == 1.0
    assert rows[session.EMPTY]["of_interest"] == rows["first 1 events"]["of_interest_empty"]
    assert document(result)["figures"]["ndcg10, 3 interests"] == rows["3 interests"]["ndcg10"]


def test_a_liked_item_leaves_every_slate_and_popularity_changes_by_it_alone(result):
    rows = [row for row in result.rows if row["table"] == "reaction"]
    assert [(row["history"], row["place"], row["method"]) for row in rows] == [
        (length, place, method)
        for length in (0, 9)
        for place in (1, 3, 10)
        for method in ("model", "popularity")
    ]
    for row in rows:
        assert (row["phones"], row["liked_left"]) == (4, 1.0)
        if row["method"] == "popularity":
            assert row["new"] == pytest.approx(0.1)
            assert row["ms_p50"] is None
        else:
            assert row["new"] >= 0.1 - 1e-9
            assert 0 < row["ms_p50"] <= row["ms_p99"]


def test_the_ruler_measures_what_a_hand_measures():
    ruler = session_reaction.Ruler(
        units=np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]], np.float32),
        codes=np.array([[1, 0], [2, 0], [2, 1], [0, 0]]),
    )
    found = ruler.change([0, 1, 3], [1, 2], 0)
    assert found["new"] == 0.5
    assert found["cosine_before"] == pytest.approx(-0.5)
    assert found["cosine_change"] == pytest.approx(0.3 + 0.5)
    assert (found["alike_before"], found["alike_change"]) == (0.0, 0.5)
    assert found["liked_left"] == 1.0
    assert ruler.change([0, 1], [0, 1], 0)["liked_left"] == 0.0
