"""The next release: trained from random weights, from the previous release, or rotated onto it.

Claim: after equal training, a warm-started release ranks no worse than one from random weights.
Its item matrix is so near the previous one that the phones' delta is smaller.
Data: MovieLens-100K, leave-one-out. Release A knows the earliest 90% of the interactions and the
films in them, release B all. Three trainings of equally many epochs: A, B from random
weights, B from A. Each B is measured as trained and rotated onto A (orthogonal Procrustes,
`pocketrec_training.warm_start.align`), in float32 and with the int8 rows that a phone reads; the
test events are touched once, here. One seed: intervals are over users (bootstrap), not over
trainings.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result
from benchmarks.support import command_line
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.quantize import quantize_rows
from pocketrec_training.data import columns as col
from pocketrec_training.data.dataset import TEST, VALID, Dataset, load_dataset
from pocketrec_training.evaluation.methods import two_tower
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.cases import held_out_cases
from pocketrec_training.metrics.ranks import rank_targets
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.recipe.toml import recipe_toml
from pocketrec_training.trained import TrainedRun, load_trained
from pocketrec_training.warm_start.align import movement, procrustes, rotated_user_tower

RECIPE = Path(__file__).parents[2] / "recipes" / "ml100k.toml"
KNOWN_SHARE = 0.9
EPOCHS = 8
LEVEL = 19
K = 10

Row = dict[str, Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One way to make release B; `seconds` and `epochs` are those of its towers' training."""

    name: str
    trained: TrainedRun
    seconds: float
    epochs: int


def run(options: Options, recipe: Path = RECIPE) -> Result:
    """Train three times, then compare the four forms of release B."""
    work = options.work
    work.mkdir(parents=True, exist_ok=True)
    short = work / "short.toml"
    comment = f"{recipe.name}, shortened for the benchmark"
    short.write_text(recipe_toml(shortened(load_recipe(recipe)), comment), encoding="utf-8")
    source: tuple[str | Path, ...] = ("--source", options.data) if options.data else ()
    command_line.call("data", recipe, "--out", work / "all", *source)
    cut_tables(work / "all", work / "earlier", KNOWN_SHARE)
    minutes = ("--minutes", str(options.minutes / 3)) if options.minutes else ()
    for name, data, start in (
        ("a", "earlier", ()),
        ("afresh", "all", ()),
        ("warm", "all", ("--warm-start", work / "a")),
    ):
        words = (
            "train",
            short,
            "--data",
            work / data,
            "--out",
            work / name,
            "--no-final",
            *minutes,
            *start,
        )
        command_line.call(*words, shows_progress=True)
    rows, figures = measure(work, options.seed)
    show(rows)
    return Result(name="warm-start", seed=options.seed, rows=rows, figures=figures)


def shortened(recipe: Recipe) -> Recipe:
    """Return the recipe with `EPOCHS` of the towers and one of the ranker, not measured here."""
    retrieval = replace(recipe.retrieval, epochs=EPOCHS)
    return replace(recipe, retrieval=retrieval, ranker=replace(recipe.ranker, epochs=1))


def cut_tables(tables: Path, out: Path, share: float) -> None:
    """Write the earliest `share` of the interactions of canonical tables, and the items in them."""
    out.mkdir(parents=True, exist_ok=True)
    events = duckdb.read_parquet(str(tables / col.INTERACTIONS_FILE))
    items = duckdb.read_parquet(str(tables / col.ITEMS_FILE))
    ((cut,),) = events.aggregate(f"quantile_disc(ts, {share})").fetchall()
    known = events.filter(f"ts <= {cut}")
    known.write_parquet(str(out / col.INTERACTIONS_FILE))
    known_items = items.join(known.project(col.ITEM_ID).distinct(), col.ITEM_ID, how="semi")
    known_items.order(col.ITEM_ID).write_parquet(str(out / col.ITEMS_FILE))


def measure(work: Path, seed: int) -> tuple[list[Row], dict[str, float]]:
    """Compare the four forms of release B with A and with each other."""
    old = load_trained(work / "a")
    data = load_dataset(old.recipe, work / "all")
    row_of = {item_id: row for row, item_id in enumerate(data.items.ids)}
    kept = np.array([row_of[item_id] for item_id in old.items.ids])
    rows: list[Row] = []
    figures = {"known_items": float(len(kept)), "items": float(len(data.items))}
    for release in releases(work, old, kept):
        vectors = release.trained.item_vectors
        weight = delta_bytes(old.item_vectors, vectors, kept)
        found = {
            "valid_ndcg10": float(ndcg(release.trained, data, VALID).mean()),
            "valid_ndcg10_int8": float(ndcg(with_int8(release.trained), data, VALID).mean()),
            "test_ndcg10": float(ndcg(release.trained, data, TEST).mean()),
        }
        test = metrics.interval(ndcg(with_int8(release.trained), data, TEST), seed)
        found |= {
            "test_ndcg10_int8": test["value"],
            "cosine": mean_cosine(old.item_vectors, vectors[kept]),
            "moved": movement(old.item_vectors, vectors[kept]),
            **weight,
            "train_s": release.seconds,
            "epochs": float(release.epochs),
        }
        rows.append({"release": release.name, **found, "low": test["low"], "high": test["high"]})
        figures |= {f"{what}_{release.name}": value for what, value in found.items()}
    return rows, figures


def releases(work: Path, old: TrainedRun, kept: NDArray[np.int64]) -> Iterator[Release]:
    """Yield release B afresh and warm, each as trained and rotated onto A.

    Args:
        work: holds the runs `afresh` and `warm`.
        old: release A.
        kept: integer [n], the rows in B of A's items.
    """
    afresh, warm = (load_trained(work / name) for name in ("afresh", "warm"))
    onto = procrustes(old.item_vectors, afresh.item_vectors[kept])
    # Warm, the run holds the rotated towers; their layers within are those as trained.
    done = warm.user_tower.get_layer("rotation_out").get_weights()[0]
    straight = rotated_user_tower(warm.user_tower, np.eye(len(done), dtype=np.float32))
    made = {
        "afresh": afresh,
        "afresh_rotated": replace(
            afresh,
            user_tower=rotated_user_tower(afresh.user_tower, onto),
            item_vectors=afresh.item_vectors @ onto,
        ),
        "warm": replace(warm, user_tower=straight, item_vectors=warm.item_vectors @ done.T),
        "warm_rotated": warm,
    }
    for name, trained in made.items():
        report = command_line.read_json(work / name.removesuffix("_rotated") / "train_report.json")
        yield Release(
            name=name, trained=trained, seconds=report["retrieval_s"], epochs=report["epochs"]
        )


def with_int8(trained: TrainedRun) -> TrainedRun:
    """Return the release with the item vectors that its int8 rows stand for."""
    rows, scales = quantize_rows(trained.item_vectors)
    return replace(trained, item_vectors=(rows * scales[:, None]).astype(np.float32))


def ndcg(trained: TrainedRun, data: Dataset, fold: int) -> NDArray[np.float64]:
    """NDCG@10 of each case of a fold among all items new to the user, float64 [n]."""
    cases = held_out_cases(data, fold, "new_to_user")
    (ranked,) = rank_targets(two_tower(trained, data), data, [cases], K)
    return metrics.at_k(ranked.ranks, K, cases.offsets)[f"ndcg@{K}"]


def mean_cosine(one: Floats32, two: Floats32) -> float:
    """Mean cosine of rows, both float32 [n, d]."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return float(((one * two).sum(axis=1) / np.maximum(lengths, 1e-12)).mean())


def delta_bytes(old: Floats32, new: Floats32, kept: NDArray[np.int64]) -> dict[str, float]:
    """Bytes of the int8 item matrix of release B, whole and as updates to A's.

    Both are in order of item ids, as a bundle of one cell. `dictionary_bytes`: zstd with the old
    matrix before the new one in its window, less the old one alone; within 2% of what a raw-content
    dictionary of the zstandard package leaves. `difference_bytes`: known rows less the old ones,
    value by value, dimension by dimension, then new rows as they are.

    Args:
        old: float32 [n, d], A's item vectors.
        new: float32 [m, d], B's.
        kept: integer [n], the rows in `new` of A's items.
    """
    before, after = quantize_rows(old)[0], quantize_rows(new)[0]
    with np.errstate(over="ignore"):  # int8 arithmetic goes round, and back on the phone
        difference = after[kept] - before
    fresh = np.delete(after, kept, axis=0)
    one, two = before.tobytes(), after.tobytes()
    return {
        "rows_bytes": float(len(two)),
        "full_bytes": float(_zstd(two)),
        "dictionary_bytes": float(_zstd(one + two) - _zstd(one)),
        "difference_bytes": float(_zstd(difference.T.tobytes() + fresh.tobytes())),
    }


def _zstd(data: bytes) -> int:
    return len(pa.Codec("zstd", compression_level=LEVEL).compress(data, asbytes=True))


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Table(title="warm-start, MovieLens-100K, release B", title_justify="left")
    shown = {
        "valid_ndcg10": ".4f",
        "valid_ndcg10_int8": ".4f",
        "test_ndcg10": ".4f",
        "test_ndcg10_int8": ".4f",
        "cosine": ".3f",
        "moved": ".2f",
        "dictionary_bytes": ",.0f",
        "difference_bytes": ",.0f",
        "train_s": ".0f",
        "epochs": ".0f",
    }
    for name in ("release", *shown):
        table.add_column(name.replace("_", " "), justify="left" if name == "release" else "right")
    for row in rows:
        table.add_row(str(row["release"]), *(format(row[k], form) for k, form in shown.items()))
    Console(width=150).print(table)
