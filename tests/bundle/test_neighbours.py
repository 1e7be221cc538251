import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_bundle.neighbours import Neighbours, Votes

N, K = 6, 2
ITEMS = st.lists(st.integers(0, N - 1), max_size=12)


def table(seed: int = 0) -> Neighbours:
    rng = np.random.default_rng(seed)
    return Neighbours(
        rows=np.stack([rng.choice(N, K, replace=False) for _ in range(N)]),
        weights=rng.integers(-127, 128, (N, K)).astype(np.int8),
        scales=rng.uniform(0.001, 0.1, N).astype(np.float32),
    )


def by_hand(neighbours: Neighbours, past: list[int], decay: float):
    """The plain form: one event, one neighbour at a time."""
    plain, recent = np.zeros(N), np.zeros(N)
    for back, item in enumerate(reversed(past)):
        for row, weight in zip(neighbours.rows[item], neighbours.weights[item], strict=True):
            value = float(weight) * float(neighbours.scales[item])
            recent[row] += value * decay**back
            if item not in past[len(past) - back :]:  # its latest event
                plain[row] += value
    return plain, recent


def dense(votes: Votes, n: int = N):
    """Both votes of every row, float64 [n] each."""
    return votes.at(np.arange(n))


@given(ITEMS, st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 5))
def test_votes_are_the_sums_over_the_history(past, decay, seed):
    neighbours = table(seed)
    found = dense(neighbours.votes(np.array(past, np.int32), decay))
    for one, wanted in zip(found, by_hand(neighbours, past, decay), strict=True):
        assert one == pytest.approx(wanted, abs=1e-9)


@given(ITEMS, st.permutations(range(N)))
def test_another_row_order_gives_the_same_votes(past, order):
    neighbours, order = table(), np.array(order)
    new_row = np.argsort(order)
    before = dense(neighbours.votes(np.array(past, np.int32), 0.5))
    moved = neighbours.reordered(order)
    after = dense(moved.votes(new_row[past] if past else np.zeros(0, int), 0.5))
    for one, two in zip(before, after, strict=True):
        assert one[order] == pytest.approx(two)


def test_items_that_join_have_no_neighbours_and_change_nothing():
    neighbours = table()
    more = neighbours.extended(2)
    assert more.rows.shape == (N + 2, K)
    past = np.array([1, 4])
    assert (dense(more.votes(past, 0.5))[0] == dense(neighbours.votes(past, 0.5))[0]).all()
    assert not more.votes(np.array([N, N + 1]), 0.5).plain.any()


@given(ITEMS, st.lists(st.booleans(), min_size=N, max_size=N).filter(any), st.integers(0, 5))
def test_items_that_stay_keep_their_votes_for_each_other(past, keep, seed):
    neighbours, keep = table(seed), np.array(keep)
    past = [item for item in past if keep[item]]
    new_row = np.cumsum(keep) - 1
    fewer = neighbours.kept(keep)
    assert fewer.rows.min() >= 0
    assert fewer.rows.max() < keep.sum()
    before = dense(neighbours.votes(np.array(past, np.int32), 0.5))
    after = dense(fewer.votes(new_row[np.array(past, np.int32)], 0.5), len(fewer))
    for one, two in zip(before, after, strict=True):
        assert two == pytest.approx(one[keep])


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.sampled_from([0.0, 0.7, 0.97, 1.0]))
def test_sparse_votes_have_the_bits_of_sums_over_all_rows(seed, n_events, decay):
    rng = np.random.default_rng(seed)
    n, k = 40, 7  # few rows, so that histories repeat items and items share neighbours
    neighbours = Neighbours(
        rows=rng.integers(0, n, (n, k)).astype(np.int32),
        weights=rng.integers(-127, 128, (n, k)).astype(np.int8),
        scales=rng.uniform(0.001, 0.1, n).astype(np.float32),
    )
    past = rng.integers(0, n, n_events).astype(np.int32)
    items, at = np.unique(past[::-1], return_inverse=True)
    fading = np.bincount(at, np.power(decay, np.arange(len(at), dtype=np.float64)), len(items))
    weights = neighbours.weights[items] * neighbours.scales[items][:, None].astype(np.float64)
    rows = neighbours.rows[items].ravel()
    found = neighbours.votes(past, decay)
    plain, recent = dense(found, n)
    assert plain.tobytes() == np.bincount(rows, weights.ravel(), n).tobytes()
    wanted = np.bincount(rows, (weights * fading[:, None]).ravel(), n)
    assert recent.tobytes() == wanted.tobytes()
    assert (np.diff(found.rows) > 0).all()


def test_votes_cost_what_the_history_is_and_not_the_catalogue():
    n, k = 5_000_000, 32
    one = np.arange(k, dtype=np.int32)
    neighbours = Neighbours(
        rows=np.broadcast_to(one, (n, k)),
        weights=np.broadcast_to(np.ones(k, np.int8), (n, k)),
        scales=np.broadcast_to(np.ones(1, np.float32), n),
    )
    past = np.arange(50, dtype=np.int32)
    tracemalloc.start()
    neighbours.votes(past, 0.5).at(np.arange(1000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < n / 4  # bytes; an array of one byte an item is four times as large
