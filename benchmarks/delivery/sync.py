"""What a phone downloads when 1% of a catalogue changed: its rows, then its prices.

Claims: the deltas of 1% of the rows take at most 1.2 times the bytes of these rows; a check that
finds nothing new is one signed file of at most 2 kB.
Data: drawn, see `drawn_release.py`; the release has all files but models. A real phone syncs with
a real server over loopback. `delta_bytes` and `price_delta_bytes` are what came by delta in those
two syncs, `full_bytes` what the first one fetched, and apply_ms the median time to make the
matrix of rows from its delta, beside writing the whole file (write_ms) in the same run. Peers for
the same files: bsdiff 4, zstd with the old file as dictionary, and a bound by rows
(`delta_peers.py`). publish_s_1m is the publish of a million items of which 1% changed rows and 1%
prices, with its deltas.
"""

import resource
import shutil
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result, percentiles
from benchmarks.support import command_line
from benchmarks.support.drawn_release import Drawn, write_drawn_release
from benchmarks.support.network.delta_peers import peers
from pocketrec_bundle.encoding.delta import apply_delta, make_delta
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.sync.client import SyncReport, sync
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import PublishReport, found_repository, publish

ITEMS, DIM, SHARE, REPETITIONS = 200_000, 64, 0.01, 15
MILLION = 1_000_000

Row = dict[str, Cell]
CONSOLE = Console(width=None if sys.stdout.isatty() else 130)


def run(options: Options, items: int = ITEMS, dim: int = DIM, million: int = MILLION) -> Result:
    """Publish three releases, sync one phone after each, and time the codec and its peers."""
    work = options.work
    first = Drawn.of(items, dim, options.seed)
    rows = first.with_rows(SHARE, options.seed + 1)
    prices = rows.with_prices(SHARE, options.seed + 2)
    repo, keys, home = work / "repo", work / "keys", work / "phone"
    for folder in (repo, keys, home):  # of a run before
        shutil.rmtree(folder, ignore_errors=True)
    make_keys(keys)
    signers = load_signers(keys)
    found_repository(repo, signers)
    found: list[Row] = []
    base = None
    for name, drawn in {"first": first, "rows": rows, "prices": prices}.items():
        write_drawn_release(work / name, drawn, name, base, answers=True)
        base = open_bundle(work / name)
        started = time.monotonic()
        report = publish(work / name, repo, signers, "stable")
        made_s = time.monotonic() - started
        with command_line.server(repo, work) as url:
            found.append(_row(name, report, made_s, _sync(home, repo, url)))
    with command_line.server(repo, work) as url:
        idle = _sync(home, repo, url)
    before, after = _matrix(work / "first"), _matrix(work / "rows")
    apply_ms, write_ms = _codec(work, before, after)
    others = peers("index/rows, 1% of the rows", before, after, record=dim)
    old, new = open_bundle(work / "rows"), open_bundle(work / "prices")
    for entry in new.manifest.files:
        if entry.sha256 != old.manifest.entry(entry.name).sha256:
            pair = old.read(entry.name), new.read(entry.name)
            others += peers(f"{entry.name}, 1% of the prices", *pair)
    publish_s, publish_mib = _publish_large(work / "large", million, dim, options.seed)
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
        "publish_s_1m": publish_s,
        "publish_peak_mib_1m": publish_mib,
    }
    _show("Syncs", found)
    _show("The same changes by others", others)
    for name, value in figures.items():
        CONSOLE.print(f"{name} {value:,.2f}")
    return Result(name="sync", seed=options.seed, rows=[*found, *others], figures=figures)


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


def _publish_large(work: Path, items: int, dim: int, seed: int) -> tuple[float, float]:
    """Seconds to publish an update of a large catalogue, and MiB at the highest, by the command."""
    shutil.rmtree(work, ignore_errors=True)
    first = Drawn.of(items, dim, seed)
    later = first.with_rows(SHARE, seed + 1).with_prices(SHARE, seed + 2)
    write_drawn_release(work / "first", first, "first", answers=True)
    base = open_bundle(work / "first")
    write_drawn_release(work / "later", later, "later", base, answers=True)
    command_line.call("keys", "make", "--plain", "--out", work / "keys")
    words = ("--repo", work / "repo", "--keys", work / "keys")
    command_line.call("repo", "init", *words)
    publishing = ("publish", *words, "--no-self-test")  # golden vectors are drawn, not answered
    command_line.call(*publishing, work / "first")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    started = time.monotonic()
    command_line.call(*publishing, work / "later")
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    shutil.rmtree(work)
    return seconds, max(before, peak) / 1024


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


def _show(title: str, rows: list[Row]) -> None:
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(f"{v:,.2f}" if isinstance(v, float) else f"{v}" for v in row.values()))
    CONSOLE.print(table)
