"""The same items in either format version, and what a release leaves of the one before."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_bundle.encoding.array_checks import expect_rising
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.items.items import ItemArrays
from pocketrec_bundle.versions import item_files, open_items

N_CATEGORIES = 4


class Release(dict):
    """Array files by name."""

    def array(self, name):
        return self[name]

    def lists(self, name):
        return name in self


def spec_for(items: ItemArrays) -> FeatureSpec:
    return FeatureSpec(
        dim=4,
        max_history=3,
        event_types=("like",),
        categories=tuple(f"c{i}" for i in range(N_CATEGORIES)),
        max_categories=items.categories.shape[1],
        heads=("engage",),
        head_weights=(1.0,),
        candidates=4,
    )


def in_rows(ids, cells, seed, n_cells=5) -> ItemArrays:
    """Items in row order, their columns drawn from few values."""
    rng = np.random.default_rng(seed)
    n = len(ids)
    order = sorted(range(n), key=lambda i: (cells[i], ids[i]))
    ids = [ids[i] for i in order]
    counts = np.bincount(np.array(cells, np.int64), minlength=n_cells)
    return ItemArrays(
        ids=ids,
        by_id=np.array(sorted(range(n), key=ids.__getitem__), np.int64),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        scales=rng.choice(np.array([0.25, 0.5], np.float32), n),
        categories=rng.integers(0, N_CATEGORIES + 1, (n, 2)).astype(np.uint16),
        numeric=rng.choice(np.array([-1, 0.0, -0.0, 2.5], np.float32), (n, 3)),
        available=rng.random(n) < 0.8,
    )


IDS = st.sets(st.text("abé€-1", max_size=6), max_size=60).map(sorted)


@settings(deadline=None)
@given(IDS, st.data(), st.integers(0, 99))
def test_both_versions_give_back_the_same_items(ids, data, seed):
    cells = data.draw(st.lists(st.integers(0, 4), min_size=len(ids), max_size=len(ids)))
    items = in_rows(ids, cells, seed)
    expect_rising("offsets", items.offsets, len(ids))
    for version in (1, 2):
        files = Release(item_files(version, items))
        found = open_items(version, files, spec_for(items), items.offsets)
        assert found.ids.all() == items.ids
        assert [found.ids.at(row) for row in range(len(ids))] == items.ids
        assert [found.ids.row_of(one) for one in items.ids] == list(range(len(ids)))
        assert found.ids.row_of("no such id") == -1
        for name in ("scales", "categories", "numeric", "available"):
            column, wanted = getattr(found, name), getattr(items, name)
            assert column[:].tobytes() == wanted.tobytes()
            assert column[:].dtype == wanted.dtype
            at = np.arange(len(ids))[::-2]
            assert column[at].tobytes() == wanted[at].tobytes()


@pytest.mark.parametrize("version", [1, 2])
def test_equal_items_give_equal_files(version):
    one, two = (in_rows([f"{i}" for i in range(300)], [i % 5 for i in range(300)], 3) for _ in "12")
    first, second = item_files(version, one), item_files(version, two)
    assert first.keys() == second.keys()
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_codes_keep_their_meaning_in_the_release_that_follows():
    n = 2000
    ids, cells = [f"item-{i:05}" for i in range(n)], [i * 7 % 5 for i in range(n)]
    before = in_rows(ids, cells, 3)
    prices = np.sort(np.random.default_rng(1).permutation(9000)[:60]).astype(np.float32)
    numeric = before.numeric.copy()
    numeric[:, 2] = prices[np.arange(n) % 60]
    before = dataclasses.replace(before, numeric=numeric)
    base = Release(item_files(2, before))
    changed = numeric.copy()
    changed[5, 2] = prices[0] + 0.5  # would be the second of all prices, were they sorted anew
    after = item_files(2, dataclasses.replace(before, numeric=changed), base)
    name = "items/numeric.2"
    assert np.flatnonzero(after[f"{name}.codes"] != base[f"{name}.codes"]).tolist() == [5]
    assert after[f"{name}.values"].tolist() == [*base[f"{name}.values"], prices[0] + 0.5]
    same = [key for key in base if not key.startswith(name)]
    assert all(after[key].tobytes() == base[key].tobytes() for key in same)


def test_items_of_the_second_version_take_less():
    n = 5000
    items = in_rows([f"item-{i:07}" for i in range(n)], [i * 3 % 5 for i in range(n)], 1)
    one, two = (
        sum(array.nbytes for array in item_files(version, items).values()) for version in (1, 2)
    )
    assert two < 0.25 * one
