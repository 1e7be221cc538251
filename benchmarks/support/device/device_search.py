"""Child process of `bench device`: one index searched by PocketRec and by its peers, in turn.

Run as `python -m benchmarks.support.device.device_search FOLDER PEERS ROUNDS`, with one thread by
the environment; prints one JSON list, a row a method. Each query goes to every method before the
next one, so that a busy moment of the machine strikes all of them; exact searches go apart, since
each of them empties the caches.

Recall is of the exact best k by float32. A peer with a knob is set to the least setting that
reaches PocketRec's recall on half of the queries; the recall printed is of the other half.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.arrays import encode_array, open_array
from pocketrec_bundle.floats import Floats32
from pocketrec_edge.recommend.index import Index, search

K = 1000
Search = Callable[[Floats32], NDArray[Any]]
ARRAYS = ("centroids", "offsets", "rows", "scales")
BLOCK = 1 << 16
EXPANSIONS = (1000, 1500, 2000, 3000, 4000)
"""Settings of the graph searches: nodes kept at a time."""


def save(folder: Path, index: Any, vectors: Floats32, queries: Floats32, probes: int) -> None:
    """Write what `main` reads.

    Args:
        folder: emptied before it is written.
        index: a `BuiltIndex` or an `Index`.
        vectors: float32 [N, d] in the index's row order, never rounded.
        queries: float32 [u, d].
        probes: cells that PocketRec reads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ARRAYS:
        (folder / name).write_bytes(encode_array(np.asarray(getattr(index, name))))
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "queries.npy", queries)
    (folder / "probes").write_text(str(probes), "ascii")


def main(folder: Path, peers: tuple[str, ...], rounds: int) -> list[dict[str, Any]]:
    """Build the peers, then search by all of them."""
    vectors: Floats32 = np.load(folder / "vectors.npy", mmap_mode="r")
    queries: Floats32 = np.load(folder / "queries.npy")
    index = Index(*(open_array(folder / name) for name in ARRAYS))
    probes, k = int((folder / "probes").read_text("ascii")), min(K, len(vectors))
    excluded = np.zeros(len(vectors), np.bool_)
    truth = exact(vectors, queries, k)
    methods: dict[str, Search] = {
        "pocketrec": lambda query: search(index, query, k, probes, excluded)[0]
    }
    ours = recall(methods["pocketrec"], queries, truth)
    problem = Problem(vectors, k, len(index.centroids), queries, truth, ours)
    knobs: dict[str, Any] = {"pocketrec": probes}
    build_s: dict[str, float] = {}
    for name in peers:
        began = time.monotonic()
        knob, methods[name] = PEERS[name](problem)
        knobs[name], build_s[name] = knob, time.monotonic() - began
    samples: dict[str, list[float]] = {name: [] for name in methods}
    for group in (methods.keys() - EXACT, methods.keys() & EXACT):
        for turn in range(rounds + 1):  # the first warms up
            for query in queries:
                for name in group:
                    began = time.perf_counter()
                    methods[name](query)
                    if turn:
                        samples[name].append((time.perf_counter() - began) * 1000)
    half = len(queries) // 2
    return [
        {
            "method": name,
            "knob": knobs[name],
            "recall1000": recall(search, queries[half:], truth[half:]),
            **{f"ms_p{at}": float(np.percentile(samples[name], at)) for at in (50, 95, 99)},
            "build_s": build_s.get(name),
        }
        for name, search in methods.items()
    ]


def exact(vectors: Floats32, queries: Floats32, k: int) -> NDArray[np.int64]:
    """Rows of the k largest inner products, int64 [u, k]; in blocks, so that 10 M fit."""
    best = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.zeros((len(queries), k), np.int64)
    for start in range(0, len(vectors), BLOCK):
        scores = np.concatenate([best, queries @ vectors[start : start + BLOCK].T], axis=1)
        found = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        old = np.take_along_axis(rows, np.minimum(found, k - 1), axis=1)
        rows = np.where(found < k, old, found - k + start)
        best = np.take_along_axis(scores, found, axis=1)
    return rows


def recall(search: Search, queries: Floats32, truth: NDArray[np.int64]) -> float:
    """Mean share of the exact best that a search finds."""
    found = [
        np.isin(true, search(query)).mean() for query, true in zip(queries, truth, strict=True)
    ]
    return float(np.mean(found))


@dataclass(frozen=True, slots=True)
class Problem:
    """A search problem: the best k of vectors [N, d], with PocketRec's cells and recall."""

    vectors: Floats32
    k: int
    n_cells: int
    queries: Floats32
    truth: NDArray[np.int64]
    recall: float


def least(
    problem: Problem, knobs: Iterable[int], search_at: Callable[[int], Search]
) -> tuple[int, Search]:
    """Return the first setting with that recall on the first half of the queries, or the last."""
    half = len(problem.queries) // 2
    queries, truth = problem.queries[:half], problem.truth[:half]
    knob = 0
    for knob in knobs:
        if recall(search_at(knob), queries, truth) >= problem.recall:
            break
    return knob, search_at(knob)


Peer = Callable[[Problem], tuple[int | None, Search]]


def numpy_exact(problem: Problem) -> tuple[int | None, Search]:
    """All products, then the k largest."""
    held, k = np.ascontiguousarray(problem.vectors), problem.k

    def search(query: Floats32) -> NDArray[Any]:
        scores = held @ query
        found = np.argpartition(-scores, k - 1)[:k]
        return found[np.argsort(-scores[found])]

    return None, search


def graph_exact(problem: Problem) -> tuple[int | None, Search]:
    """A TFLite graph of a product with all vectors and top-k, as TFRS's BruteForce exports."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    matrix, k = np.ascontiguousarray(problem.vectors), problem.k

    @tf.function(input_signature=[tf.TensorSpec((1, matrix.shape[1]), tf.float32)])  # type: ignore[untyped-decorator]
    def nearest(query: Any) -> Any:
        return tf.math.top_k(tf.matmul(query, tf.constant(matrix), transpose_b=True), k).indices

    converter = tf.lite.TFLiteConverter.from_concrete_functions([nearest.get_concrete_function()])
    interpreter = Interpreter(model_content=converter.convert(), num_threads=1)
    interpreter.allocate_tensors()
    (given,), (told,) = interpreter.get_input_details(), interpreter.get_output_details()

    def search(query: Floats32) -> NDArray[Any]:
        interpreter.set_tensor(given["index"], query[None])
        interpreter.invoke()
        found: NDArray[Any] = interpreter.get_tensor(told["index"])[0]
        return found

    return None, search


def faiss_ivf(problem: Problem) -> tuple[int | None, Search]:
    """Faiss IVF-SQ8 with as many lists as PocketRec has cells."""
    import faiss

    held = np.ascontiguousarray(problem.vectors)
    faiss.omp_set_num_threads(1)
    n_cells = problem.n_cells
    quantizer = faiss.IndexFlatIP(held.shape[1])
    peer = faiss.IndexIVFScalarQuantizer(
        quantizer,
        held.shape[1],
        n_cells,
        faiss.ScalarQuantizer.QT_8bit,
        faiss.METRIC_INNER_PRODUCT,
    )
    peer.train(held[np.random.default_rng(0).permutation(len(held))[: 64 * n_cells]])
    peer.add(held)
    k = problem.k

    def search_at(nprobe: int) -> Search:
        def search(query: Floats32) -> NDArray[Any]:
            peer.nprobe = nprobe
            found: NDArray[Any] = peer.search(query[None], k)[1][0]
            return found

        return search

    return least(problem, steps(n_cells), search_at)


def on_sphere(vectors: Floats32) -> Floats32:
    """Give all vectors the same length by one more number (Bachrach et al. 2014), float32 [N, d+1].

    A query gets a 0 there: the order of its inner products stays, and graphs, which walk by
    distance, do not get caught at the longest vectors.
    """
    lengths = (vectors**2).sum(axis=1)
    more = np.sqrt(np.maximum(lengths.max() - lengths, 0))
    found: Floats32 = np.concatenate([vectors, more[:, None]], axis=1) / np.sqrt(lengths.max())
    return found


def usearch_hnsw(problem: Problem) -> tuple[int | None, Search]:
    """USearch's HNSW on int8."""
    from usearch.index import Index as Graph

    held = on_sphere(problem.vectors)
    graph: Any = Graph(
        ndim=held.shape[1], metric="cos", dtype="i8", connectivity=48, expansion_add=400
    )
    graph.add(np.arange(len(held)), held, threads=1)

    def search_at(expansion: int) -> Search:
        def search(query: Floats32) -> NDArray[Any]:
            graph.expansion_search = expansion
            return np.asarray(graph.search(np.append(query, 0), problem.k, threads=1).keys)

        return search

    return least(problem, EXPANSIONS, search_at)


def hnswlib_hnsw(problem: Problem) -> tuple[int | None, Search]:
    """Hnswlib on float32."""
    import hnswlib

    held = on_sphere(problem.vectors)
    graph = hnswlib.Index(space="cosine", dim=held.shape[1])
    graph.init_index(max_elements=len(held), M=48, ef_construction=400)
    graph.set_num_threads(1)
    graph.add_items(held)

    def search_at(ef: int) -> Search:
        def search(query: Floats32) -> NDArray[Any]:
            graph.set_ef(ef)
            return np.asarray(graph.knn_query(np.append(query, 0)[None], problem.k)[0][0])

        return search

    return least(problem, EXPANSIONS, search_at)


def steps(most: int) -> Iterator[int]:
    """Probe counts to try, each about a tenth above the one before."""
    at = 4
    while at < most:
        yield at
        at += max(1, at // 10)
    yield most


PEERS: dict[str, Peer] = {
    "numpy exact": numpy_exact,
    "exact graph": graph_exact,
    "faiss ivf-sq8": faiss_ivf,
    "usearch hnsw-i8": usearch_hnsw,
    "hnswlib": hnswlib_hnsw,
}
EXACT = {"numpy exact", "exact graph"}
MODULES = {"faiss ivf-sq8": "faiss", "usearch hnsw-i8": "usearch", "hnswlib": "hnswlib"}


if __name__ == "__main__":
    where, names, turns = sys.argv[1:]
    json.dump(main(Path(where), tuple(filter(None, names.split(","))), int(turns)), sys.stdout)
