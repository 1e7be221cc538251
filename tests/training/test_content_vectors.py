import numpy as np
import pytest
from scipy.sparse import csr_matrix

from training.content_features import ContentFeatures
from training.content_rates import arrival_rates, recent_rates
from training.content_vectors import content_vectors, fit_vectors, histories
from training.dataset import TRAIN, Dataset, Items


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
    found = content_vectors(
        lamps_sell,
        items(["white lamp", "short rope"]),
        np.zeros((2, 4), np.float32),
        users=np.arange(30),
        user_vectors=vectors,
        item_vectors=chance.normal(size=(7, 4)).astype(np.float32),
    )
    lamp, rope = found @ np.array([0.0, 0.0, 0.0, 1.0], np.float32)
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


def test_a_user_is_shown_new_items_like_those_taken(world):
    data, users, vectors, known = world
    new = items(["lamp stand", "rope ladder"])
    own = np.zeros((2, 3), np.float32)
    found = content_vectors(data, new, own, users=users, user_vectors=vectors, item_vectors=known)
    scores = vectors @ found.T
    assert (scores[::2, 0] > scores[::2, 1]).all()
    assert (scores[1::2, 1] > scores[1::2, 0]).all()


def test_a_vector_does_not_depend_on_what_else_arrives(world):
    data, users, vectors, known = world
    own = np.ones((3, 3), np.float32)
    given = {"users": users, "user_vectors": vectors, "item_vectors": known}
    both = content_vectors(data, items(["lamp stand", "rope ladder", "jar"]), own, **given)
    one = content_vectors(data, items(["lamp stand"]), own[:1], **given)
    np.testing.assert_allclose(one[0], both[0], rtol=1e-4, atol=1e-5)


def test_blocks_of_items_change_nothing(world, monkeypatch):
    data, users, vectors, known = world
    new, own = items(["lamp stand", "rope ladder", "jar"]), np.ones((3, 3), np.float32)
    given = {"users": users, "user_vectors": vectors, "item_vectors": known}
    whole = content_vectors(data, new, own, **given)
    monkeypatch.setattr("training.content_vectors._BLOCK", 2)
    np.testing.assert_allclose(content_vectors(data, new, own, **given), whole, rtol=1e-5)


def test_the_item_tower_is_added_to(world):
    data, users, vectors, known = world
    given = {"users": users, "user_vectors": vectors, "item_vectors": known}
    new, own = items(["lamp stand"]), np.array([[1.0, 2.0, 3.0]], np.float32)
    with_own = content_vectors(data, new, own, **given)
    without = content_vectors(data, new, 0 * own, **given)
    np.testing.assert_allclose(with_own - without, own, rtol=1e-4)


def test_no_new_items(world):
    data, users, vectors, known = world
    found = content_vectors(
        data,
        items([]),
        np.zeros((0, 3), np.float32),
        users=users,
        user_vectors=vectors,
        item_vectors=known,
    )
    assert found.shape == (0, 3)
