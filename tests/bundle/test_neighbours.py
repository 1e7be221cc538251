import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.neighbours import Neighbours

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


@given(ITEMS, st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 5))
def test_votes_are_the_sums_over_the_history(past, decay, seed):
    neighbours = table(seed)
    found = neighbours.votes(np.array(past, np.int32), decay)
    for one, wanted in zip(found, by_hand(neighbours, past, decay), strict=True):
        assert one == pytest.approx(wanted, abs=1e-9)


@given(ITEMS, st.permutations(range(N)))
def test_another_row_order_gives_the_same_votes(past, order):
    neighbours, order = table(), np.array(order)
    new_row = np.argsort(order)
    before = neighbours.votes(np.array(past, np.int32), 0.5)
    after = neighbours.reordered(order).votes(new_row[past] if past else np.zeros(0, int), 0.5)
    for one, two in zip(before, after, strict=True):
        assert one[order] == pytest.approx(two)


def test_items_that_join_have_no_neighbours_and_change_nothing():
    neighbours = table()
    more = neighbours.extended(2)
    assert more.rows.shape == (N + 2, K)
    past = np.array([1, 4])
    assert more.votes(past, 0.5)[0][:N] == pytest.approx(neighbours.votes(past, 0.5)[0])
    assert not more.votes(np.array([N, N + 1]), 0.5)[0].any()


@given(ITEMS, st.lists(st.booleans(), min_size=N, max_size=N).filter(any), st.integers(0, 5))
def test_items_that_stay_keep_their_votes_for_each_other(past, keep, seed):
    neighbours, keep = table(seed), np.array(keep)
    past = [item for item in past if keep[item]]
    new_row = np.cumsum(keep) - 1
    fewer = neighbours.kept(keep)
    assert fewer.rows.min() >= 0
    assert fewer.rows.max() < keep.sum()
    before = neighbours.votes(np.array(past, np.int32), 0.5)
    after = fewer.votes(new_row[np.array(past, np.int32)], 0.5)
    for one, two in zip(before, after, strict=True):
        assert two == pytest.approx(one[keep])
