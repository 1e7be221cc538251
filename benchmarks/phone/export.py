"""Every file a phone gets: bytes, milliseconds, error and quality of each variant on each runtime.

Claim: both models together take at most 1 MB at d = 64; a dynamic-range or better user tower has a
cosine of .9999 with fp32 and shares .99 of its first 100 items; a bundle of a million items without
its catalogue texts takes at most 80 MB; MovieLens-1M exports in less than three minutes on two
cores; equal inputs give equal bytes. Rows named `..., random ids` are what the id files of the
large bundle take if ids are 10 random letters and digits.
Data: MovieLens-100K, quality on validation events, from most of which the ranker learned, so it
compares variants and says nothing else (the test split is not touched). Peers: Keras and the most
exact file, on LiteRT, ONNX Runtime and, where pip brings it, tflite-runtime 2.14. The million items
are the same models and item columns with vectors, ids and 5,000 prices drawn at random, and
without neighbours, which are fitted for up to 20,000 items. With `--data`, the folder of the
MovieLens-1M sequences, that set is exported too, after a short training if the work folder holds
no finished one: neither time nor size of an export depends on how well it was trained.
Repetitions: one training; milliseconds are medians of 20 runs, one thread.
"""

import json
import string
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result
from benchmarks.support import command_line
from benchmarks.support.old_runtime import verify_there
from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.items.v2 import id_files
from pocketrec_bundle.quantize import quantize_rows
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_bundle.writer import BundleWriter
from pocketrec_edge.engines.select import MODELS
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.releases.verify import FileCheck, verify
from pocketrec_export.gates import on_device
from pocketrec_export.items.content import add_items
from pocketrec_export.items.index_builder import sort_into_cells
from pocketrec_training.data.dataset import VALID, Dataset, Items, load_dataset
from pocketrec_training.data.features.columns import release_popularity
from pocketrec_training.metrics.cases import held_out_cases
from pocketrec_training.trained import TrainedRun, load_trained

RECIPES = Path(__file__).parents[2] / "recipes"
RECIPE, ML1M = RECIPES / "ml100k.toml", RECIPES / "ml1m.toml"
SHORT_MINUTES = 3.0
MILLION = 1_000_000
CELLS = 1024
PRICES = np.round(np.geomspace(1, 2000, 5000), 2)
K = 10
INT8 = "dynamic"

Row = dict[str, Cell]


def run(options: Options, recipe: Path = RECIPE, items: int = MILLION) -> Result:
    """Train, export twice, check every file on every runtime; `items` of the large bundle."""
    work = options.work
    run_dir, bundle_dir = work / "run", work / "bundle"
    command_line.train(recipe, work, None, options.minutes)
    words = ("export", run_dir, "--force", "--all-variants", "--json", "--out")
    started = time.monotonic()
    report = json.loads(command_line.call(*words, bundle_dir, shows_progress=True))
    export_s = time.monotonic() - started
    command_line.call(*words, work / "elsewhere" / "again", shows_progress=True)
    bundle = open_bundle(bundle_dir)
    found = verify(bundle)
    rows: list[Row] = file_rows(found.files, report["files"])
    trained = load_trained(run_dir)
    data = load_dataset(trained.recipe, work / "data")
    add_quality(rows, bundle, data)
    if old := verify_there(bundle_dir, work):
        rows += file_rows([FileCheck(**file) for file in old["files"]], report["files"])
    rows += [
        {**shipped, "gate": "passed" if shipped["passed"] else "refused"}
        for shipped in report["shipped"]
    ]
    large = enlarged(trained, data, items, work / "large", options.seed)
    rows += [{"file": name, "bytes": size} for name, size in large.items()]
    drawn = random_ids(items, options.seed)
    rows += [{"file": f"{name}, random ids", "bytes": size} for name, size in drawn.items()]
    show(rows)
    same = sum(large[name] for name in drawn)
    figures = summary(found.files, bundle, large) | {
        "export_s": export_s,
        "same_bytes": float(content(bundle_dir) == content(work / "elsewhere" / "again")),
        "verified": float(found.passed and (old is None or bool(old["passed"]))),
    }
    figures["bundle_bytes_1m_random_ids"] = figures["bundle_bytes_1m"] - same + sum(drawn.values())
    if options.data is not None:
        figures |= movielens_1m(work / "ml1m", options.data)
    return Result(name="export", seed=options.seed, rows=rows, figures=figures)


def file_rows(files: list[FileCheck], figures: list[dict[str, Any]]) -> list[Row]:
    """What `verify` found of each file, with its error against Keras on hard inputs."""
    hard = {(f["model"], f["engine"], f["variant"]): f["hard_error"] for f in figures}
    return [
        {**asdict(f), "hard_error": hard[f.model, f.engine, f.variant], "ndcg10": None}
        for f in files
    ]


def add_quality(rows: list[Row], bundle: Bundle, data: Dataset) -> None:
    """Set NDCG@10 of the device path with both models of one variant, where both run."""
    cases = held_out_cases(data, VALID, "new_to_user")
    both = Counter((row["engine"], row["variant"]) for row in rows if row["status"] == "ok")
    for (engine, variant), models in both.items():
        if models < len(MODELS):
            continue
        device = Recommender(bundle, str(engine), str(variant))
        quality = on_device.answer(device, data, cases, K, f"{engine} {variant}").ndcg(cases, K)
        for row in rows:
            if (row["engine"], row["variant"]) == (engine, variant):
                row["ndcg10"] = quality


def movielens_1m(work: Path, source: Path) -> dict[str, float]:
    """Export MovieLens-1M; seconds, bytes of both models and of the bundle."""
    if not (work / "run" / "train_report.json").is_file():
        command_line.train(ML1M, work, source, SHORT_MINUTES)
    words = ("export", work / "run", "--out", work / "bundle", "--force", "--json")
    started = time.monotonic()
    report = json.loads(command_line.call(*words, shows_progress=True))
    return {
        "export_ml1m_s": time.monotonic() - started,
        "models_ml1m_bytes": float(report["shipped"][0]["models_bytes"]),
        "bundle_ml1m_bytes": float(report["bundle_bytes"]),
    }


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a bundle, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def summary(files: list[FileCheck], bundle: Bundle, large: dict[str, int]) -> dict[str, float]:
    """Figures of LiteRT's default files, of the int8 user tower, and of a large bundle."""
    litert = [file for file in files if file.engine == "litert"]
    default = {file.model: file for file in litert if file.default}
    int8 = next(f for f in litert if (f.model, f.variant) == ("user_tower", INT8))
    texts = large.get("catalogue.sqlite", 0)
    shipped = sum(e.bytes for e in bundle.manifest.files if "targets" in e.meta)
    return {
        "tower_bytes": float(default["user_tower"].bytes),
        "ranker_bytes": float(default["ranker"].bytes),
        "tower_int8_bytes": float(int8.bytes),
        "tower_cosine": int8.cosine,
        "top100_overlap": int8.overlap,
        "bundle_bytes_1m": float(sum(large.values()) - texts + shipped),
    }


def enlarged(trained: TrainedRun, data: Dataset, n: int, folder: Path, seed: int) -> dict[str, int]:
    """Pack `n` items as an export does; returns the bytes of each file but the models'."""
    rng = np.random.default_rng(seed)
    spec, known = trained.spec, len(trained.items)
    like = rng.integers(0, known, n)
    items = Items(
        ids=[f"item-{i:07d}" for i in range(n)],
        titles=[trained.items.titles[i] for i in like],
        categories=[trained.items.categories[i] for i in like],
        price=rng.choice(PRICES, n).astype(np.float32),
        year=trained.items.year[like],
    )
    rows, scales = quantize_rows(rng.normal(size=(n, spec.dim)).astype(np.float32))
    centroids = rng.normal(size=(CELLS, spec.dim)).astype(np.float32)
    index = sort_into_cells(rows, scales, items.ids, rng.integers(0, CELLS, n), centroids)
    popularity = release_popularity(spec, data)[like]
    folder.mkdir(parents=True, exist_ok=True)
    with BundleWriter(folder / "bundle", force=True) as writer:
        add_items(writer, spec, items, index, popularity, np.ones(n, np.bool_), None)
        manifest = writer.manifest(name="large", recipe_name="large", created_utc=0)
    return {entry.name: entry.bytes for entry in manifest.files}


def random_ids(n: int, seed: int) -> dict[str, int]:
    """Bytes of the files of `n` ids of 10 random letters and digits."""
    letters = np.array(list(string.ascii_letters + string.digits))
    drawn = letters[np.random.default_rng(seed).integers(0, len(letters), (n, 10))]
    ids = sorted({"".join(row) for row in drawn})
    return {name: len(encode_array(array)) for name, array in id_files(ids).items()}


def show(rows: list[Row]) -> None:
    """Print the variants, what each target ships, then the large bundle's files."""
    console = Console(width=None if sys.stdout.isatty() else 180)
    heads = ("model", "runtime", "variant", "bytes", "ms", "to Keras", "hard inputs", "to fp32")
    table = _table("Model files, MovieLens-100K", *heads, "cosine", "overlap", "ranks", f"NDCG@{K}")
    for row in (row for row in rows if "model" in row):
        start = (str(row["model"]), str(row["runtime"]), str(row["variant"]), f"{row['bytes']:,}")
        if row["status"] != "ok":
            table.add_row(*start, f"{row['status']}: {row['note']}"[:40])
            continue
        quality = "" if row["ndcg10"] is None else f"{row['ndcg10']:.4f}"
        table.add_row(
            *start,
            f"{row['ms']:.2f}",
            *(f"{row[name]:.1e}" for name in ("to_keras", "hard_error", "max_error")),
            f"{row['cosine']:.6f}",
            f"{row['overlap']:.4f}",
            f"{row['rank_correlation']:.5f}",
            quality,
        )
    console.print(table)
    targets = _table("What each target ships", "target", "engine", "user tower", "ranker", "bytes")
    for row in (row for row in rows if "target" in row):
        names = ("target", "engine", "user_tower", "ranker")
        targets.add_row(*(str(row[name]) for name in names), f"{row['models_bytes']:,}")
    console.print(targets)
    sizes = _table("A million items", "file", "bytes")
    for row in (row for row in rows if "file" in row):
        sizes.add_row(str(row["file"]), f"{row['bytes']:,}")
    console.print(sizes)


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left")
    texts = ("model", "runtime", "variant", "target", "engine", "user tower", "ranker", "file")
    for name in heads:
        table.add_column(name, justify="left" if name in texts else "right")
    return table
