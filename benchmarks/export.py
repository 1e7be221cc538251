"""Every file a phone gets: bytes, milliseconds, error and quality of each variant on each runtime.

Claim: both models together take at most 1 MB at d = 64; a dynamic-range or better user tower has a
cosine of .9999 with fp32 and shares .99 of its first 100 items; a bundle of a million items without
its catalogue texts takes at most 80 MB. Rows named `..., random ids` are what its id files take if
ids are 10 random letters and digits.
Data: MovieLens-100K, quality on validation events, from most of which the ranker learned, so it
compares variants and says nothing else (the test split is not touched). Peers: the fp32
file on the first runtime present, and Keras as measured at export. The million items are the same
models and item columns with vectors and ids drawn at random, on which sizes do not depend, and
without neighbours, which are fitted for up to 20,000 items. Repetitions: one training; milliseconds
are medians of 20 runs, one thread.
"""

import string
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import children, on_device
from benchmarks.harness import Cell, Options, Result
from bundle.arrays import encode_array
from bundle.items_v2 import id_files
from bundle.quantize import quantize_rows
from bundle.reader import open_bundle
from bundle.writer import BundleWriter
from edge_runtime.verify import FileCheck, verify
from export.content import add_items
from export.index_builder import sort_into_cells
from training import metrics
from training.cases import held_out_cases
from training.dataset import VALID, Items, load_dataset, popularity_columns
from training.progress import Progress
from training.trained import Trained, load_trained

RECIPE = Path(__file__).parent.parent / "recipes" / "ml100k.toml"
MILLION = 1_000_000
CELLS = 1024
K = 10
INT8 = "dynamic"

Row = dict[str, Cell]


def run(options: Options, recipe: Path = RECIPE, items: int = MILLION) -> Result:
    """Train, export, check every file; `items` of the large bundle."""
    work = options.work
    run_dir, bundle_dir = work / "run", work / "bundle"
    children.train(recipe, work, options.data, options.minutes)
    started = time.monotonic()
    children.call("export", run_dir, "--out", bundle_dir, "--force", shows_progress=True)
    export_s = time.monotonic() - started
    trained = load_trained(run_dir)
    data = load_dataset(trained.recipe, work / "data")
    cases = held_out_cases(data, VALID, "new_to_user")
    checked = verify(open_bundle(bundle_dir)).files
    rows: list[Row] = [{**asdict(file), "ndcg10": None} for file in checked]
    for engine, variant in sorted({(file.engine, file.variant) for file in checked}):
        places = on_device.answer(bundle_dir, data, cases, K, engine, variant)
        quality = float(metrics.at_k(places.slate, K, cases.offsets)[f"ndcg@{K}"].mean())
        for row in rows:
            if (row["engine"], row["variant"]) == (engine, variant):
                row["ndcg10"] = quality
    large = enlarged(trained, items, work / "large", options.seed)
    rows += [{"file": name, "bytes": size} for name, size in large.items()]
    drawn = random_ids(items, options.seed)
    rows += [{"file": f"{name}, random ids", "bytes": size} for name, size in drawn.items()]
    show(rows)
    figures = summary(checked, large) | {"export_s": export_s}
    same = sum(large[name] for name in drawn)
    figures["bundle_bytes_1m_random_ids"] = figures["bundle_bytes_1m"] - same + sum(drawn.values())
    return Result(name="export", seed=options.seed, rows=rows, figures=figures)


def summary(files: list[FileCheck], large: dict[str, int]) -> dict[str, float]:
    """Figures of LiteRT's default files, and of the int8 user tower."""
    litert = [file for file in files if file.engine == "litert"]
    default = {file.model: file for file in litert if file.default}
    int8 = next(f for f in litert if (f.model, f.variant) == ("user_tower", INT8))
    texts = large.get("catalogue.sqlite", 0)
    return {
        "tower_bytes": float(default["user_tower"].bytes),
        "ranker_bytes": float(default["ranker"].bytes),
        "tower_int8_bytes": float(int8.bytes),
        "tower_cosine": int8.cosine,
        "top100_overlap": int8.overlap,
        "bundle_bytes_1m": float(sum(large.values()) - texts + sum(f.bytes for f in files)),
    }


def enlarged(trained: Trained, n: int, folder: Path, seed: int) -> dict[str, int]:
    """Pack `n` items as an export does; returns the bytes of each file but the models'."""
    rng = np.random.default_rng(seed)
    spec, known = trained.spec, len(trained.items)
    like = rng.integers(0, known, n)
    items = Items(
        ids=[f"item-{i:07d}" for i in range(n)],
        titles=[trained.items.titles[i] for i in like],
        categories=[trained.items.categories[i] for i in like],
        price=trained.items.price[like],
        year=trained.items.year[like],
    )
    rows, scales = quantize_rows(rng.normal(size=(n, spec.dim)).astype(np.float32))
    centroids = rng.normal(size=(CELLS, spec.dim)).astype(np.float32)
    index = sort_into_cells(rows, scales, items.ids, rng.integers(0, CELLS, n), centroids)
    popularity = np.ones((n, len(popularity_columns(spec))), np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    with Progress("large bundle", 1) as bar, BundleWriter(folder / "bundle", force=True) as writer:
        add_items(writer, spec, items, index, popularity, np.ones(n, np.bool_), None)
        manifest = writer.manifest(name="large", recipe_name="large", created_utc=0)
        bar.advance(1, f"{n:,} items")
    return {entry.name: entry.bytes for entry in manifest.files}


def random_ids(n: int, seed: int) -> dict[str, int]:
    """Bytes of the files of `n` ids of 10 random letters and digits."""
    letters = np.array(list(string.ascii_letters + string.digits))
    drawn = letters[np.random.default_rng(seed).integers(0, len(letters), (n, 10))]
    ids = sorted({"".join(row) for row in drawn})
    return {name: len(encode_array(array)) for name, array in id_files(ids).items()}


def show(rows: list[Row]) -> None:
    """Print the variants, then the large bundle's files."""
    console = Console(width=None if sys.stdout.isatty() else 130)
    table = Table(title="Model files, MovieLens-100K", title_justify="left")
    heads = ("model", "runtime", "variant", "bytes", "ms", "to Keras", "to fp32", "cosine")
    for name in (*heads, "overlap", f"NDCG@{K}"):
        right = name not in ("model", "runtime", "variant")
        table.add_column(name, justify="right" if right else "left")
    for row in (row for row in rows if "model" in row):
        table.add_row(
            str(row["model"]),
            str(row["runtime"]),
            f"{row['variant']}{', default' if row['default'] else ''}",
            f"{row['bytes']:,}",
            f"{row['ms']:.2f}",
            f"{row['to_keras']:.1e}",
            f"{row['max_error']:.1e}",
            f"{row['cosine']:.6f}",
            f"{row['overlap']:.4f}",
            f"{row['ndcg10']:.4f}",
        )
    console.print(table)
    sizes = Table(title="A million items", title_justify="left")
    sizes.add_column("file")
    sizes.add_column("bytes", justify="right")
    for row in (row for row in rows if "file" in row):
        sizes.add_row(str(row["file"]), f"{row['bytes']:,}")
    console.print(sizes)
