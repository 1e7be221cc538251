"""What a phone downloads when 1% of a catalogue changed: its rows, then its prices.

Claims: the deltas of 1% of the rows take at most 1.2 times the bytes of these rows; a check that
finds nothing new is one signed file of at most 2 kB.
Data: drawn, see `drawn_release.py`; the release has all files but models. A real phone syncs with
a real server over loopback. `delta_bytes` and `price_delta_bytes` are what came by delta in those
two syncs, `full_bytes` what the first one fetched, and apply_ms the median time to make the
matrix of rows from its delta, beside writing the whole file (write_ms) in the same run.
"""

import resource
import shutil
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import children
from benchmarks.drawn_release import Drawn, write_drawn_release
from benchmarks.harness import Cell, Options, Result, percentiles
from bundle.delta import apply_delta, make_delta
from bundle.reader import open_bundle
from edge_runtime.sync import SyncReport, sync
from sync_server.keys import load_signers, make_keys
from sync_server.repository import PublishReport, publish

ITEMS, DIM, SHARE, REPETITIONS = 200_000, 64, 0.01, 15

Row = dict[str, Cell]


def run(options: Options, items: int = ITEMS, dim: int = DIM) -> Result:
    """Publish three releases, sync one phone after each, and time the codec."""
    work = options.work
    first = Drawn.of(items, dim, options.seed)
    rows = first.with_rows(SHARE, options.seed + 1)
    prices = rows.with_prices(SHARE, options.seed + 2)
    repo, keys, home = work / "repo", work / "keys", work / "phone"
    for folder in (repo, keys, home):  # of a run before
        shutil.rmtree(folder, ignore_errors=True)
    make_keys(keys)
    signers = load_signers(keys)
    found: list[Row] = []
    base = None
    for name, drawn in {"first": first, "rows": rows, "prices": prices}.items():
        write_drawn_release(work / name, drawn, name, base)
        base = open_bundle(work / name)
        started = time.monotonic()
        report = publish(work / name, repo, signers, "stable")
        made_s = time.monotonic() - started
        with children.server(repo, work) as url:
            found.append(_row(name, report, made_s, _sync(home, repo, url)))
    with children.server(repo, work) as url:
        idle = _sync(home, repo, url)
    apply_ms, write_ms = _codec(work, _matrix(work / "first"), _matrix(work / "rows"))
    figures = {
        "delta_bytes": float(found[1]["delta_bytes"] or 0),
        "changed_bytes": float((first.rows != rows.rows).any(axis=1).sum() * dim),
        "full_bytes": float(found[0]["full_bytes"] or 0),
        "price_delta_bytes": float(found[2]["delta_bytes"] or 0),
        "price_changed_bytes": float((rows.prices != prices.prices).sum() * 4),
        "check_bytes": float(idle.bytes_down),
        "check_requests": float(idle.requests),
        "apply_ms": apply_ms,
        "write_ms": write_ms,
        "make_s": float(found[1]["publish_s"] or 0),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    _show(found, figures)
    return Result(name="sync", seed=options.seed, rows=found, figures=figures)


def _sync(home: Path, repo: Path, url: str) -> SyncReport:
    return sync(home, url, lambda _: None, root_path=repo / "metadata" / "1.root.json")


def _row(name: str, made: PublishReport, made_s: float, report: SyncReport) -> Row:
    return {
        "release": name,
        "publish_s": made_s,
        "new_bytes": made.new_bytes,
        "metadata_bytes": report.metadata_bytes,
        "full_bytes": report.full_bytes,
        "delta_bytes": report.delta_bytes,
        "files": report.files_fetched,
        "by_delta": report.files_by_delta,
        "sync_s": report.seconds,
    }


def _matrix(folder: Path) -> bytes:
    return open_bundle(folder).read("index/rows")


def _codec(work: Path, old: bytes, new: bytes) -> tuple[float, float]:
    """Median milliseconds to apply a delta, and to write the file that it makes."""
    form, delta = make_delta(old, new)
    apply_ms, write_ms = [], []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        made = apply_delta(form, delta, old, len(new))
        applied = time.perf_counter()
        (work / "made").write_bytes(made)
        write_ms.append((time.perf_counter() - applied) * 1000)
        apply_ms.append((applied - started) * 1000)
    assert np.array_equal(np.frombuffer(made, np.uint8), np.frombuffer(new, np.uint8))
    return percentiles(apply_ms)["p50"], percentiles(write_ms)["p50"]


def _show(rows: list[Row], figures: dict[str, float]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 130)
    table = Table(title="Syncs", title_justify="left")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(f"{v:,.2f}" if isinstance(v, float) else f"{v}" for v in row.values()))
    console.print(table)
    for name, value in figures.items():
        console.print(f"{name} {value:,.2f}")
