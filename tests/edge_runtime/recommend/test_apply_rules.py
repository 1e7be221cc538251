"""The rules together: what holds of every slate, whatever the candidates."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_bundle.features import History
from pocketrec_bundle.settings.rules import (
    BandCalibration,
    BandCap,
    CategoryCalibration,
    CategoryCap,
    Dpp,
    Exploration,
    Freshness,
    Mmr,
    NearDuplicates,
    QualityFloor,
    Rules,
)
from pocketrec_edge.answers import RuleEffect
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.recommend.rules import RequestContext, RuleCandidates, apply
from pocketrec_edge.releases.selftest import replay

NOW = 1_700_000_000
COLUMNS = ("popularity", "year", "price")
FLOOR, CAP, BAND = QualityFloor(relevance=0.2), CategoryCap(place=0, limit=2), (30.0, 60.0)
PRICE = BandCap(column="price", bounds=BAND, limit=4)
TWINS = NearDuplicates(cosine=0.9, titles=True)
SELECTING = (
    Mmr(relevance=0.6),
    Dpp(relevance=0.6),
    CategoryCalibration(weight=0.5),
    BandCalibration(column="popularity", bounds=BAND, weight=0.5),
)


def candidates_of(seed: int, n: int) -> RuleCandidates:
    rng = np.random.default_rng(seed)
    rows = rng.permutation(5 * n)[:n].astype(np.int32)
    return RuleCandidates(
        rows=rows,
        scores=rng.integers(0, 12, n).astype(np.float32),  # many ties
        vectors=rng.normal(size=(n, 6)).astype(np.float32),
        categories=rng.integers(0, 4, (n, 2)),
        numeric=rng.uniform(-20, 90, (n, 3)).astype(np.float32),
        columns=COLUMNS,
        titles=lambda asked: [f"title {row // 2}" for row in asked.tolist()],
    )


def moment_of(seed: int, **changes) -> RequestContext:
    rng = np.random.default_rng(seed)
    sound = RequestContext(
        now_utc=NOW,
        past_categories=rng.integers(0, 4, (9, 2)),
        past_numeric=rng.uniform(-20, 90, (9, 3)).astype(np.float32),
        shown=np.zeros(0, np.int32),
        shown_vectors=np.zeros((0, 6), np.float32),
    )
    return dataclasses.replace(sound, **changes)


def shuffled(found: RuleCandidates, order: np.ndarray) -> RuleCandidates:
    names = ("rows", "scores", "vectors", "categories", "numeric")
    return dataclasses.replace(found, **{name: getattr(found, name)[order] for name in names})


@pytest.mark.parametrize("selecting", SELECTING)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(1, 12), st.booleans())
@settings(deadline=None, max_examples=40)
def test_every_rule_holds_in_every_slate(selecting, seed, n, k, explores):
    fresh = Freshness(half_life_years=20.0, weight=0.2)
    last = (Exploration(epsilon=0.5, pool=8, first=1),) if explores else ()
    rules = Rules(rules=(fresh, FLOOR, TWINS, selecting, CAP, PRICE, *last), depth=30)
    found = candidates_of(seed, n)
    moment = moment_of(seed, rng=np.random.default_rng(seed))
    slate = apply(rules, found, moment, k)
    at = slate.positions
    assert len(set(at)) == len(at) == len(slate.touched) == len(slate.propensities) <= min(k, n)
    assert all(0 < p <= 1 for p in slate.propensities)
    units = found.vectors[at] / np.linalg.norm(found.vectors[at], axis=1, keepdims=True)
    assert (units @ units.T - 2 * np.eye(len(at)) < 0.9).all()
    assert len({row // 2 for row in found.rows[at].tolist()}) == len(at)
    capped = [touch for each in slate.touched for touch in each if touch.how == "capped"]
    if not capped:  # else there was nothing better left
        groups = found.categories[at, 0]
        assert max(np.bincount(groups, minlength=4)[1:], default=0) <= CAP.limit
        price = found.numeric[at, 2]
        priced = np.searchsorted(BAND, price[price >= 0], side="right")
        assert max(np.bincount(priced), default=0) <= PRICE.limit
    order = np.random.default_rng(seed).permutation(n)
    moment = dataclasses.replace(moment, rng=np.random.default_rng(seed))
    again = apply(rules, shuffled(found, order), moment, k)
    assert [int(order[i]) for i in again.positions] == at
    assert (again.touched, again.propensities) == (slate.touched, slate.propensities)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
@settings(deadline=None, max_examples=40)
def test_nothing_below_the_floor_is_shown_and_the_best_always_is(seed, n):
    found = candidates_of(seed, n)
    slate = apply(Rules(rules=(FLOOR,), depth=n), found, moment_of(seed), n)
    scores = found.scores.astype(float)
    least = scores.min() + FLOOR.relevance * (scores.max() - scores.min())
    assert set(slate.positions) == set(np.flatnonzero(scores >= least - 1e-9).tolist())


def test_without_rules_the_slate_is_the_order_of_scores_then_rows():
    found = candidates_of(4, 20)
    slate = apply(Rules(rules=(), depth=20), found, moment_of(4), 20)
    wanted = sorted(range(20), key=lambda at: (-found.scores[at], found.rows[at]))
    assert slate.positions == wanted
    assert set(slate.touched) == {()} and set(slate.propensities) == {1.0}


def test_only_the_best_of_the_depth_enter_unless_the_slate_is_longer():
    found = candidates_of(5, 30)
    assert len(apply(Rules(rules=(), depth=7), found, moment_of(5), 5).positions) == 5
    last = apply(Rules(rules=(Mmr(relevance=0.0),), depth=7), found, moment_of(5), 7).positions
    best = apply(Rules(rules=(), depth=7), found, moment_of(5), 7).positions
    assert set(last) == set(best)
    assert len(apply(Rules(rules=(), depth=7), found, moment_of(5), 9).positions) == 9


def plain(n: int, **changes) -> RuleCandidates:
    """n items of falling scores that have nothing in common."""
    made = RuleCandidates(
        rows=np.arange(n, dtype=np.int32),
        scores=np.arange(n, 0, -1).astype(np.float32),
        vectors=np.eye(n, dtype=np.float32),
        categories=np.zeros((n, 1), np.int64),
        numeric=np.full((n, 3), -1, np.float32),
        columns=COLUMNS,
        titles=lambda asked: [f"t{row}" for row in asked.tolist()],
    )
    return dataclasses.replace(made, **changes)


def test_an_item_says_what_touched_it():
    found = plain(6, categories=np.array([[1], [1], [1], [2], [2], [0]]))
    slate = apply(Rules(rules=(CategoryCap(place=0, limit=1),), depth=6), found, moment_of(0), 4)
    assert slate.positions == [0, 3, 5, 1]  # the rest is filled up in the old order
    capped = RuleEffect(rule="category_cap", how="capped", before=2, after=4)
    assert slate.touched == [(), (), (), (capped,)]
    vectors = np.eye(6, dtype=np.float32)
    vectors[1] = vectors[0]
    slate = apply(
        Rules(rules=(Mmr(relevance=0.5),), depth=6), plain(6, vectors=vectors), moment_of(0), 3
    )
    assert slate.positions == [0, 2, 3]
    assert slate.touched[1] == (RuleEffect(rule="mmr", how="moved", before=3, after=2),)


def test_an_explored_item_says_so_and_comes_from_behind_the_slate():
    rules = Rules(rules=(Exploration(epsilon=1.0, pool=4, first=2),), depth=9)
    slate = apply(rules, plain(9), moment_of(0, rng=np.random.default_rng(1)), 3)
    assert slate.positions[0] == 0 and {*slate.positions[1:]} < {3, 4, 5, 6}
    assert slate.propensities == [1.0, 0.25, 0.25]
    ((touch,), _) = slate.touched[1:]
    assert (touch.rule, touch.how, touch.after) == ("exploration", "inserted", 2)
    assert touch.before == slate.positions[1] + 1
    assert apply(rules, plain(9), moment_of(0), 3).positions == [0, 1, 2]  # no randomness given


def test_a_page_leaves_out_what_is_like_an_earlier_one():
    rules = Rules(rules=(NearDuplicates(cosine=0.9, titles=True),), depth=5)
    shown = moment_of(
        0, shown=np.array([4], np.int32), shown_vectors=np.eye(5, dtype=np.float32)[1:2]
    )
    assert apply(rules, plain(5), shown, 5).positions == [0, 2, 3]


def test_fresh_items_rise(release):
    years = np.full((4, 3), -1, np.float32)
    years[:, 1] = [1950, 1960, 2023, -1]
    rules = Rules(rules=(Freshness(half_life_years=5.0, weight=0.9),), depth=4)
    assert apply(rules, plain(4, numeric=years), moment_of(0), 4).positions == [2, 0, 1, 3]


def test_a_device_follows_the_release_s_rules(release):
    history = History(np.array([7], np.int32), np.zeros(1, np.int32), np.array([NOW - 60]))
    before = Recommender(release).recommend(Query(history, NOW))
    release.rules = Rules(rules=(CategoryCap(place=0, limit=1),), depth=50)
    device = Recommender(release)
    slate = device.recommend(Query(history, NOW, 4))
    groups = [int(release.categories[item.row][0]) for item in slate.items]
    assert len(slate.items) == 4
    assert max(groups.count(code) for code in (1, 2, 3)) == 1
    alone = device.recommend(Query(history, NOW, policy_alone=True))
    assert [item.row for item in alone.items] == [item.row for item in before.items]
    assert replay(release, "litert") == 2  # golden slates are the policy's


def test_titles_of_candidates_are_looked_up_once(release, monkeypatch):
    release.rules = Rules(rules=(NearDuplicates(cosine=2.0, titles=True),), depth=50)
    device, asked = Recommender(release), []
    look_up = release.catalogue

    def noted(rows):
        asked.append(len(rows))
        return look_up(rows)

    monkeypatch.setattr(release, "catalogue", noted)
    one, two = (device.recommend(Query(History.empty(), NOW)) for _ in range(2))
    assert one.items == two.items
    assert asked == [50]
    monkeypatch.setattr("pocketrec_edge.recommend.texts.MOST_TEXTS", 60)
    past = History(np.array([7], np.int32), np.zeros(1, np.int32), np.array([NOW - 60]))
    assert len(device.recommend(Query(past, NOW)).items) == 10  # forgets and goes on
    assert len(device._texts._known) <= 60


def test_a_device_explores_only_with_a_source_of_randomness(release):
    release.rules = Rules(rules=(Exploration(epsilon=0.5, pool=20, first=1),), depth=50)
    device, nobody = Recommender(release), History.empty()
    still = device.recommend(Query(nobody, NOW))
    assert {item.propensity for item in still.items} == {1.0}
    one, two = (
        device.recommend(Query(nobody, NOW, rng=np.random.default_rng(3))) for _ in range(2)
    )
    assert one.items == two.items != still.items
    own = {item.row for item in still.items}
    for item in one.items:
        assert item.propensity == pytest.approx(0.5 if item.row in own else 0.5 / 20)
