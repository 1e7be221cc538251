"""The demo on a small made-up twin of its data: every step, every child process, in a minute."""

import csv
import io
import json
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import demo
from benchmarks.harness import Options, Result, document
from pocketrec_bundle.errors import InputError

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
timestamp_unit = "s"
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
quantize_from = 1.0
epochs = 2
[ranker]
cross_layers = 1
cross_rank = 4
deep = [16]
candidates = 40
epochs = 1
[rerank]
category_cap = 0
[export]
golden_cases = 4
"""


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tables and a recipe; each user keeps to films of a favourite genre, mostly."""
    chance = random.Random(7)  # noqa: S311
    folder = tmp_path_factory.mktemp("twin")
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
            liking = {film: chance.random() - (film % 5 == user % 5) for film in range(N_FILMS)}
            films = sorted(liking, key=liking.__getitem__)
            for place in range(8 + user % 12):
                when = 880_000_000 + user * DAY_S + place * 600
                rows.writerow([f"u{user}", f"f{films[place]}", when, chance.randint(2, 5)])
    return folder


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished demo."""

    work: Path
    result: Result
    printed: str


@pytest.fixture(scope="module")
def ran(twin: Path, tmp_path_factory: pytest.TempPathFactory, forked_commands) -> Ran:
    work = tmp_path_factory.mktemp("demo")
    told = io.StringIO()
    result = demo.run(
        Options(work=work, data=twin),
        recipe=twin / "twin.toml",
        repetitions=5,
        console=Console(file=told, width=120),
    )
    return Ran(work, result, told.getvalue())


def test_demo_finds_every_figure(ran: Ran):
    figures = ran.result.figures
    assert set(figures) >= FIGURES
    assert 0 <= figures["ndcg10"] <= 1
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert 0 < figures["update_bytes"] < figures["sync_bytes"]
    assert figures["idle_bytes"] < figures["update_bytes"]
    assert json.dumps(document(ran.result))


def test_demo_shows_slates_before_and_after(ran: Ran):
    assert "before" in ran.printed
    assert "likes Film number" in ran.printed
    assert f"likes {demo.ADDED['title']}" in ran.printed


def test_demo_says_for_whom_the_added_film_is_a_candidate_and_why_not(ran: Ran):
    title = demo.ADDED["title"]
    said = [line for line in ran.printed.splitlines() if f"{title} is " in line]
    users = [line for line in said if line.startswith("user ")]
    assert len(users) == 3
    for line in said:
        assert f"{title} is a candidate, " in line or (
            f"{title} is not a candidate, " in line and "films fit this history better" in line
        )
    refused = sum("is not a candidate" in line for line in users)
    # Each of these users is assumed to like films that are like it.
    assert sum("after a like of Film number" in line for line in said) >= refused
    assert f"candidate for {3 - refused} of 3 users" in ran.printed
    for name in ("kept_added", "kept_sibling"):
        assert 0 <= ran.result.figures[name] <= 10


def test_demo_ends_with_a_verdict_and_names_the_whole_table(ran: Ran):
    *_, last = ran.printed.split("verdict ")
    lines = last.strip().splitlines()[1:]
    assert [line.split()[0] for line in lines] == [
        "Quality", "Phone", "Sync", "New", "Tables", "Next",
    ]  # fmt: skip
    assert "│" not in last
    table = (ran.work / demo.TABLE).read_text()
    assert str(ran.work / demo.TABLE) in lines[4]
    assert len(ran.result.rows) > 40
    for row in ran.result.rows:
        assert str(row["what"]) in table
    assert (ran.work / "report" / "evaluation.html").is_file()


def test_demo_leaves_a_folder_it_did_not_write_alone(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds files that no demo wrote"):
        demo.run(Options(work=tmp_path))
    assert (tmp_path / "thesis.txt").read_text() == "mine"
