import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_bundle.encoding import cell_order
from pocketrec_bundle.encoding.cell_order import CellOrder
from pocketrec_bundle.errors import BundleInvalidError


def plain(cells) -> list[int]:
    """The rank of each row: ranks sorted by cell, those of one cell as they come."""
    return sorted(range(len(cells)), key=lambda rank: (cells[rank], rank))


@given(st.lists(st.integers(0, 5), max_size=80), st.integers(1, 20), st.sampled_from(["u1", "<i4"]))
def test_rank_and_row_lead_to_each_other_as_in_plain_loops(cells, stride, dtype):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell_order, "_STRIDE", stride)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=6))])
        order = CellOrder("cells", np.array(cells, dtype), offsets.astype(np.int32))
    wanted = plain(cells)
    assert order.ranks().tolist() == wanted
    assert [order.rank_of(row) for row in range(len(cells))] == wanted
    assert [order.row_of(rank) for rank in wanted] == list(range(len(cells)))


def test_over_many_strides():
    rng = np.random.default_rng(1)
    cells = rng.integers(0, 300, 40_000).astype(np.uint16)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=300))])
    order = CellOrder("cells", cells, offsets.astype(np.int32))
    ranks = order.ranks()
    for row in (0, 1, 7_777, 20_000, 39_999):
        assert order.rank_of(row) == ranks[row]
        assert order.row_of(int(ranks[row])) == row


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (np.array([0, 1, 1], np.uint8), "as often"),
        (np.array([0, 0, 2], np.uint8), "outside"),
        (np.array([0, 0, -1], np.int32), "outside"),
        (np.array([0, 0, 1], np.int8), "u1 or u2 or i4"),
        (np.array([0, 0], np.uint8), "expected"),
    ],
)
def test_cells_that_would_give_two_ranks_one_row_are_refused(cells, message):
    offsets = np.array([0, 2, 3], np.int32)
    CellOrder("cells", np.array([0, 1, 0], np.uint8), offsets)
    with pytest.raises(BundleInvalidError, match=message):
        CellOrder("cells", cells, offsets)


def test_memory_is_linear_in_items_and_cells():
    """65,000 cells of no item each must not cost ranks x cells."""
    offsets = np.zeros(65_001, np.int32)
    offsets[-1] = 200_000
    order = CellOrder("cells", np.full(200_000, 64_999, np.uint16), offsets)
    assert order._before.size <= 2 * (200_000 + 65_000) + 65_000
    assert order.rank_of(150_000) == 150_000
