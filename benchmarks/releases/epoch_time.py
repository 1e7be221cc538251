"""An epoch of the two towers on short histories: batches by length beside one padded length.

Claim: batches of the data's own lengths, of which only real targets are scored, make an epoch
several times shorter than windows that are all padded to `max_history` and scored at every place.
Data: MovieTweetings (`--data`, its raw files; half of the users have four training events or
fewer), without it a drawn data set of that kind. The peer is the same compiled step on the same
windows in one length, as before commit "Batch windows by lengths of the data". Both epochs are cut
into slices that run alternately; compiling is timed apart.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Options, Result
from pocketrec_training.data.dataset import TRAIN, Dataset, Items, load_dataset
from pocketrec_training.data.features.columns import feature_spec
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.recipe.load import load_recipe, parse_recipe
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.towers.fit import prepare_process
from pocketrec_training.towers.item_content import item_inputs
from pocketrec_training.towers.sequences import Windows, batches, cut, gather_windows
from pocketrec_training.towers.step import TowerFit

RECIPE = Path(__file__).parents[2] / "recipes" / "movietweetings.toml"
DRAWN = {"users": 8_000, "items": 10_000}
SLICES = 10
WIDTH = 110  # columns if the output is not a terminal


def run(
    options: Options,
    drawn: Mapping[str, int] = DRAWN,
    retrieval: Mapping[str, int] | None = None,
    console: Console | None = None,
) -> Result:
    """Time one epoch each way, print both, and return the ratio.

    Args:
        options: see `Options`.
        drawn: users and items of the drawn data set.
        retrieval: settings of its recipe that are not the defaults.
        console: for the table.
    """
    if options.data:
        recipe = load_recipe(RECIPE)
        build_tables(recipe, options.work / "tables", options.data)
        data = load_dataset(recipe, options.work / "tables")
    else:
        value = {"name": "drawn", "data": {"interactions": "none.csv"}}
        recipe = parse_recipe(value | {"retrieval": dict(retrieval or {})}, "drawn")
        data = short_histories(**drawn, seed=options.seed)
    before, after = measure(recipe, data, options.seed)
    rows = [asdict(before), asdict(after)]
    _show(console or Console(width=None if sys.stdout.isatty() else WIDTH), rows)
    figures = {
        "speedup_short": before.epoch_s / after.epoch_s,
        "epoch_s_before": before.epoch_s,
        "epoch_s_after": after.epoch_s,
        "compile_s_before": before.compile_s,
        "compile_s_after": after.compile_s,
        "scored_ratio": before.scored / after.scored,
    }
    return Result(name="epoch-time", seed=options.seed, rows=rows, figures=figures)


@dataclass(slots=True, kw_only=True)
class Epoch:
    """One way to cut an epoch into batches: its sizes, seconds to compile and to train."""

    batches: str
    steps: int
    shapes: int
    events: int
    positions: int
    scored: int
    compile_s: float
    epoch_s: float = 0.0


def measure(recipe: Recipe, data: Dataset, seed: int) -> list[Epoch]:
    """Time one epoch of a data set in one padded length, then by length."""
    config = recipe.retrieval
    ways = {
        "one padded length, every place scored": padded_batches,
        "lengths of the data, real targets scored": batches,
    }
    spec = feature_spec(recipe, data.items)
    inputs = item_inputs(spec, data.items, config.title_buckets)
    fits, epochs, rows = [], [], []
    for name, cut_into in ways.items():
        prepare_process(seed)
        fit = TowerFit(recipe, spec, data, inputs)
        rng = np.random.default_rng(seed)
        parts = list(cut_into(data, spec.max_history, config.batch, rng))
        one_of_each = {part.shape: part for part in parts}
        compiling = sum(_compiling(fit, part, seed) for part in one_of_each.values())
        rows.append(
            Epoch(
                batches=name,
                steps=len(parts),
                shapes=len(one_of_each),
                events=sum(int(part.real.sum()) for part in parts),
                positions=sum(part.rows.size for part in parts),
                scored=sum(len(part.places) for part in parts),
                compile_s=compiling,
            )
        )
        fits.append(fit)
        epochs.append(parts)
    for at in range(SLICES):
        for row, fit, parts in zip(rows, fits, epochs, strict=True):
            row.epoch_s += _seconds(fit, parts[at::SLICES], seed)
    return rows


def _compiling(fit: TowerFit, part: Windows, seed: int) -> float:
    """Seconds by which the first step of a shape exceeds the next ones."""
    return _seconds(fit, [part], seed) - _seconds(fit, [part] * 3, seed) / 3


def _seconds(fit: TowerFit, parts: Iterable[Windows], seed: int) -> float:
    rng = np.random.default_rng(seed)
    begun = time.perf_counter()
    for part in parts:
        fit.step(part, 0.5, rng)
    return time.perf_counter() - begun


def padded_batches(
    data: Dataset, max_history: int, batch: int, rng: np.random.Generator
) -> Iterator[Windows]:
    """Yield `batch` windows of any length a time, padded to `max_history`, all places scored."""
    starts, stops = cut(data, max_history, rng)
    order = rng.permutation(len(starts))
    for at in range(0, len(order), batch):
        chosen = order[at : at + batch]
        empty = np.zeros(batch - len(chosen), np.int64)
        yield gather_windows(
            data,
            np.concatenate([starts[chosen], empty]),
            np.concatenate([stops[chosen], empty]),
            max_history,
        )


def short_histories(users: int, items: int, seed: int) -> Dataset:
    """Draw users with four events at the median; a tenth of the items has half of the events."""
    rng = np.random.default_rng(seed)
    sizes: NDArray[np.int64] = 1 + rng.geometric(0.21, users)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    n = int(offsets[-1])
    return Dataset(
        items=Items(
            ids=[f"i{row}" for row in range(items)],
            titles=[f"word{row % 997} word{row % 89}" for row in range(items)],
            categories=[(f"c{row % 17}",) for row in range(items)],
            price=np.full(items, -1.0, np.float32),
            year=np.full(items, -1.0, np.float32),
        ),
        user_ids=[f"u{user}" for user in range(users)],
        offsets=offsets,
        rows=(items * rng.random(n) ** 3.3).astype(np.int32),
        events=np.zeros(n, np.int32),
        ts=np.arange(n, dtype=np.int64) * 60,
        fold=np.full(n, TRAIN, np.int8),
    )


def _show(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table(title="One epoch of the two towers")
    for name in rows[0]:
        table.add_column(name, justify="left" if name == "batches" else "right")
    for row in rows:
        table.add_row(
            *(
                f"{v:,.1f}" if isinstance(v, float) else f"{v:,}" if isinstance(v, int) else str(v)
                for v in row.values()
            )
        )
    console.print(table)
