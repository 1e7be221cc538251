"""Each rule as a function over arrays, beside plain loops and numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_edge.recommend.rules import reference
from pocketrec_edge.recommend.rules.caps import bands, within_cap
from pocketrec_edge.recommend.rules.relevance import YEAR_S, freshened, relevance
from pocketrec_edge.recommend.rules.removal import above_floor, distinct
from pocketrec_edge.recommend.rules.selection import calibrated, category_marks, commonest, dpp, mmr
from pocketrec_edge.recommend.rules.titles import same_words

MANY = settings(deadline=None, max_examples=60)
SEED, COUNT, SHARE = st.integers(0, 2**32 - 1), st.integers(0, 9), st.floats(0, 1)


def units_of(rng, n, dim=12):
    vectors = rng.normal(size=(n, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def values_of(rng, n):
    return np.sort(rng.random(n))[::-1].copy()


def test_relevance_is_0_to_1_and_keeps_the_order():
    assert relevance(np.array([3, 1, 2], np.float32)).tolist() == [1, 0, 0.5]
    assert relevance(np.full(2, -7, np.float32)).tolist() == [1, 1]
    assert relevance(np.zeros(0, np.float32)).tolist() == []


def test_an_item_of_one_half_life_is_half_as_new():
    years = np.array([2000.0, 1990.0, -1.0, 2050.0])
    now = 30 * YEAR_S  # the first moment of 2000
    found = freshened(np.array([1.0, 1.0, 1.0, 0.0]), years, now, 10.0, 0.5)
    assert found == pytest.approx([1.0, 0.75, 0.5, 0.5])


@given(SEED, SHARE)
@MANY
def test_no_item_below_the_floor_stays_and_none_above_goes(seed, floor):
    values = np.random.default_rng(seed).random(20)
    kept = above_floor(values, floor)
    assert (values[kept] >= floor).all()
    assert (np.delete(values, kept) < floor).all()
    assert above_floor(values[kept], floor).tolist() == list(range(len(kept)))


@given(SEED, st.integers(0, 150), st.floats(-0.5, 1.1), st.booleans())
@MANY
def test_near_duplicates_are_those_of_plain_loops(seed, n, cosine, with_titles):
    rng = np.random.default_rng(seed)
    units = units_of(rng, n, 3)
    words = ["", *(f"title {at}" for at in range(max(n // 2, 4)))]
    titles = rng.choice(words, n).tolist() if with_titles else []
    kept = distinct(units, cosine, titles)
    assert kept.tolist() == reference.distinct(units.tolist(), cosine, titles)
    again = distinct(units[kept], cosine, [titles[i] for i in kept] if titles else [])
    assert again.tolist() == list(range(len(kept)))


def test_what_an_earlier_page_showed_is_a_duplicate_too():
    units = np.eye(4, dtype=np.float32)
    kept = distinct(units, 0.9, ["a", "b", "c", ""], units[1:2], ["c", ""])
    assert kept.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("Matrix, The (1999)", "The MATRIX 1999", True),
        ("Amélie", "AMELIE!", True),
        ("Alien", "Aliens", False),
        ("Star Wars (1977)", "Star Wars (1997)", False),
        ("!!!", "", True),
    ],
)
def test_titles_of_the_same_words_are_one(one, two, same):
    assert (same_words(one) == same_words(two)) is same


@given(SEED, st.integers(0, 30), st.integers(1, 4))
@MANY
def test_caps_are_those_of_plain_loops_and_hold(seed, n, limit):
    groups = np.random.default_rng(seed).integers(0, 4, n)
    inside = within_cap(groups, limit)
    order = np.concatenate([np.flatnonzero(inside), np.flatnonzero(~inside)])
    assert order.tolist() == reference.capped(groups.tolist(), limit)
    assert max(np.bincount(groups[inside], minlength=4)[1:], default=0) <= limit
    assert inside[groups == 0].all()
    again = within_cap(groups[order], limit)
    assert again.tolist() == inside[order].tolist()


def test_a_bound_begins_a_band_and_an_unknown_value_has_none():
    found = bands(np.array([-1.0, 0.0, 9.99, 10.0, 20.0, 500.0]), (10.0, 20.0))
    assert found.tolist() == [0, 1, 1, 2, 3, 3]


@pytest.mark.parametrize(("fast", "plain"), [(mmr, reference.mmr), (dpp, reference.dpp)])
@given(SEED, COUNT, SHARE, st.integers(1, 9))
@MANY
def test_selections_are_those_of_plain_loops(fast, plain, seed, n, share, k):
    rng = np.random.default_rng(seed)
    units, values = units_of(rng, n), values_of(rng, n)
    chosen = fast(values, units, share, k).tolist()
    assert chosen == plain(values.tolist(), units.astype(float).tolist(), share, k)
    assert len(set(chosen)) == min(n, k)


@pytest.mark.parametrize("select", [mmr, dpp])
@given(SEED, st.integers(1, 30))
@MANY
def test_relevance_alone_is_the_order_as_it_was(select, seed, n):
    rng = np.random.default_rng(seed)
    assert select(values_of(rng, n), units_of(rng, n, 3), 1.0, n).tolist() == list(range(n))


@pytest.mark.parametrize("select", [mmr, dpp])
def test_diversity_alone_takes_what_is_least_like_the_first(select):
    angles = np.radians([0, 10, 170, 90])
    units = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    values = np.array([1.0, 0.9, 0.1, 0.0])
    assert select(values, units, 0.0, 2).tolist() == [0, 2]


def test_dpp_goes_on_where_no_direction_is_left():
    units = np.tile(np.array([[1, 0]], np.float32), (5, 1))
    chosen = dpp(np.linspace(1, 0, 5), units, 0.5, 5)
    assert chosen.tolist() == [0, 1, 2, 3, 4]


@given(SEED, COUNT, SHARE, st.integers(1, 9))
@MANY
def test_calibration_is_that_of_plain_loops(seed, n, weight, k):
    rng = np.random.default_rng(seed)
    marks = category_marks(rng.integers(0, 5, (n, 2)), np.arange(1, 5))
    taste = rng.integers(0, 4, 4).astype(float)
    taste = taste / max(taste.sum(), 1)
    values = values_of(rng, n)
    chosen = calibrated(values, marks, taste, weight, k).tolist()
    wanted = reference.calibrated(values.tolist(), marks.tolist(), taste.tolist(), weight, k)
    assert sorted(chosen) == sorted(set(chosen))
    if chosen != wanted:  # two items may add the same: then their marks and values do
        at = next(i for i in range(len(chosen)) if chosen[i] != wanted[i])
        one, two = chosen[at], wanted[at]
        assert gain(values, marks, taste, weight, chosen[: at + 1]) == pytest.approx(
            gain(values, marks, taste, weight, [*chosen[:at], two]), abs=1e-12
        ), (one, two)


def gain(values, marks, taste, weight, some):
    shares = 0.99 * marks[some].mean(0) + 0.01 * taste
    known = taste > 0
    far = (taste[known] * np.log(taste[known] / shares[known])).sum()
    return (1 - weight) * values[some].sum() - weight * far


def test_a_slate_calibrated_alone_has_the_shares_of_the_taste():
    codes = np.array([[1]] * 10 + [[2]] * 10)
    marks = category_marks(codes, np.array([1, 2]))
    chosen = calibrated(np.linspace(1, 0, 20), marks, np.array([0.7, 0.3]), 0.99, 10)
    assert (codes[chosen] == 2).sum() == 3
    assert calibrated(np.linspace(1, 0, 20), marks, np.zeros(2), 0.99, 10).tolist() == [*range(10)]


def test_taste_is_made_of_the_commonest_categories():
    codes, counts = commonest(np.array([[3, 0], [3, 9], [2, 1]]))
    assert (codes.tolist(), counts.tolist()) == ([1, 2, 3, 9], [1, 1, 2, 1])
    many = np.concatenate([np.arange(1, 200), [180, 190, 190]])[:, None]
    codes, counts = commonest(many)
    assert codes.tolist() == [*range(1, 127), 180, 190]
    assert counts.tolist() == [*[1] * 126, 2, 3]


def test_marks_share_an_item_between_its_categories():
    marks = category_marks(np.array([[1, 3], [2, 0], [0, 0]]), np.array([1, 2, 3]))
    assert marks.tolist() == [[0.5, 0, 0.5], [0, 1, 0], [0, 0, 0]]
    marks = category_marks(np.array([[1, 9], [9, 3]]), np.array([3, 5]))
    assert marks.tolist() == [[0, 0], [0.5, 0]]  # what is not wanted still shares
    assert category_marks(np.array([[1, 0]]), np.zeros(0, int)).shape == (1, 0)
