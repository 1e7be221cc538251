"""`neighbours.kind = "auto"`: the kind that finds what came next on validation cases."""

import dataclasses

import numpy as np
import pytest

from pocketrec_bundle.neighbours import Neighbours
from pocketrec_training.baselines import tuning
from pocketrec_training.baselines.item_matrix import together
from pocketrec_training.baselines.neighbours import cosines
from pocketrec_training.data.dataset import TRAIN, VALID, Dataset
from pocketrec_training.neighbours import choose
from pocketrec_training.neighbours.choose import choose_neighbours, weights_of
from pocketrec_training.neighbours.fit import MOST_ITEMS, neighbours_by
from pocketrec_training.recipe.schema import NeighboursConfig


@pytest.fixture(scope="module")
def auto(world):
    recipe, _, _ = world
    return dataclasses.replace(recipe, neighbours=NeighboursConfig(kind="auto", per_item=4))


def test_a_walk_along_a_ring_is_told_by_the_next_item(auto, world):
    """The last event alone tells the next one or two items, so older ones must not vote."""
    _, _, data = world
    choice = choose_neighbours(auto, data)
    assert choice is not None
    assert choice.config.kind == "next"
    assert choice.config.decay <= 0.5
    assert choice.tried["next"] > choice.tried["cosine"] + 0.1
    assert "next" in choice.sentence()


def test_test_events_do_not_decide(auto, world):
    _, _, data = world
    rows = data.rows.copy()
    rows[~np.isin(data.fold, [TRAIN, VALID])] = 0
    other = choose_neighbours(auto, dataclasses.replace(data, rows=rows))
    assert other == choose_neighbours(auto, data)


def test_a_kind_that_is_named_stays(auto, world):
    _, _, data = world
    named = dataclasses.replace(auto, neighbours=NeighboursConfig(kind="together", per_item=4))
    assert choose_neighbours(named, data) is None


def test_a_catalogue_too_large_for_the_models_gets_no_neighbours(auto, world):
    _, _, data = world
    many = dataclasses.replace(data.items, ids=["x"] * (MOST_ITEMS + 1))
    choice = choose_neighbours(auto, dataclasses.replace(data, items=many))
    assert choice is not None
    assert choice.config.per_item == 0


def test_cosines_are_shared_users_over_the_root_of_both_counts(world):
    _, _, data = world
    table = cosines(together(data)).toarray()
    users = [
        set(data.event_users[(data.rows == item) & (data.fold == TRAIN)].tolist())
        for item in range(len(data.items))
    ]
    a, b = 0, 1
    shared = len(users[a] & users[b])
    assert table[a, b] == pytest.approx(shared / np.sqrt(len(users[a]) * len(users[b])))
    assert table[a, a] == 0


def test_shrunk_cosines_count_less_with_few_shared_users(world):
    _, _, data = world
    overlap = together(data)
    plain, shrunk = cosines(overlap).toarray(), cosines(overlap, 3.0).toarray()
    shared = overlap.toarray()
    assert shrunk == pytest.approx(plain * shared / (shared + 3.0))


def test_the_kind_is_chosen_on_all_items_and_its_settings_on_the_popular_ones(
    auto, world, monkeypatch
):
    """Among the few most popular items the cut to `per_item` weights would cost nothing."""
    _, _, data = world
    monkeypatch.setattr(tuning, "TUNING_ITEMS", len(data.items) // 2)
    monkeypatch.setattr(choose, "TUNING_ITEMS", len(data.items) // 2)
    asked: list[int] = []

    def fitted(config: NeighboursConfig, data: Dataset, mix=None) -> Neighbours:
        asked.append(len(data.items))
        return neighbours_by(config, data, mix)

    monkeypatch.setattr(choose, "neighbours_by", fitted)
    choice = choose_neighbours(auto, data)
    assert choice is not None
    assert asked.count(len(data.items)) == len(choice.tried)
    assert asked.count(len(data.items) // 2) > len(choice.tried)


def test_the_sparse_matrix_has_the_weights_that_ship(world):
    _, _, data = world
    found = neighbours_by(NeighboursConfig(kind="cosine", per_item=3), data)
    dense = weights_of(found).toarray()
    assert (dense != 0).sum(axis=1).max() <= 3
    row, item = 2, found.rows[2, 1]
    assert dense[row, item] == pytest.approx(found.weights[2, 1] * found.scales[2])
