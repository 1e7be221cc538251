"""A catalogue of a million items: grown, updated and compacted without training.

Claim: a catalogue release of a million items takes minutes and less than 4 GiB of memory, an update
of 1% of them changes these rows and no others, and withdrawn rows leave when they are many.
Data: a MovieLens-100K run with 64 cells. The items are made up from its films: words of their
titles, one film's categories, a price and a year drawn at random; all of them are known by content
alone. Steps, each a `pocketrec export --catalogue` of its own, start and all: grow to a million;
add 1%, change 1%, withdraw 0.5%; withdraw until a fifth is exceeded. Peer: the same catalogue
quantized, clustered into 1,024 cells and packed again, in this process. Repetitions: one.
Changed rows are those whose vector's bytes the base does not have for that item; moves are places
where a row does not follow the row that it followed in the base, so a patch needs a new copy.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result
from benchmarks.support import command_line
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_bundle.writer import BundleWriter
from pocketrec_export.items.catalogue import known_items
from pocketrec_export.items.content import add_items
from pocketrec_export.items.index_builder import build_index
from pocketrec_training.data.dataset import Items, load_items
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.recipe.toml import recipe_toml

RECIPE = Path(__file__).parents[2] / "recipes" / "ml100k.toml"
MILLION = 1_000_000
CELLS, REBUILT_CELLS = 64, 1024
TITLE_WORDS = 4

Row = dict[str, Cell]


def run(options: Options, recipe: Path = RECIPE, items: int = MILLION) -> Result:
    """Train, export, then three catalogue releases and the peer; `items` of the grown one."""
    work = options.work
    work.mkdir(parents=True, exist_ok=True)
    chosen = load_recipe(recipe)
    celled = replace(chosen, index=replace(chosen.index, cells=CELLS, probes=CELLS // 4))
    (work / "recipe.toml").write_text(recipe_toml(celled, f"{recipe.name} with cells"), "utf-8")
    command_line.train(work / "recipe.toml", work, options.data, options.minutes)
    command_line.call(
        "export", work / "run", "--out", work / "bundle", "--force", shows_progress=True
    )
    films = load_items(work / "run")
    share = celled.export.compact_share
    changes = made_up_changes(films, items, share, np.random.default_rng(options.seed))
    rows: list[Row] = []
    base = work / "bundle"
    for name, lines in changes:
        rows.append({"step": name, **release(work, base, name, lines)})
        base = work / name
    rows.append(rebuilt(work / "update", work / "rebuilt", options.seed))
    for row, name in ((rows[1], "update"), (rows[3], "rebuilt")):
        row |= compared(open_bundle(work / "grow"), open_bundle(work / name))
    show(rows)
    return Result(name="catalogue", seed=options.seed, rows=rows, figures=summary(rows))


def made_up_changes(
    films: Items, n: int, compact_share: float, rng: np.random.Generator
) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """Yield each step's name and changes; the catalogue grows to `n` items."""
    ids = [*films.ids, *(f"new-{n:07d}" for n in range(n - len(films)))]
    late = [f"late-{n:07d}" for n in range(n // 100)]
    drawn = [ids[at] for at in rng.permutation(n)]
    changed, withdrawn, rest = drawn[: n // 100], drawn[-(n // 200) :], drawn[n // 100 :]
    yield "grow", ({"add": one} for one in made_up(films, ids[len(films) :], rng))
    yield (
        "update",
        chain(
            ({"add": one} for one in made_up(films, late, rng)),
            ({"change": one} for one in made_up(films, changed, rng)),
            ({"withdraw": item_id} for item_id in withdrawn),
        ),
    )
    enough = int(compact_share * (n + len(late))) + 1 - len(withdrawn)
    yield "compact", ({"withdraw": item_id} for item_id in rest[:enough])


def made_up(films: Items, ids: list[str], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Yield items for a changes file, made of real words, categories and years."""
    words = sorted({word for title in films.titles for word in title.split()})
    years = films.year[films.year >= 0]
    for item_id in ids:
        some = rng.integers(len(words), size=TITLE_WORDS)
        yield {
            "item_id": item_id,
            "title": " ".join(words[n] for n in some),
            "categories": films.categories[int(rng.integers(len(films)))],
            "price": round(float(rng.lognormal(2.0, 1.0)), 2),
            "year": int(rng.choice(years)) if len(years) else None,
        }


def release(work: Path, base: Path, name: str, changes: Iterator[dict[str, Any]]) -> Row:
    """Write a changes file, make the release in a process of its own, and measure that process."""
    path = work / f"{name}.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(change) + "\n" for change in changes)
    words = ("export", work / "run", "--base", base, "--catalogue", path, "--out", work / name)
    started = time.monotonic()
    child = subprocess.Popen(  # noqa: S603
        command_line.argv(*words, "--force", "--json"), stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        report = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - started
    if child.returncode:
        raise command_line.ChildFailedError(f"the release {name} ended with {child.returncode}.")
    found = json.loads(report)
    peak = usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    counts = {key: found[key] for key in ("items", "added", "changed", "withdrawn", "removed")}
    return {**counts, "seconds": seconds, "peak_mib": peak, "bundle_bytes": found["bundle_bytes"]}


def rebuilt(source: Path, out: Path, seed: int) -> Row:
    """The peer: quantize, cluster and pack all items of a release again."""
    bundle = open_bundle(source)
    table = known_items(bundle)
    vectors = table.rows.astype(np.float32) * table.scales[:, None]
    started = time.monotonic()
    index = build_index(vectors, table.items.ids, min(REBUILT_CELLS, len(table)), seed)
    with BundleWriter(out, force=True) as writer:
        add_items(
            writer,
            bundle.spec,
            table.items,
            index,
            table.popularity,
            table.available,
            table.neighbours,
        )
        for name in ("feature_spec.json", "policy.json"):
            writer.add(name, bundle.read(name), "json")
        manifest = writer.finish(name="rebuilt", recipe_name="rebuilt", created_utc=0)
    sizes = sum(entry.bytes for entry in manifest.files)
    return {
        "step": "rebuilt",
        "items": len(table),
        "seconds": time.monotonic() - started,
        "bundle_bytes": sizes,
    }


def compared(old: Bundle, new: Bundle) -> Row:
    """Count the rows of `new` whose bytes `old` lacks for that item, and where the order breaks."""
    row_of = {item_id: row for row, item_id in enumerate(old.item_ids())}
    at = np.array([row_of.get(item_id, -1) for item_id in new.item_ids()])
    same = at >= 0
    same &= (old.array("index/rows")[at] == new.array("index/rows")).all(axis=1)
    same &= old.scales[at] == new.scales[np.arange(new.item_count)]
    at[~same] = -1
    follows = at[1:] == at[:-1] + 1
    moves = int(np.count_nonzero(same[1:] & ~follows))
    return {"changed_rows": int(np.count_nonzero(~same)), "moves": moves}


def summary(rows: list[Row]) -> dict[str, float]:
    """Figures of the growth, the update, the compaction and the peer."""
    grow, update, compact, peer = ({k: v or 0 for k, v in row.items()} for row in rows)
    peaks = [float(row["peak_mib"]) for row in (grow, update, compact)]
    seconds = float(grow["seconds"])
    return {
        "items": float(grow["items"]),
        "seconds": seconds,
        "items_per_s": float(grow["added"]) / seconds,
        "peak_mib": max(peaks),
        "changed": float(update["added"]) + float(update["changed"]) + float(update["withdrawn"]),
        "update_s": float(update["seconds"]),
        "update_changed_rows": float(update["changed_rows"]),
        "update_moves": float(update["moves"]),
        "compact_s": float(compact["seconds"]),
        "compact_removed": float(compact["removed"]),
        "rebuild_s": float(peer["seconds"]),
        "rebuild_changed_rows": float(peer["changed_rows"]),
        "rebuild_moves": float(peer["moves"]),
    }


def show(rows: list[Row]) -> None:
    """Print a line a step."""
    heads = ["items", "added", "changed", "withdrawn", "removed", "seconds", "peak_mib"]
    heads += ["bundle_bytes", "changed_rows", "moves"]
    table = Table(title="Catalogue releases", title_justify="left")
    table.add_column("step")
    for name in heads:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        cells = (row.get(name) for name in heads)
        table.add_row(str(row["step"]), *("" if n is None else f"{n:,.0f}" for n in cells))
    Console(width=None if sys.stdout.isatty() else 130).print(table)
