"""The demo on a small made-up twin of its data: every step, every child process, in a minute."""

import csv
import json
import random
from pathlib import Path

import pytest

from benchmarks import demo
from benchmarks.harness import Options, document
from bundle.errors import InputError

FIGURES = {
    "recall20",
    "ndcg10",
    "auc",
    "bundle_bytes",
    "p50_ms",
    "p99_ms",
    "parity_max_error",
    "train_s",
}
GENRES = ("Animation", "Children's", "Comedy", "Drama", "War")
N_USERS, N_FILMS = 60, 80
DAY_S = 86_400

RECIPE = """
name = "twin"
seed = 7
[data]
interactions = "interactions.csv"
items = "items.csv"
[columns]
user = "user"
item = "film"
timestamp = "when"
value = "stars"
item_id = "film"
title = "title"
categories = "genres"
year = "year"
[events]
like_value = 4.0
[retrieval]
dim = 16
blocks = 1
heads = 1
max_history = 10
title_buckets = 64
epochs = 2
minutes = 0.3
[ranker]
cross_layers = 1
cross_rank = 4
deep = [16]
candidates = 40
epochs = 1
minutes = 0.2
[rerank]
category_cap = 0
[export]
golden_cases = 4
"""


@pytest.fixture
def twin(tmp_path: Path) -> Path:
    """Two tables and a recipe; each user keeps to films of a favourite genre, mostly."""
    chance = random.Random(7)  # noqa: S311
    folder = tmp_path / "twin"
    folder.mkdir()
    (folder / "twin.toml").write_text(RECIPE)
    with (folder / "items.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["film", "title", "genres", "year"])
        for film in range(N_FILMS):
            genres = "|".join(sorted({GENRES[film % 5], GENRES[film % 3]}))
            rows.writerow([f"f{film}", f"Film number {film}", genres, 1950 + film % 50])
    with (folder / "interactions.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["user", "film", "when", "stars"])
        for user in range(N_USERS):
            films = sorted(range(N_FILMS), key=lambda f: chance.random() - (f % 5 == user % 5))
            for place in range(8 + user % 12):
                when = 880_000_000 + user * DAY_S + place * 600
                rows.writerow([f"u{user}", f"f{films[place]}", when, chance.randint(2, 5)])
    return folder


def test_demo_runs_end_to_end(twin: Path, tmp_path: Path, capfd):
    options = Options(work=tmp_path / "work", data=twin, seed=7)
    result = demo.run(options, recipe=twin / "twin.toml", repetitions=5)
    assert set(result.figures) >= FIGURES
    assert 0 <= result.figures["ndcg10"] <= 1
    assert 0 < result.figures["p50_ms"] <= result.figures["p99_ms"]
    assert 0 < result.figures["update_bytes"] < result.figures["sync_bytes"]
    assert result.figures["idle_bytes"] < result.figures["sync_bytes"]
    json.dumps(document(result))
    printed = capfd.readouterr().out
    assert demo.ADDED["title"] in printed
    assert "before" in printed


def test_demo_leaves_a_folder_it_did_not_write_alone(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds files that no demo wrote"):
        demo.run(Options(work=tmp_path))
    assert (tmp_path / "thesis.txt").read_text() == "mine"
