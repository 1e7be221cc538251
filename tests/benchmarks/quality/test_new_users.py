"""The benchmark of new users on a made-up twin: two tastes, which one event tells apart."""

import numpy as np
import pytest
from rich.console import Console

from benchmarks.harness import Options, document
from benchmarks.quality import new_users
from benchmarks.quality.new_users import LENGTHS, WHOLE, Source

DAY = 86_400
RECIPE = """
name = "new-users-twin"
[data]
interactions = "interactions.csv"
[columns]
user = "who"
item = "what"
timestamp = "when"
timestamp_unit = "s"
[events]
default = "purchase"
types = ["purchase"]
[split]
kind = "leave_last"
[retrieval]
dim = 8
blocks = 1
max_history = 20
quantize_from = 1.0
epochs = 12
batch = 16
[neighbours]
kind = "together"
per_item = 8
[ranker]
candidates = 20
neighbour_candidates = 5
epochs = 5
batch = 8
deep = [8]
heads = ["engage"]
head_weights = [1.0]
short_share = 0.5
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory, in_process):
    folder = tmp_path_factory.mktemp("twin")
    rng = np.random.default_rng(0)
    lines = ["who,what,when"]
    for user in range(80):
        half = user % 2
        for week, item in enumerate(rng.permutation(20)[:12]):
            lines.append(f"u{user},i{half * 20 + item},{week * 7 * DAY}")
    (folder / "interactions.csv").write_text("\n".join(lines))
    (folder / "twin.toml").write_text(RECIPE)
    twin = Source(key="twin", title="twin", recipe=folder / "twin.toml", folder=".")
    options = Options(work=folder / "work", data=folder)
    return new_users.run(options, (twin,), Console(width=120, record=True))


def test_every_figure_is_there(result):
    lengths = [*map(str, LENGTHS), "all"]
    assert document(result)["figures"].keys() == {
        *(f"ndcg10_{n}_twin" for n in lengths),
        *(f"without_events_{end}_twin" for end in ("low", "high")),
        *(f"lead_{peer}{end}_twin" for peer in new_users.PEERS for end in ("", "_low")),
    }
    assert all(-1 <= value <= 1 for value in result.figures.values())


def test_one_event_tells_the_taste_and_none_does_not(result):
    lines = {(row["events"], row["method"]): row["value"] for row in result.rows}
    assert lines[1, "two_stage"] > 1.3 * lines[0, "two_stage"]
    assert lines[1, "two_stage"] > 1.3 * lines[1, "popularity"]
    assert lines[0, "item_knn"] < lines[1, "item_knn"]
    assert result.figures["lead_popularity_low_twin"] > 0


def test_cases_keep_their_targets_and_lose_older_events(result):
    rows = [row for row in result.rows if row["method"] == "popularity"]
    assert {row["cases"] for row in rows} == {80}
    assert [row["events"] for row in rows] == [*LENGTHS, WHOLE]
