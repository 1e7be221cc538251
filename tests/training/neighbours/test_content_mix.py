"""Weights of items of few events, by hand and for an item that nobody has taken."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from pocketrec_training.data.dataset import TRAIN
from pocketrec_training.neighbours.choose import weights_of
from pocketrec_training.neighbours.content_mix import MIN_EVENTS, content_mix, mixed
from pocketrec_training.neighbours.fit import fit_neighbours
from pocketrec_training.recipe.schema import NeighboursConfig


@pytest.fixture
def data(world):
    """Item 0 has no events and item 1 a title like it; items 2 and 3 have another title."""
    data = world[2]
    titles = [f"plain box {chr(97 + row % 26)}" for row in range(len(data.items))]
    titles[0], titles[1] = "crimson lantern", "crimson lanterns"
    items = replace(
        data.items,
        titles=titles,
        categories=[()] * len(titles),
        year=np.full(len(titles), -1, np.float32),
    )
    return replace(data, items=items, rows=np.where(data.rows == 0, 1, data.rows).astype(np.int32))


def counts(data):
    return np.bincount(data.rows[data.fold == TRAIN], minlength=len(data.items))


def test_an_item_is_itself_by_its_events_and_similar_items_by_the_rest(data):
    seen = counts(data)
    assert seen[0] == 0 and seen[1] >= MIN_EVENTS
    mix = content_mix(data, 10.0).toarray()
    assert mix.sum(axis=1) == pytest.approx(1.0)
    assert mix[0, 0] == 0 and mix[0, 1] > 0.9  # the others share hardly a letter
    n = int(seen[5])
    assert mix[5, 5] == pytest.approx(n**2 / (n**2 + 100))
    assert not mix[1:, 0].any()  # an item without events lends nothing


def test_items_of_many_events_keep_their_weights(data):
    seen = counts(data)
    mix = content_mix(data, 0.2 * seen[1]).toarray()  # 1 of 26
    assert mix[1].tolist() == np.eye(len(seen))[1].tolist()
    assert mix[0, 0] == 0


def test_without_similar_items_an_item_is_only_itself(data):
    alone = replace(data, items=replace(data.items, titles=data.items.ids))
    mix = content_mix(alone, 10.0)
    assert (mix != csr_matrix(np.eye(len(data.items), dtype=np.float32))).nnz == 0


def test_mixed_weights_by_hand():
    weights = np.array([[0, 4, 0], [2, 0, 0], [0, 0, 0]], np.float32)
    mix = csr_matrix(np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0]], np.float32))
    # The diagonal becomes 2, 4, 0: the largest weight of each column.
    # Row 2: half of rows 0 and 1, (2, 4, 0); column 2: half of columns 0 and 1, (3, 3, 3).
    found = mixed(weights, mix)
    assert found.tolist() == [[0, 4, 3], [2, 0, 3], [2, 4, 0]]


def weights(config, data):
    fitted = fit_neighbours(config, data)
    assert fitted is not None
    return weights_of(fitted).toarray()


@pytest.mark.parametrize("kind", ["next", "together", "cosine"])
def test_an_item_without_events_gets_votes_of_items_like_it(data, kind):
    config = NeighboursConfig(kind=kind, per_item=8, l2=3.0)
    plain = weights(config, data)
    assert not plain[:, 0].any() and not plain[0].any()
    found = weights(replace(config, content_events=3.0), data)
    assert found[1, 0] > 0 and found[0, 1] > 0
    assert found[1, 0] >= 0.9 * found[:, 0].max()
