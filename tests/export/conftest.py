import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

IDS = [f"i{n:02d}" for n in range(40)]
GENRES = ("drama", "comedy", "war", "crime")
RECIPE: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "data": {"interactions": "i.csv", "items": "j.csv"},
    "columns": {"event": "event"},
    "retrieval": {"dim": 32, "max_history": 6, "blocks": 1, "title_buckets": 32},
    "ranker": {
        "candidates": 16,
        "neighbour_candidates": 4,
        "cross_layers": 2,
        "cross_rank": 16,
        "deep": [64, 32],
    },
    "index": {"cells": 4},
    "neighbours": {"per_item": 4, "l2": 1.0},
    "rerank": {"slate": 5},
    "export": {"golden_cases": 6, "variants": ["fp32", "fp16", "dynamic"]},
}
REPEATS = {
    **RECIPE,
    "ranker": {
        **RECIPE["ranker"],
        "own_candidates": 5,
        "neighbour_candidates": 4,
        "popularity_days": [30],
    },
    "rerank": {
        "slate": 5,
        "repeats": True,
        "diversity": "mmr",
        "explore": 0.2,
        "sponsored_places": [2],
        "sponsored_floor": 0.0,
    },
}


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory) -> Path:
    """A run of 40 items and 12 users, its models seeded but not trained: parity needs no more."""
    return write_run(tmp_path_factory.mktemp("export") / "run", RECIPE)


@pytest.fixture(scope="session")
def repeats_run_dir(tmp_path_factory) -> Path:
    """The same with a recipe that shows again what the user had."""
    return write_run(tmp_path_factory.mktemp("repeats") / "run", REPEATS)


def write_run(folder: Path, settings: dict) -> Path:
    """Write a run of untrained models."""
    duckdb = pytest.importorskip("duckdb", reason="needs the train extra")
    keras = pytest.importorskip("keras", reason="needs the train extra")
    from pocketrec_bundle.disk.files import canonical_json
    from pocketrec_training.data.dataset import load_dataset, load_items
    from pocketrec_training.data.features.columns import feature_spec
    from pocketrec_training.neighbours.fit import fit_neighbours, save_neighbours
    from pocketrec_training.ranker.model import build_ranker
    from pocketrec_training.recipe.load import parse_recipe, recipe_json
    from pocketrec_training.towers.item_content import item_inputs
    from pocketrec_training.towers.item_tower import build_item_tower
    from pocketrec_training.towers.user_tower import build_user_tower

    folder.mkdir()
    rng = np.random.default_rng(11)
    items = [f"('{i}', 'Film {i}', '{GENRES[n % 4]}', NULL, {1960 + n})" for n, i in enumerate(IDS)]
    events = [
        f"('u{u:02d}', '{IDS[int(row)]}', 'like', 4.0, {900_000_000 + 5_000 * (u * 20 + at)})"
        for u in range(12)
        for at, row in enumerate(rng.permutation(len(IDS))[: 5 + u])
    ]
    tables = {
        "items": (items, "item_id, title, categories, price, year"),
        "interactions": (events, "user_id, item_id, event, value, ts"),
    }
    with duckdb.connect() as connection:
        for name, (rows, columns) in tables.items():
            connection.execute(
                f"COPY (SELECT * FROM (VALUES {', '.join(rows)}) t({columns})) "  # noqa: S608
                f"TO '{folder / name}.parquet' (FORMAT parquet)"
            )
    recipe = parse_recipe(settings, "tiny")
    table = load_items(folder)
    spec = feature_spec(recipe, table)
    keras.utils.set_random_seed(recipe.seed)
    towers = build_user_tower(recipe.retrieval, spec)
    content = build_item_tower(recipe.retrieval, spec, len(table))
    ranker = build_ranker(recipe.ranker, spec)
    # The content and the ranker's read-out start at zero, as if nothing were learnt.
    for variable in [*content.trainable_variables, ranker.get_layer(index=-3).kernel]:
        variable.assign(rng.normal(0.0, 0.02, variable.shape))
    vectors = 20 * np.asarray(content(item_inputs(spec, table, recipe.retrieval.title_buckets)))
    np.save(folder / "item_vectors.npy", vectors.astype(np.float32))
    neighbours = fit_neighbours(recipe.neighbours, load_dataset(recipe, folder))
    assert neighbours is not None
    save_neighbours(folder / "neighbours.npz", neighbours)
    towers.save(folder / "user_tower.keras")
    content.save(folder / "item_tower.keras")
    ranker.save(folder / "ranker.keras")
    (folder / "recipe.json").write_bytes(recipe_json(recipe))
    (folder / "feature_spec.json").write_bytes(canonical_json(spec.to_json()))
    report = {"recipe": "tiny", "seed": 3, "epochs": 3, "valid_ndcg10": 0.0}
    report |= {"user_tower_parameters": 1, "ranker_parameters": 1}
    report |= {"epochs_planned": 9, "retrieval_stopped_by": "patience", "ranker_losses": [0.5]}
    report |= {"ranker_epochs_planned": 4, "ranker_stopped_by": "minutes", "reproducible": False}
    (folder / "train_report.json").write_text(json.dumps(report))
    (folder / "data_report.json").write_text(json.dumps({"dataset": "tiny", "licence": "none"}))
    return folder


@pytest.fixture(scope="session")
def bundle_dir(run_dir: Path, conversions) -> Path:
    """The bundle of `run_dir`; tests must not change it."""
    from pocketrec_export.build import export_bundle

    out = run_dir.parent / "bundle"
    with conversions.kept():
        export_bundle(run=run_dir, out=out)
    return out


@pytest.fixture(scope="module", autouse=True)
def kept_conversions(request):
    """Convert an equal model once in all tests of this room."""
    if find_spec("tensorflow") is None:
        yield
    else:
        with request.getfixturevalue("conversions").kept():
            yield


@pytest.fixture
def own_bundle(bundle_dir: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may damage."""
    return Path(shutil.copytree(bundle_dir, tmp_path / "own"))


@pytest.fixture
def run_python(repository: Path):
    """Return a function that runs Python code in a process of its own: (code, environment)."""

    def run(code: str, **extra: str) -> subprocess.CompletedProcess[str]:
        import os

        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **extra}
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run
