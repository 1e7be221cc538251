import numpy as np
import pytest
from scipy.sparse import csr_matrix

from pocketrec_training.cold_start.arrival_rates import arrival_rates, recent_rates
from pocketrec_training.cold_start.content_vectors import ContentVectors, fit_vectors, histories
from pocketrec_training.data.dataset import TRAIN, Dataset, Items
from pocketrec_training.neighbours.content_features import ContentFeatures


def items(titles):
    n = len(titles)
    return Items(
        ids=[f"i{row}" for row in range(n)],
        titles=titles,
        categories=[()] * n,
        price=np.full(n, -1, np.float32),
        year=np.full(n, -1, np.float32),
    )


def dataset(titles, events):
    """(user, row, ts), by user and time."""
    users, rows, ts = np.array(events).T
    counts = np.bincount(users)
    return Dataset(
        items=items(titles),
        user_ids=[f"u{n}" for n in range(len(counts))],
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        rows=rows.astype(np.int32),
        events=np.zeros(len(rows), np.int32),
        ts=ts.astype(np.int64),
        fold=np.full(len(rows), TRAIN, np.int8),
    )


def nothing(dim):
    """An item tower to which content says nothing."""
    return lambda new: np.zeros((len(new), dim), np.float32)


def test_histories_by_hand():
    data = dataset(["a", "b", "c"], [(0, 0, 1), (0, 0, 2), (0, 2, 3), (1, 1, 1)])
    found = histories(data, np.array([1, 0])).toarray()
    np.testing.assert_allclose(found, [[0, 1, 0], [0.5**0.5, 0, 0.5**0.5]])


@pytest.mark.parametrize("form", [np.asarray, csr_matrix], ids=["dense", "sparse"])
def test_scores_that_vectors_can_give_are_met(form):
    rng = np.random.default_rng(1)
    users = rng.normal(size=(500, 6)).astype(np.float32)
    wanted = rng.normal(size=(4, 6)).astype(np.float32)
    found = fit_vectors(users, form(users @ wanted.T))
    np.testing.assert_allclose(found, wanted / 1.01, rtol=0.05)  # shrunk by a hundredth


@pytest.fixture
def lamps_sell():
    """Item 0 is there from the start; lamps arrive and sell to all, ropes to one user each."""
    titles = [
        "start",
        "red lamp",
        "blue lamp",
        "green lamp",
        "long rope",
        "thick rope",
        "thin rope",
    ]
    events = [(user, 0, 0) for user in range(30)]
    events += [(user, row, 40 + row) for user in range(30) for row in (1, 2, 3)]
    events += [(row, row, 40 + row) for row in (4, 5, 6)] + [(0, 0, 100)]
    return dataset(titles, sorted(events, key=lambda event: (event[0], event[2])))


def test_arrivals_like_those_that_sold_are_foretold_to_sell(lamps_sell):
    features = ContentFeatures(lamps_sell.items)
    fresh = features(items(["white lamp", "short rope", "zzz"]))
    lamp, rope, other = arrival_rates(lamps_sell, features(lamps_sell.items))(fresh)
    assert lamp > 0.5 > other > -0.5 > rope


def test_what_is_foretold_to_sell_is_ranked_first_for_a_user_without_a_past(lamps_sell):
    chance = np.random.default_rng(4)
    vectors = np.concatenate([chance.normal(size=(30, 3)), np.ones((30, 1))], 1).astype(np.float32)
    made = ContentVectors(
        lamps_sell,
        nothing(4),
        users=np.arange(30),
        user_vectors=vectors,
        item_vectors=chance.normal(size=(7, 4)).astype(np.float32),
    )
    lamp, rope = made(items(["white lamp", "short rope"])) @ np.array(
        [0.0, 0.0, 0.0, 1.0], np.float32
    )
    assert lamp > rope


def test_where_nothing_arrived_all_rates_are_zero():
    data = dataset(["a lamp", "a rope"], [(0, 0, 5), (0, 1, 5), (1, 0, 5)])
    features = ContentFeatures(data.items)
    rates = arrival_rates(data, features(data.items))(features(items(["lamp", "rope", "jar"])))
    assert rates.tolist() == [0.0, 0.0, 0.0]


def test_what_sells_now_is_foretold_to_sell_and_what_sold_long_ago_is_not():
    day = 86_400
    titles = ["red lamp", "blue lamp", "long rope", "thick rope", "plain box"]
    events = [(user, 2 + user % 2, 0) for user in range(20)]  # ropes, half a year ago
    events += [(user, user % 2, 180 * day) for user in range(10)]
    data = dataset(titles, sorted(events))
    features = ContentFeatures(data.items)
    lamp, rope = recent_rates(data, features(data.items))(features(items(["lamp", "rope"])))
    assert lamp > 0.5 > rope


def test_an_event_of_thirty_days_ago_counts_half():
    # One item with an event now, one with two of 30 days ago: both have sold one, so no content
    # tells anything and all rates are nearly zero.
    data = dataset(["lamp", "rope"], [(0, 1, 0), (1, 1, 0), (2, 0, 30 * 86_400)])
    features = ContentFeatures(data.items)
    rates = recent_rates(data, features(data.items))(features(items(["lamp", "rope"])))
    np.testing.assert_allclose(rates, 0, atol=1e-3)


@pytest.fixture
def world():
    """Users like lamps or ropes, and their vectors say so; nothing arrives late."""
    rng = np.random.default_rng(2)
    words = ["lamp", "rope"] * 20
    data = dataset(
        [f"{word} {rng.integers(1000)}" for word in words],
        [
            (user, row, 5)
            for user in range(100)
            for row in sorted(rng.permutation(20)[:6] * 2 + user % 2)
        ],
    )
    users = np.arange(100)
    kind = np.where(users % 2, -1.0, 1.0)
    vectors = np.stack([kind, np.ones(100), 0.1 * rng.normal(size=100)], 1).astype(np.float32)
    known = rng.normal(size=(40, 3)).astype(np.float32)
    return data, users, vectors, known


@pytest.fixture
def made(world):
    data, users, vectors, known = world
    return ContentVectors(data, nothing(3), users=users, user_vectors=vectors, item_vectors=known)


def test_a_user_is_shown_new_items_like_those_taken(world, made):
    _, _, vectors, _ = world
    scores = vectors @ made(items(["lamp stand", "rope ladder"])).T
    assert (scores[::2, 0] > scores[::2, 1]).all()
    assert (scores[1::2, 1] > scores[1::2, 0]).all()


def test_a_vector_does_not_depend_on_what_else_arrives(made):
    both = made(items(["lamp stand", "rope ladder", "jar"]))
    one = made(items(["lamp stand"]))
    np.testing.assert_allclose(one[0], both[0], rtol=1e-4, atol=1e-5)


def test_blocks_of_items_change_nothing(made, monkeypatch):
    new = items(["lamp stand", "rope ladder", "jar"])
    whole = made(new)
    monkeypatch.setattr("pocketrec_training.cold_start.content_vectors._BLOCK", 2)
    np.testing.assert_allclose(made(new), whole, rtol=1e-5)


def test_the_item_tower_is_one_part_of_the_sum(world, made):
    data, users, vectors, known = world
    towards = np.array([1.0, 2.0, 3.0], np.float32)

    def tower(new):
        return np.array([towards * ("lamp" in title) for title in new.titles], np.float32)

    with_tower = ContentVectors(data, tower, users=users, user_vectors=vectors, item_vectors=known)
    apart = made(items(["lamp stand", "rope ladder"]))
    found = with_tower(items(["lamp stand", "rope ladder"]))
    # All parts share one factor, which the other item shows: the tower has nothing for it.
    factor = found[1] @ apart[1] / (apart[1] @ apart[1])
    np.testing.assert_allclose(found[1], factor * apart[1], rtol=1e-3, atol=1e-5)
    added = found[0] - factor * apart[0]
    assert added[0] > 0.1
    np.testing.assert_allclose(added, added[0] * towards, rtol=1e-3)


def spread(scores):
    return (scores - scores.mean(axis=1, keepdims=True)).std()


def test_scores_of_items_as_if_new_spread_no_more_than_those_of_known_items(world, made):
    """Else one like of a new item outweighs a user's history (and it would fill or miss slates)."""
    _, _, vectors, known = world
    twins = made.of_known(np.arange(40))
    assert spread(vectors @ twins.T) == pytest.approx(spread(vectors @ known.T), rel=1e-3)


def test_a_part_that_says_little_is_not_blown_up(world):
    """Titles that nobody shares: what is left is noise, and stays small."""
    data, users, vectors, known = world
    blank = dataset(
        [f"i{n}" for n in range(40)],
        list(zip(data.event_users.tolist(), data.rows.tolist(), data.ts.tolist(), strict=True)),
    )
    made = ContentVectors(blank, nothing(3), users=users, user_vectors=vectors, item_vectors=known)
    assert spread(vectors @ made.of_known(np.arange(40)).T) < 0.1 * spread(vectors @ known.T)


def test_directions_in_which_no_known_item_differs_are_left_out(world):
    """The user tower never saw such a vector, so what it makes of one is arbitrary."""
    data, users, vectors, known = world
    flat = known.copy()
    flat[:, 2] = 0.5
    made = ContentVectors(data, nothing(3), users=users, user_vectors=vectors, item_vectors=flat)
    found = made(items(["lamp stand", "rope ladder"]))
    assert np.abs(found[:, 2]).max() < 1e-3 * np.abs(found).max()


def test_a_known_item_borrows_from_others_only_when_it_stands_for_a_new_one(world, made):
    """As a new item, one of 20 lamps is what a new lamp of that title is, but for its own loan."""
    data, _, _, known = world
    twin = made.of_known(np.array([4]))[0]
    copy = made(data.items.pick([4]))[0]
    assert not np.allclose(twin, copy)
    # The copy borrows from the item itself, too, so it lies nearer to its vector.
    assert (copy - twin) @ (known[4] - twin) > 0


def test_no_new_items(made):
    assert made(items([])).shape == (0, 3)
    assert made.of_known(np.zeros(0, np.int64)).shape == (0, 3)
