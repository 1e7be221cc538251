import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("duckdb", reason="needs the train extra")

from pocketrec_bundle import quantize
from pocketrec_bundle.quantize import quantize_rows
from pocketrec_export.items import index_builder
from pocketrec_export.items.index_builder import build_index, k_means, nearest


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


def plain_k_means(vectors, cells, seed):
    """k-means++ and Lloyd's algorithm as they are written in the books, all vectors at once."""
    rng = np.random.default_rng(seed)
    centroids = vectors[[rng.integers(len(vectors))]]
    for _ in range(1, cells):
        apart = ((vectors[:, None] - centroids) ** 2).sum(2).min(axis=1).astype(np.float64)
        drawn = rng.choice(len(vectors), 1, p=apart / apart.sum())
        centroids = np.concatenate([centroids, vectors[drawn]])
    for _ in range(20):
        cell = ((vectors[:, None] - centroids) ** 2).sum(2).argmin(axis=1)
        for c in np.unique(cell):
            centroids[c] = vectors[cell == c].astype(np.float64).mean(axis=0)
    return centroids


def spread(vectors, centroids) -> float:
    return float(((vectors - centroids[nearest(vectors, centroids)]) ** 2).sum())


@pytest.mark.parametrize("seed", range(3))
def test_few_vectors_are_clustered_as_by_the_plain_algorithm(seed):
    vectors = np.random.default_rng(seed).normal(size=(200, 4)).astype(np.float32)
    found = k_means(vectors, 12, seed)
    assert np.allclose(found, plain_k_means(vectors, 12, seed), atol=1e-4)


def test_a_sample_and_seeds_drawn_together_cluster_nearly_as_well(monkeypatch):
    rng = np.random.default_rng(4)
    centres = rng.normal(size=(40, 4)) * 5
    vectors = (centres[rng.integers(40, size=8000)] + rng.normal(size=(8000, 4))).astype(np.float32)
    whole = [spread(vectors, k_means(vectors, 40, seed)) for seed in range(4)]
    monkeypatch.setattr(index_builder, "MIN_SAMPLE", 100)
    monkeypatch.setattr(index_builder, "_SEED_DISTANCES", 40 * 2560 // 4)
    sampled = [k_means(vectors, 40, seed) for seed in range(4)]
    assert np.mean([spread(vectors, each) for each in sampled]) < 1.1 * np.mean(whole)
    assert (sampled[1] == k_means(vectors, 40, 1)).all()


def test_equal_vectors_make_cells_too(monkeypatch):
    monkeypatch.setattr(index_builder, "_SEED_DISTANCES", 10)
    built = build_index(np.ones((30, 2), np.float32), [str(n) for n in range(30)], 5, 1)
    assert built.offsets[-1] == 30


def test_blocks_change_nothing(monkeypatch):
    vectors = np.random.default_rng(6).normal(size=(50, 3)).astype(np.float32)
    before, quantized = nearest(vectors, vectors[:7]), quantize_rows(vectors)
    monkeypatch.setattr(index_builder, "_BLOCK_DISTANCES", 20)
    monkeypatch.setattr(quantize, "_BLOCK", 8)
    assert np.array_equal(nearest(vectors, vectors[:7]), before)
    rows, scales = quantize_rows(vectors)
    assert np.array_equal(rows, quantized[0])
    assert np.array_equal(scales, quantized[1])
