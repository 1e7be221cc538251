import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("duckdb", reason="needs the train extra")

from bundle.quantize import quantize_rows
from export.index_builder import build_index


def test_rows_are_scaled_by_the_next_power_of_a_32nd_of_an_octave():
    given = np.array([[127, -63.5], [0, 0], [0.5, 1], [127 * 2**0.03, 0]], np.float32)
    rows, scales = quantize_rows(given)
    steps = [0, 0, -223 / 32, 1 / 32]  # log2(1/127) * 32 = -223.6; 0.03 * 32 = 0.96
    assert scales.tolist() == pytest.approx([2**step for step in steps])
    assert rows.tolist() == [[127, -64], [0, 0], [63, 125], [127, 0]]  # half to even: 63.5 -> 64


@given(st.integers(0, 2**32 - 1), st.integers(-40, 40))
def test_a_row_uses_nearly_all_of_its_127_steps_whatever_its_size(seed, octave):
    vectors = np.random.default_rng(seed).normal(size=(20, 5)).astype(np.float32) * 2.0**octave
    rows, scales = quantize_rows(vectors)
    largest = np.abs(rows.astype(int)).max(axis=1)
    assert (largest >= 124).all()  # 127 / 2^(1/32) = 124.3
    assert (largest <= 127).all()
    assert (np.abs(rows * scales[:, None] - vectors) <= scales[:, None] * 0.50001).all()
    alone = [quantize_rows(vectors[i : i + 1]) for i in range(20)]
    assert (np.concatenate([one[0] for one in alone]) == rows).all()


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 3))
def test_every_item_is_in_one_cell_and_no_value_is_off_by_more_than_half_a_step(n, cells, seed):
    vectors = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    ids = [f"{i}" for i in range(n)]
    built = build_index(vectors, ids, cells, seed)
    assert sorted(built.order.tolist()) == list(range(n))
    assert built.offsets[0] == 0
    assert built.offsets[-1] == n
    assert (np.diff(built.offsets) >= 0).all()
    assert len(built.centroids) == min(cells, n)
    restored = built.rows * built.scales[:, None]
    assert (np.abs(restored - vectors[built.order]) <= built.scales[:, None] * 0.5001).all()


def test_clusters_apart_become_the_cells_and_ids_order_the_rows():
    centres = np.array([[10, 0], [0, 10], [-10, -10]], np.float32)
    rng = np.random.default_rng(5)
    vectors = (np.repeat(centres, 4, axis=0) + rng.normal(0, 0.1, (12, 2))).astype(np.float32)
    ids = [f"{(7 * i) % 12:02d}" for i in range(12)]
    built = build_index(vectors, ids, 3, seed=1)
    assert np.diff(built.offsets).tolist() == [4, 4, 4]
    for start in built.offsets[:-1]:
        members = built.order[start : start + 4]
        assert len(set(members // 4)) == 1
        assert [ids[m] for m in members] == sorted(ids[m] for m in members)


def test_the_order_of_the_input_does_not_matter_for_one_cell():
    vectors = np.random.default_rng(2).normal(size=(6, 3)).astype(np.float32)
    ids = list("fbdace")
    one = build_index(vectors, ids, 0, seed=1)
    two = build_index(vectors[::-1].copy(), ids[::-1], 0, seed=1)
    assert (one.rows == two.rows).all()
    assert [ids[i] for i in one.order] == list("abcdef")
