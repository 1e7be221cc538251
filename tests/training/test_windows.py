from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.dataset import TEST, TRAIN, VALID, Dataset, Items
from training.windows import (
    basket_firsts,
    batch_lengths,
    batches,
    cut,
    gather_windows,
    shuffled_baskets,
)


def made(lengths, held_out=2):
    """Users with so many events each; the last ones are held out; row = position in the table."""
    n = sum(lengths)
    fold = np.full(n, TRAIN, np.int8)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    for end, length in zip(offsets[1:], lengths, strict=True):
        if length > held_out:
            fold[end - held_out : end] = [VALID, TEST][:held_out]
    items = Items(
        ids=[str(i) for i in range(n)],
        titles=[""] * n,
        categories=[()] * n,
        price=np.zeros(n, np.float32),
        year=np.zeros(n, np.float32),
    )
    return Dataset(
        items=items,
        user_ids=[str(u) for u in range(len(lengths))],
        offsets=offsets,
        rows=np.arange(n, dtype=np.int32),
        events=(np.arange(n) % 2).astype(np.int32),
        ts=1000 + 10 * np.arange(n, dtype=np.int64),
        fold=fold,
    )


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(2, 12), st.integers(0, 1000)
)
def test_windows_cover_training_events_once_and_nothing_else(lengths, longest, seed):
    data = made(lengths)
    starts, stops = cut(data, longest, np.random.default_rng(seed))
    assert ((stops - starts >= 2) & (stops - starts <= longest)).all()
    covered = np.zeros(len(data.rows), int)
    for start, stop in zip(starts, stops, strict=True):
        covered[start:stop] += 1
    assert covered.max(initial=0) <= 1
    assert (covered[data.fold != TRAIN] == 0).all()
    for user in range(data.n_users):
        first = int(data.offsets[user])
        n = int((data.fold[first : int(data.offsets[user + 1])] == TRAIN).sum())
        # A cut may leave one event alone, which predicts nothing; the last L are always there.
        assert covered[first : first + n].sum() >= n - 2 or n < 2
        if n > 1:
            assert covered[first + max(0, n - longest) : first + n].all()


def test_a_window_is_left_aligned_and_its_ages_count_from_its_last_event():
    data = made([5, 3])
    found = gather_windows(data, np.array([5, 0, 0]), np.array([8, 2, 0]), 4)
    assert found.rows.tolist() == [[5, 6, 7, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert found.real.tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert found.events.tolist() == [[2, 1, 2, 0], [1, 2, 0, 0], [0, 0, 0, 0]]
    assert found.ages_s.tolist() == [[20, 10, 0, 0], [10, 0, 0, 0], [0, 0, 0, 0]]


def test_batches_hold_every_window_and_few_shapes():
    data = made([3, 4, 90, 200, 75, 8, 9] * 3)
    seen = []
    shapes = set()
    for part in batches(data, 100, 2, np.random.default_rng(1)):
        shapes.add(part.rows.shape)
        seen += part.rows[part.real > 0].tolist()
    assert shapes <= {(2 * 100 // length, length) for length in batch_lengths(100)}
    assert batch_lengths(100) == [20, 40, 60, 80, 100]
    assert len(seen) == len(set(seen))
    starts, stops = cut(data, 100, np.random.default_rng(1))
    assert len(seen) == (stops - starts).sum()


def test_a_basket_is_asked_for_at_its_start_and_weighs_as_one():
    data = replace(made([4, 3]), ts=np.array([10, 10, 20, 20, 20, 20, 30], np.int64))
    firsts = basket_firsts(data)
    assert firsts.tolist() == [0, 0, 2, 2, 4, 4, 6]  # a basket ends where the user does
    found = gather_windows(data, np.array([0, 4, 1]), np.array([4, 7, 3]), 4, firsts=firsts)
    assert found.asked.tolist() == [[0, 0, 2, 2], [0, 0, 2, 0], [0, 1, 0, 0]]
    assert found.weights.tolist() == [[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 1, 0], [0.5, 0.5, 0, 0]]
    plain = gather_windows(data, np.array([0]), np.array([3]), 4)
    assert plain.asked.tolist() == [[0, 1, 2, 0]]
    assert plain.weights.tolist() == [[1, 1, 1, 0]]


def test_shuffling_keeps_every_event_in_its_basket():
    data = replace(made([40, 30]), ts=np.repeat(np.arange(14, dtype=np.int64), 5))
    found = shuffled_baskets(data, np.random.default_rng(2))
    assert found.rows.tolist() != data.rows.tolist()
    assert np.sort(found.rows.reshape(14, 5), axis=1).ravel().tolist() == data.rows.tolist()
    assert (found.events == found.rows % 2).all()
