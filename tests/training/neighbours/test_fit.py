"""The fit of item neighbours: against a dense least-squares solution, and on the training fold."""

import dataclasses

import numpy as np
import pytest

from pocketrec_training.baselines.ease import ease_weights
from pocketrec_training.data.dataset import TRAIN
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.neighbours.fit import (
    MOST_ITEMS,
    fit_neighbours,
    load_neighbours,
    next_item_weights,
    save_neighbours,
    strongest,
)
from pocketrec_training.recipe.schema import NeighboursConfig


def dense_next(data, decay, l2):
    """The same ridge regression from explicit rows, one event at a time."""
    n = len(data.items)
    past, following = [], []
    for user in range(data.n_users):
        start, stop = data.offsets[user], data.offsets[user + 1]
        rows = data.rows[start:stop][data.fold[start:stop] == TRAIN]
        for at in range(1, len(rows)):
            line = np.zeros(n)
            for back in range(1, at + 1):
                if decay ** (back - 1) >= 0.02:
                    line[rows[at - back]] += decay ** (back - 1)
            past.append(line)
            following.append(np.eye(n)[rows[at]])
    x, y = np.array(past), np.array(following)
    top = np.vstack([x, np.sqrt(l2) * np.eye(n)])
    return np.linalg.lstsq(top, np.vstack([y, np.zeros((n, n))]), rcond=None)[0]


@pytest.mark.parametrize("decay", [0.0, 0.6])
def test_weights_are_those_of_least_squares(world, decay):
    _, _, data = world
    found = next_item_weights(data, decay, 3.0)
    assert found == pytest.approx(dense_next(data, decay, 3.0), abs=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_dropout_is_that_of_many_drawn_histories(world, dropout):
    """Ridge regression of each item on histories with items left out at random, many times over."""
    _, _, data = world
    n, l2, draws = len(data.items), 3.0, 400
    taken = np.zeros((data.n_users, n))
    trained = data.fold == TRAIN
    taken[data.event_users[trained], data.rows[trained]] = 1
    rng = np.random.default_rng(0)
    gram, right = np.zeros((n, n)), np.zeros((n, n))
    for _ in range(draws if dropout else 1):
        seen = taken * (rng.random(taken.shape) >= dropout) / (1 - dropout)
        gram += seen.T @ seen
        right += seen.T @ taken
    gram, right = gram / (draws if dropout else 1), right / (draws if dropout else 1)
    wanted = np.zeros((n, n))
    for item in range(n):
        others = np.arange(n) != item
        left = gram[np.ix_(others, others)] + l2 * np.eye(n - 1)
        wanted[others, item] = np.linalg.solve(left, right[others, item])
    found = ease_weights(data, l2, dropout)
    assert found == pytest.approx(wanted, abs=0.02 if dropout else 1e-5)


def test_the_walk_along_the_ring_is_found(world):
    """Users go one or two items on, so these two neighbours outweigh all others."""
    _, _, data = world
    neighbours = fit_neighbours(NeighboursConfig(per_item=2, l2=3.0, decay=0.3), data)
    assert neighbours is not None
    n = len(data.items)
    right = [set(rows) == {(i + 1) % n, (i + 2) % n} for i, rows in enumerate(neighbours.rows)]
    assert np.mean(right) > 0.9


@pytest.mark.parametrize("kind", ["next", "together"])
def test_held_out_events_do_not_count(world, kind):
    _, _, data = world
    rows = data.rows.copy()
    rows[data.fold != TRAIN] = 0
    config = NeighboursConfig(kind=kind, per_item=3)
    one, two = (
        fit_neighbours(config, each) for each in (data, dataclasses.replace(data, rows=rows))
    )
    assert one is not None and two is not None
    assert (one.rows == two.rows).all()
    assert (one.weights == two.weights).all()


def test_the_largest_weights_of_either_sign_are_kept_within_half_a_step():
    weights = np.random.default_rng(0).normal(size=(30, 30)).astype(np.float32)
    found = strongest(weights, 5)
    kept = np.take_along_axis(weights, found.rows, axis=1)
    assert np.abs(kept).min(axis=1) == pytest.approx(np.sort(np.abs(weights), axis=1)[:, -5])
    error = np.abs(found.weights * found.scales[:, None] - kept)
    assert (error <= found.scales[:, None] * 0.501).all()
    assert (np.diff(found.rows, axis=1) > 0).all()


def test_a_row_of_zeros_has_no_say():
    found = strongest(np.zeros((4, 4), np.float32), 2)
    assert not found.weights.any()
    assert (found.scales == 1).all()


def test_a_file_gives_back_what_was_written(world, tmp_path):
    _, _, data = world
    neighbours = fit_neighbours(NeighboursConfig(per_item=3), data)
    assert neighbours is not None
    save_neighbours(tmp_path / "n.npz", neighbours)
    again = load_neighbours(tmp_path / "n.npz")
    for name in ("rows", "weights", "scales"):
        assert (getattr(neighbours, name) == getattr(again, name)).all()


def test_none_are_made_unless_asked_for_and_too_many_items_are_refused(world):
    _, _, data = world
    assert fit_neighbours(NeighboursConfig(), data) is None
    many = dataclasses.replace(data.items, ids=["x"] * (MOST_ITEMS + 1))
    with pytest.raises(RunInvalidError, match="per_item = 0"):
        fit_neighbours(NeighboursConfig(per_item=1), dataclasses.replace(data, items=many))
