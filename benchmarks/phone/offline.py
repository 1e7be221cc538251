"""Ten minutes and a hundred thousand requests on one phone of a million items, without a network.

Claims: no socket is opened, every request is answered by the models, and memory does not grow.
Data: as `bench device`, whose release it makes. Every hundredth slate is logged as seen and an item
liked, so that the log and the history move; what the log forgets is written as on a phone. Growth
is the mean of the last tenth of the samples of resident memory minus that of the first tenth, taken
after a tenth of all requests: by then the mapped index has been read everywhere.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result
from benchmarks.phone import device
from benchmarks.support.device import device_world
from pocketrec_bundle.reader import open_bundle

ITEMS, REQUESTS, MINUTES, ACT_EVERY = 1_000_000, 100_000, 10.0, 100

Row = dict[str, Cell]


def run(
    options: Options,
    recipe: Path = device.RECIPE,
    items: int = ITEMS,
    requests: int = REQUESTS,
    minutes: float = MINUTES,
) -> Result:
    """Train, extend, install, then ask; `--minutes` bounds the training alone."""
    work = options.work
    bundle_dir, source = device.prepared(work, recipe, options)
    base, release = open_bundle(bundle_dir), work / "release"
    device_world.write(base, source, items, device.CELL_RECALL, release, options.seed)
    asked = {
        "home": str(device.phone(work / "phone", release, source)),
        "item_ids": source.items.ids,
        "k": device.SLATE,
        "minutes": minutes,
        "requests": requests,
        "act_every": ACT_EVERY,
        "warm": requests // 10,
    }
    path = work / "asked.json"
    path.write_text(json.dumps(asked), "ascii")
    found: dict[str, Any] = device.child("benchmarks.support.children.offline", str(path))
    rows: list[Row] = [
        {"requests": done, "seconds": seconds, "rss_mib": mib}
        for done, seconds, mib in found["resident"]
    ]
    figures = summary(found)
    show(figures, found)
    return Result(name="offline", seed=options.seed, rows=rows, figures=figures)


def summary(found: dict[str, Any]) -> dict[str, float]:
    """Figures of what the child found."""
    mib = np.array([sample[2] for sample in found["resident"]])
    tenth = max(len(mib) // 10, 1)
    p50, p99 = np.percentile(found["totals_ms"], (50, 99))
    return {
        "requests": found["requests"],
        "rss_growth_mib": float(mib[-tenth:].mean() - mib[:tenth].mean()),
        "sockets_opened": found["sockets"],
        "seconds": found["seconds"],
        "cpu_ms_request": found["cpu_s"] * 1000 / found["requests"],
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "rss_mib": float(mib[-tenth:].mean()),
        "peak_mib": found["peak_mib"],
        "answered_by_models": found["sources"].get("model", 0) / found["requests"],
        "faults": sum(found["faults"].values()),
        "events": found["events"],
        "log_bytes": found["log_bytes"],
    }


def show(figures: dict[str, float], found: dict[str, Any]) -> None:
    """Print the figures, and what went wrong if anything did."""
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 130)
    table = Table(title="offline", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.3f}".rstrip("0").rstrip("."))
    console.print(table)
    for fault, times in found["faults"].items():
        console.print(f"{times} times: {fault}")
