"""The benchmark's small twin: films of four kinds, released one after another."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.harness import Options, document
from benchmarks.quality import cold
from benchmarks.support.cold_start import likes as cold_likes
from benchmarks.support.cold_start import scores as cold_scores
from benchmarks.support.cold_start import split as cold_split
from benchmarks.support.cold_start import title_similarity
from benchmarks.support.cold_start import votes as cold_votes
from pocketrec_bundle.declared import Feature, FittedFeature, FittedFeatures
from pocketrec_bundle.errors import InputError
from pocketrec_training.data.dataset import VALID
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.recipe.load import load_recipe

RECIPE = """
name = "twin"
seed = 3
[data]
dataset = "movietweetings"
[columns]
title = "title"
categories = "genres"
year = "year"
[events]
types = ["rating"]
[retrieval]
dim = 16
blocks = 1
heads = 1
max_history = 10
dropout = 0.1
learning_rate = 0.01
id_dropout = 0.5
title_buckets = 256
epochs = 10
batch = 16
[ranker]
heads = ["engage"]
head_weights = [1.0]
"""
KINDS = {"War": "battle guns", "Love": "kiss rose", "Space": "star ship", "Crime": "night police"}
N_FILMS, END = 160, 1000
CUT = 0.6


def write_raw(folder):
    """Film n of kind n % 4 comes out at 6 n; each user watches one kind, the latest the most."""
    chance = np.random.default_rng(1)
    kinds = list(KINDS)
    films = []
    for n in range(N_FILMS):
        words = KINDS[kinds[n % 4]].split()
        films.append(
            f"{n:04d}::The {words[n // 4 % 2]} {chance.integers(99)} (2013)::{kinds[n % 4]}"
        )
    lines = set()
    for user in range(150):
        kind = int(chance.integers(4))
        for moment in sorted(chance.integers(30, END, 16)):
            out = [n for n in range(kind, N_FILMS, 4) if 6 * n <= moment]
            film = out[-1 - min(int(chance.geometric(0.2)) - 1, len(out) - 1)]
            lines.add(f"{user}::{film:04d}::8::{1_300_000_000 + moment}")
    folder.mkdir()
    (folder / "movies.dat").write_text("\n".join(films) + "\n")
    (folder / "ratings.dat").write_text("\n".join(sorted(lines)) + "\n")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cold")
    write_raw(folder / "films")
    (folder / "twin.toml").write_text(RECIPE)
    return cold.Shop(
        key="movies",
        title="Twin",
        recipe=folder / "twin.toml",
        folder="films",
        cut=CUT,
        earlier_cut=0.4,
    )


@pytest.fixture(scope="module")
def case(shop):
    recipe = load_recipe(shop.recipe)
    folder = shop.recipe.parent
    build_tables(recipe, folder / "tables", folder / "films")
    return cold_split.split(recipe, folder / "tables", folder / "split", cut=CUT, end=1.0, seed=1)


def test_nothing_after_the_cut_is_known(case, shop):
    events = [
        line.split("::") for line in (shop.recipe.parent / "films/ratings.dat").read_text().split()
    ]
    before = {film for _, film, _, ts in events if int(ts) <= case.cut_utc}
    after = {film for _, film, _, ts in events if int(ts) > case.cut_utc} - before
    assert set(case.known.items.ids) == before
    assert set(case.new.ids) == after
    assert case.known.ts.max() <= case.cut_utc
    assert len(case.known.ts) == sum(int(ts) <= case.cut_utc for *_, ts in events)
    assert abs(len(case.known.ts) / len(events) - CUT) < 0.02
    for user, new, known in zip(case.users, case.new_taken, case.known_taken, strict=True):
        mine = {film for u, film, *_ in events if u == case.known.user_ids[user]}
        old = {
            film
            for u, film, _, ts in events
            if u == case.known.user_ids[user] and int(ts) <= case.cut_utc
        }
        assert {case.new.ids[row] for row in new} == mine & after
        assert {case.known.items.ids[row] for row in known} == (mine & before) - old


def test_a_lot_that_is_held_out_never_happened_before_the_cut(case, shop):
    folder = shop.recipe.parent
    held = cold_split.split(
        load_recipe(shop.recipe), folder / "tables", folder / "lot", cut=CUT, end=1.0, seed=1, lot=2
    )
    lot = {film for film in case.known.items.ids if cold_split.lot_of(film) == 2}
    assert 0.05 < len(lot) / len(case.known.items.ids) < 0.4
    assert set(held.new.ids) == lot
    assert set(held.known.items.ids) == set(case.known.items.ids) - lot
    events = [line.split("::") for line in (folder / "films/ratings.dat").read_text().split()]
    before = [(user, film) for user, film, _, ts in events if int(ts) <= held.cut_utc]
    assert len(held.known.ts) == sum(film not in lot for _, film in before)
    for user, new, known in zip(held.users, held.new_taken, held.known_taken, strict=True):
        name = held.known.user_ids[user]
        first = {film for u, film, *_ in events if u == name} - {f for u, f in before if u == name}
        assert {held.new.ids[row] for row in new} == first & lot
        assert {held.known.items.ids[row] for row in known} == first & set(held.known.items.ids)


def test_a_sequel_is_the_next_known_film_after_the_first_new_one(case, shop):
    recipe = load_recipe(shop.recipe)
    found = cold_likes.sequels(case, shop.recipe.parent / "tables", recipe.events.types)
    assert len(found) > 20
    raw = (shop.recipe.parent / "films/ratings.dat").read_text().split()
    events = {(u, film, int(ts)) for u, film, _, ts in (line.split("::") for line in raw)}
    for each in found:
        new, wanted = case.new.ids[each.new_row], case.known.items.ids[each.wanted]
        had = [case.known.items.ids[row] for row in each.history.rows]
        own = {*zip(had, each.history.ts.tolist(), strict=True)}
        own |= {(new, each.ts), (wanted, each.now_utc)}
        (user,) = (u for u in case.known.user_ids if all((u, *event) in events for event in own))
        later = {(f, ts) for u, f, ts in events if u == user and ts > case.cut_utc}
        assert min(ts for f, ts in later if f in case.new.ids) == each.ts
        # The history has all known films up to then, and the next one that it lacks is wanted.
        known = {(f, ts) for f, ts in later if f in case.known.items.ids}
        assert {f for f, ts in known if ts < each.ts} <= {*had}
        assert max(each.history.ts) <= each.ts < each.now_utc
        lacking = [ts for f, ts in known if ts > each.ts and f not in had]
        assert min(lacking) == each.now_utc


def test_one_user_in_ten_gives_a_validation_event(case):
    held_out = case.known.held_out(VALID)
    assert len(held_out) == pytest.approx(0.1 * len(case.known.user_ids), abs=2)
    for user, at in held_out:
        assert at == case.known.offsets[user + 1] - case.known.offsets[user] - 1


def test_a_cut_with_nothing_new_is_refused(case, shop):
    folder = shop.recipe.parent
    with pytest.raises(InputError, match="nobody known before the cut"):
        cold_split.split(
            load_recipe(shop.recipe),
            folder / "tables",
            folder / "none",
            cut=0.999,
            end=1.0,
            seed=1,
        )


def test_a_cut_before_anybody_has_a_history_is_refused(case, shop):
    folder = shop.recipe.parent
    with pytest.raises(InputError, match="none can be kept for validation"):
        cold_split.split(
            load_recipe(shop.recipe),
            folder / "tables",
            folder / "early",
            cut=0.002,
            end=1.0,
            seed=1,
        )


def test_title_similarity_finds_the_kind(case):
    wanted = [case.new_taken[at] for at in case.takers]
    for variant in title_similarity.variants(case.known.items):
        scores = title_similarity.scores(case, variant)
        assert scores.shape == (len(case.takers), len(case.new))
        found = cold_scores.recall_at(scores, wanted, 15).mean()
        assert found > 1.5 * 15 / len(case.new), str(variant)


def test_declared_vectors_and_texts_reach_the_peer(case):
    """A vector of the kind, and a text with the words of the title, find what titles find."""
    declared = FittedFeatures(
        items=(
            FittedFeature(name="about", feature=Feature(kind="text", hash_buckets=8)),
            FittedFeature(name="image", feature=Feature(kind="vector", length=4)),
        )
    )

    def described(items):
        kinds = [list(KINDS).index(names[0]) for names in items.categories]
        features = {
            "about": np.array(items.titles, object),
            "image": np.eye(4, dtype=np.float32)[kinds],
        }
        blank = ["untitled"] * len(items)
        return replace(items, titles=blank, categories=[()] * len(items), features=features)

    known = replace(case.known, items=described(case.known.items))
    other = replace(case, known=known, new=described(case.new))
    wanted = [case.new_taken[at] for at in case.takers]
    variants = title_similarity.variants(known.items, declared)
    assert {each.vectors for each in variants} == {"", "and", "alone"}
    for variant in variants:
        scores = title_similarity.scores(other, variant, declared)
        found = cold_scores.recall_at(scores, wanted, 15).mean()
        assert found > 1.5 * 15 / len(case.new), str(variant)


def test_votes_find_the_kind_and_add_to_scores(case):
    wanted = [case.new_taken[at] for at in case.takers]
    voted = cold_votes.votes(case, FittedFeatures())
    assert voted.shape == (len(case.takers), len(case.new))
    assert cold_scores.recall_at(voted, wanted, 15).mean() > 1.5 * 15 / len(case.new)


def test_votes_count_half_of_the_scores_by_hand():
    scores = np.array([[0, 10], [20, 10]], np.float32)  # around the mean -5, 5 and 5, -5
    votes = np.array([[4, 0], [0, 4]], np.float32)
    assert cold_votes.with_votes(scores, votes).tolist() == [[-0.5, 0.5], [0.5, -0.5]]
    alike = np.full((2, 2), 3, np.float32)
    assert cold_votes.with_votes(scores, alike).tolist() == [[-1, 1], [1, -1]]


def test_recall_by_hand():
    scores = np.array([[5, 4, 3, 2], [1, 2, 3, 4]], np.float32)
    wanted = [np.array([0, 3]), np.array([0])]
    assert cold_scores.recall_at(scores, wanted, 2).tolist() == [0.5, 0.0]
    assert cold_scores.recall_at(scores, wanted, 9).tolist() == [1.0, 1.0]


def test_new_films_are_found_by_content_and_shown_as_often_as_expected(shop, tmp_path):
    options = Options(work=tmp_path, data=shop.recipe.parent)
    result = cold.run(options, shops=(shop,), places=10)
    found = result.figures
    assert {"recall50_movies", "random_recall50_movies", "tfidf_recall50_movies"} <= set(found)
    assert found["recall50_votes_movies"] > 2 * found["random_recall50_movies"]
    assert 0 < found["random_recall50_movies"] < 0.25
    assert found["recall50_movies"] > 2 * found["random_recall50_movies"]
    # Lifted by what the past lets expect: neither buried nor flooding.
    assert 0.3 < found["share20_movies"] / found["expected_share_movies"] < 3
    assert document(result)["name"] == "quality-cold"
    # One event with an item known by content alone moves a user as one with a known item does.
    assert found["kept_as_new_movies"] > 0.7 * found["kept_known_movies"] > 0
    assert found["follows_recall20_movies"] > 0.8 * found["follows_without_recall20_movies"] > 0
