import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs the train extra")

from pocketrec_bundle.quantize import quantize_rows
from pocketrec_edge.recommend.index import Index, search
from pocketrec_export.items.index_builder import build_index
from pocketrec_export.items.nprobe import Probes, choose_probes

K = 40


@pytest.fixture(scope="module")
def world():
    """Items round 30 centres, users near some of them."""
    rng = np.random.default_rng(4)
    centres = rng.normal(size=(30, 8))
    items = (centres[rng.integers(0, 30, 2000)] + rng.normal(0, 0.4, (2000, 8))).astype(np.float32)
    users = (centres[rng.integers(0, 30, 25)] + rng.normal(0, 0.4, (25, 8))).astype(np.float32)
    ids = [f"i{n:04d}" for n in range(2000)]
    return build_index(items, ids, 40, seed=1), items, users


def searched(index, items, users, probes: int) -> float:
    """Share of the exact best that the device's own search finds."""
    rows, scales = quantize_rows(items[index.order])
    device = Index(index.centroids, index.offsets, rows, scales)
    nobody = np.zeros(len(items), np.bool_)
    shares = []
    for user in users:
        best = np.argsort(-(items @ user))[:K]
        found = index.order[search(device, user, K, probes, nobody)[0]]
        shares.append(len(np.intersect1d(best, found)) / K)
    return float(np.mean(shares))


@pytest.mark.parametrize("recall", [0.8, 0.9, 0.99])
def test_the_fewest_cells_that_reach_the_recall_on_the_devices_search(world, recall):
    index, items, users = world
    found = choose_probes(index, items, users, K, recall)
    assert found.recall >= recall
    assert 0 < found.probes < 40
    # The search reads on where a cell is small, and rounds to int8: both are a matter of a percent.
    assert searched(index, items, users, found.probes) >= recall - 0.02
    fewer = choose_probes(index, items, users, K, found.recall - 0.2)
    assert fewer.probes < found.probes
    assert fewer.recall < found.recall


def test_recall_of_each_number_of_cells_by_hand():
    items = np.array([[1, 0], [0.9, 0], [0, 1], [0, 0.8]], np.float32)
    index = build_index(items, ["a", "b", "c", "d"], 2, seed=1)
    users = np.array([[1, 0], [0.5, 0.48]], np.float32)  # the best two: a and b; a and c
    assert choose_probes(index, items, users, 2, 0.75) == Probes(probes=1, recall=0.75)
    assert choose_probes(index, items, users, 2, 0.76) == Probes(probes=0, recall=1.0)


@pytest.mark.parametrize(("cells", "recall"), [(1, 0.9), (40, 0.0)])
def test_one_cell_or_no_wish_reads_everything(world, cells, recall):
    _, items, users = world
    index = build_index(items, [f"i{n:04d}" for n in range(2000)], cells, seed=1)
    assert choose_probes(index, items, users, K, recall) == Probes(probes=0, recall=1.0)
