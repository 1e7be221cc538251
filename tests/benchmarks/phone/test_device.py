"""The small twins of `device` and `offline`: a ring of items, extended to some hundred."""

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

from benchmarks.harness import Options, document
from benchmarks.phone import device, offline
from benchmarks.support import busy
from benchmarks.support.device import device_search, device_world
from pocketrec_export.items.index_builder import build_index

RECIPE = """
name = "device-twin"
seed = 3
[data]
interactions = "FOLDER/interactions.csv"
items = "FOLDER/items.csv"
[columns]
user = "who"
item = "what"
timestamp = "when"
timestamp_unit = "s"
item_id = "what"
title = "title"
categories = "kind"
year = "year"
[retrieval]
dim = 16
blocks = 1
heads = 1
max_history = 10
epochs = 2
title_buckets = 8
[ranker]
epochs = 1
deep = [4]
cross_rank = 2
[export]
golden_cases = 2
variants = ["fp32"]
targets = { android = {} }
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory, write_ring, in_process):
    folder = tmp_path_factory.mktemp("device")
    recipe = write_ring(folder, 60, RECIPE)
    kinds = ("drama", "war", "comedy|war")
    lines = [f"i{n},Film {n},{kinds[n % 3]},{1930 + n}" for n in range(40)]
    (folder / "items.csv").write_text("\n".join(["what,title,kind,year", *lines]))
    return Options(work=folder / "work"), recipe


@pytest.fixture(scope="module")
def result(world):
    options, recipe = world
    return device.run(
        options, recipe, sizes=(300, 600), on_disk=20_000, dims=(), requests=20, counted=0
    )


def test_phones_and_searches_of_every_size_have_their_rows(result):
    phones = [row for row in result.rows if row["kind"] == "phone"]
    assert {(row["items"], row["variant"]) for row in phones} >= {(300, "default"), (600, "fp32")}
    assert all(row["answered_by"] == "model" for row in phones)
    assert {(row["items"], row["neighbours"]) for row in phones} == {(300, 32), (600, 32), (600, 0)}
    for row in phones:
        stages = [row[f"{name}_ms_p50"] for name in ("features", "tower", "retrieve", "rank")]
        assert 0 < max(stages) < row["total_ms_p50"] <= row["total_ms_p99"]
        assert 0 < row["first_rss_mib"] <= row["peak_mib"]
    searches = [row for row in result.rows if row["kind"] == "search"]
    ours = {(row["items"], row["vectors"]) for row in searches if row["method"] == "pocketrec"}
    sizes = {(n, kind) for n in (300, 600) for kind in ("real", "synthetic")}
    assert ours == sizes | {(20_000, "real")}
    assert all(row["recall1000"] > 0.9 for row in searches if row["method"] == "pocketrec")
    exact = [row for row in searches if row["method"] in device_search.EXACT]
    assert len(exact) == 4
    assert all(row["recall1000"] == 1.0 for row in exact)
    with_faiss = [row for row in searches if row["method"] == "faiss ivf-sq8"]
    assert bool(with_faiss) == bool(importlib.util.find_spec("faiss"))


def test_the_figures_are_those_of_the_largest_phone_with_neighbours_and_without(result):
    figures = document(result)["figures"]
    wanted = ("p50_ms_1m", "p99_ms_1m", "recall1000_1m", "retrieve_ms_1m", "exact_graph_ms_1m")
    assert {*wanted, "cold_start_ms_1m", "rss_mib_1m"} <= set(figures)
    rows = [
        row
        for row in result.rows
        if row["kind"] == "phone" and row["items"] == 600 and row["variant"] == "default"
    ]
    assert [row["neighbours"] for row in rows] == [32, 0]
    for row, end in zip(rows, ("", "_plain"), strict=True):
        assert figures[f"p99_ms_1m{end}"] == row["total_ms_p99"]
        assert figures[f"rss_mib_1m{end}"] == row["rss_mib"]
        assert figures[f"busy_ratio_1m{end}"] == row["busy_ratio"]
    assert figures["bundle_bytes_1m"] > figures["bundle_bytes_1m_plain"]


def test_the_largest_phone_is_asked_beside_one_busy_loop_a_core(result):
    phones = [row for row in result.rows if row["kind"] == "phone"]
    busy = [row for row in phones if "busy_ratio" in row]
    assert [(row["items"], row["variant"]) for row in busy] == [(600, "default")] * 2
    for row in busy:
        assert row["busy_loops"] == len(os.sched_getaffinity(0))
        assert row["busy_ratio"] == row["busy_total_ms_p50"] / row["total_ms_p50"]


def test_busy_loops_run_inside_the_block_and_end_with_it():
    def children():
        return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())

    before = children()
    with busy.busy_cores() as n:
        assert len(children() - before) == n == len(os.sched_getaffinity(0))
    assert children() == before


def test_phones_are_measured_in_an_environment_that_sets_no_threads(result):
    assert not {name for name in device.USER if name.endswith("_NUM_THREADS")}
    assert device.ONE_THREAD["OPENBLAS_NUM_THREADS"] == "1"  # what searches have
    rows = [row for row in result.rows if row["kind"] == "phone"]
    assert {row["environment"] for row in rows} == {device.thread_settings(device.USER)}
    settings = {"OPENBLAS_CORETYPE": "Haswell", "HOME": "/home", "MKL_X": "1"}
    assert device.thread_settings(settings) == "MKL_X=1; OPENBLAS_CORETYPE=Haswell"
    assert device.thread_settings({"HOME": "/home"}) == "none"


def test_a_phone_works_on_without_a_socket(world, result, monkeypatch):
    options, recipe = world
    work = options.work  # `result` has trained there
    source = device_world.Source.of(work / "run", work / "data", device.USERS)
    monkeypatch.setattr(device, "prepared", lambda *_: (work / "bundle", source))
    found = offline.run(options, recipe, items=300, requests=250, minutes=0.0)
    figures = document(found)["figures"]
    assert figures["requests"] == 250
    assert figures["sockets_opened"] == 0
    assert figures["answered_by_models"] == 1.0
    assert figures["faults"] == 0
    assert figures["events"] > 50  # two slates were logged as seen, with a like each
    samples = [row["requests"] for row in document(found)["rows"]]
    assert samples[0] >= 25
    assert samples == sorted(samples)
    assert samples[-1] == 250
    plots = pytest.importorskip(
        "benchmarks.support.pictures.plots", reason="needs the bench extra", exc_type=ImportError
    )
    for name, of in (("device", result), ("offline", found)):
        (options.work / f"{name}.json").write_text(json.dumps(document(of)))
    plots.main(options.work, options.work / "images")
    assert {path.name for path in (options.work / "images").iterdir()} == {
        "search.svg",
        "stages.svg",
        "soak.svg",
    }


def test_extended_vectors_keep_the_real_ones_and_lie_near_them():
    real = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)
    found, source = device_world.extended(real, 400, 7)
    assert (found[:50] == real).all()
    assert source[:50].tolist() == list(range(50))
    assert len(np.unique(found, axis=0)) == 400
    apart = ((found[50:, None] - real) ** 2).sum(axis=2)
    own = apart[np.arange(350), source[50:]]
    assert np.median(own) < np.median(apart)
    again, _ = device_world.extended(real, 400, 7)
    assert (again == found).all()


def test_exact_rows_are_those_of_a_full_sort(monkeypatch):
    monkeypatch.setattr(device_search, "BLOCK", 7)
    rng = np.random.default_rng(1)
    vectors, queries = (rng.normal(size=(n, 4)).astype(np.float32) for n in (60, 5))
    found = device_search.exact(vectors, queries, 9)
    expected = np.argsort(-(queries @ vectors.T), axis=1)[:, :9]
    assert [set(row) for row in found.tolist()] == [set(row) for row in expected.tolist()]


def test_one_more_number_gives_all_vectors_one_length_and_keeps_the_order():
    rng = np.random.default_rng(1)
    vectors, query = rng.normal(size=(30, 4)).astype(np.float32), rng.normal(size=4)
    held = device_search.on_sphere(vectors)
    assert np.linalg.norm(held, axis=1) == pytest.approx(np.ones(30), abs=1e-6)
    order = np.argsort(-(vectors @ query)).tolist()
    assert np.argsort(-(held @ np.append(query, 0))).tolist() == order


def test_drawn_neighbours_are_the_nearest_of_their_group_and_never_the_item(monkeypatch):
    monkeypatch.setattr(device_world, "_GROUP", 20)
    vectors = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)
    index = build_index(vectors, [f"{n:02d}" for n in range(50)], 4, 1)
    found = device_world.drawn_neighbours(vectors, index, 5)
    again = device_world.drawn_neighbours(vectors, index, 5)
    assert (found.rows == again.rows).all()
    place = np.argsort(index.order)  # of each item in the release's order
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for item in range(50):
        low = 30 if place[item] >= 30 else place[item] // 20 * 20
        group = [one for one in index.order[low : low + 20].tolist() if one != item]
        best = sorted(group, key=lambda one: -float(units[one] @ units[item]))[:5]
        assert sorted(found.rows[item].tolist()) == sorted(best)
        cosines = units[found.rows[item]] @ units[item] / 5
        assert found.weights[item] * found.scales[item] == pytest.approx(cosines, abs=1e-3)
