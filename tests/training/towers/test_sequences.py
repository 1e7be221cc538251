from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_training.data.dataset import TEST, TRAIN, VALID, Dataset, Items
from pocketrec_training.towers.sequences import (
    basket_firsts,
    batch_lengths,
    batch_shapes,
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


def test_batches_hold_every_window_in_the_shapes_of_the_data_set():
    data = made([3, 4, 90, 200, 75, 8, 9] * 200)
    shapes = batch_shapes(data, 100, 2)
    assert len(shapes) > 2
    expected = {(shape.windows, shape.length, shape.targets) for shape in shapes}
    for seed in (1, 2):  # old stretches are cut at other places in each epoch
        seen = []
        for part in batches(data, 100, 2, np.random.default_rng(seed)):
            assert part.shape in expected
            scored = np.zeros(part.rows.size, bool)
            scored[part.places] = True
            assert scored.sum() == len(part.places)  # no place twice
            assert scored[part.real.ravel() > 0].all()
            seen += part.rows[part.real > 0].tolist()
        assert len(seen) == len(set(seen))
        starts, stops = cut(data, 100, np.random.default_rng(seed))
        assert len(seen) == (stops - starts).sum()


def test_lengths_are_those_that_save_most_positions():
    """One length is 440,000 positions; a length 4 saves 320,000 of them, 2 then saves 20,000."""
    sizes = np.repeat([2, 3, 4, 20], [10_000, 10, 9_990, 2_000])
    assert batch_lengths(sizes) == [2, 4, 20]
    assert batch_lengths(np.repeat([1, 20], [3_000, 1])) == [1, 20]
    assert len(batch_lengths(np.repeat(np.arange(1, 200), 1_000))) == 4


def test_a_length_that_saves_little_gets_no_graph_of_its_own():
    """The short windows have 580 * 17 = 9,860 places of padding; from 10,000 on it pays."""
    assert batch_lengths(np.repeat([3, 20], [580, 5_000])) == [20]
    assert batch_lengths(np.repeat([3, 20], [590, 5_000])) == [3, 20]
    assert batch_lengths(np.array([7])) == [7]


def test_short_histories_are_not_padded_to_the_longest():
    """Padding all to 50 computed 10 times as many places as there are events."""
    data = made([4, 5, 6, 7] * 2_000 + [52])
    positions = scored = events = 0.0
    for part in batches(data, 50, 64, np.random.default_rng(0)):
        n, length, n_targets = part.shape
        positions += n * length
        scored += n_targets
        events += part.real.sum()
    assert positions < 1.5 * events
    assert scored < 1.1 * events


def test_a_batch_holds_the_events_of_so_many_windows_of_mean_length():
    data = made([4, 5, 6, 7] * 200 + [52])
    starts, stops = cut(data, 50, np.random.default_rng(0))
    wanted = 16 * (stops - starts).mean()
    found = [part.real.sum() for part in batches(data, 50, 16, np.random.default_rng(0))]
    assert max(found) <= wanted + 1
    assert np.median(found) > 0.8 * wanted
    assert len(found) == pytest.approx(len(starts) / 16, rel=0.2)


def test_data_without_a_pair_of_events_gives_no_batch():
    data = made([1, 3])  # one event in training each: it has nothing to be predicted from
    assert batch_shapes(data, 50, 64) == []
    assert list(batches(data, 50, 64, np.random.default_rng(0))) == []


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
