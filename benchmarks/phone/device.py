"""The phone's path at 10 thousand to 10 million items, one thread, beside its peers.

Claims: a million items are answered in milliseconds (retrieve 1,000 at recall@1000 >= .95, rank
them, re-rank to 50), at least ten times faster than exact top-k in the graph and no slower than
twice faiss IVF-SQ8 at equal recall; beside one busy loop a core a slate takes at most twice as
long; process start to first slate and memory stay in the budget; cost grows no faster than the
square root of N.
Data: MovieLens-100K trained with 1,000 candidates and 32 neighbours an item, its vectors extended
to N, neighbours drawn for them, and synthetic vectors, see `device_world.py`; the users are real.
The largest phone is measured without neighbours too: figures that end in `_plain`.
Figures of a phone come from a child process with an installed release
(`support/children/device.py`), with sockets refused and the user's environment without settings of
threads; searches from another of one thread (`device_search.py`). Repetitions: 2,000 requests,
five of each query. The largest phone asks in four rounds, each first as the machine is and then
beside the busy loops, which are processes of equal priority. Instructions are counted by valgrind
where there is one.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result
from benchmarks.support import command_line
from benchmarks.support.device import device_world
from benchmarks.support.device.device_search import MODULES, save
from benchmarks.support.device.device_world import Source
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_edge.device import Device
from pocketrec_edge.events.event import INTERACTION, Event
from pocketrec_edge.releases.store import Store
from pocketrec_export.items.index_builder import build_index
from pocketrec_export.items.nprobe import choose_probes
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.recipe.toml import recipe_toml

RECIPE = Path(__file__).parents[2] / "recipes" / "ml100k.toml"
SIZES = (10_000, 100_000, 1_000_000)
ON_DISK = 10_000_000
DIMS = (32, 128)
USERS, QUERIES, REQUESTS, VARIANT_REQUESTS, ROUNDS = 200, 100, 2000, 400, 5
BUSY_ROUNDS = 4
CANDIDATES, SLATE, NEIGHBOURS = 1000, 50, 32
CELL_RECALL = 0.96
"""Share of the best items in the cells read; int8 takes less than .01 of it."""
SMALL_PEERS = ("numpy exact", "exact graph", "faiss ivf-sq8", "usearch hnsw-i8", "hnswlib")
PEERS = ("numpy exact", "exact graph", "faiss ivf-sq8")
OTHER_EPOCHS = 8
"""Training of the towers with other dimensions, which only give their vectors."""

Row = dict[str, Cell]


def run(
    options: Options,
    recipe: Path = RECIPE,
    sizes: tuple[int, ...] = SIZES,
    on_disk: int = ON_DISK,
    dims: tuple[int, ...] = DIMS,
    requests: int = REQUESTS,
    counted: int = 10,
    *,
    searches: bool = True,
) -> Result:
    """Train, extend, measure.

    sizes: of the catalogues, rising; phones are measured at each. counted: requests whose
    instructions are counted, 0 = none. searches: measure those too, not phones alone.
    """
    work, seed = options.work, options.seed
    bundle_dir, source = prepared(work, recipe, options)
    rows: list[Row] = []
    for n in sizes:
        largest = n == sizes[-1]
        base, rounds = open_bundle(bundle_dir), BUSY_ROUNDS if largest else 0
        phones, asked = phone_rows(base, source, n, work, requests, seed, rounds)
        if counted and largest:
            phones[0]["instructions"] = instructions(asked, work, counted)
        rows += phones
        if not searches:
            continue
        peers = PEERS if n == sizes[-1] else SMALL_PEERS
        rows += search_rows(search_dir(work, n, "real"), installed(peers), n, "real")
        vectors = device_world.synthetic(n + QUERIES, source.vectors.shape[1], options.seed)
        folder = search_dir(work, n, "synthetic")
        index_files(folder, vectors[:n], vectors[n:], options.seed)
        rows += search_rows(folder, installed(("faiss ivf-sq8",)), n, "synthetic")
    plain = work / "plain"
    bundle_dir, same = prepared(plain, recipe, options, neighbours=0)
    base = open_bundle(bundle_dir)
    rows += phone_rows(base, same, sizes[-1], plain, requests, seed, BUSY_ROUNDS, every=False)[0]
    if not searches:
        on_disk, dims = 0, ()
    if on_disk:
        vectors, _ = device_world.extended(source.vectors, on_disk, options.seed)
        folder = search_dir(work, on_disk, "real")
        index_files(folder, vectors, source.users[:QUERIES], options.seed)
        del vectors
        rows += search_rows(folder, (), on_disk, "real")
    for dim in dims:
        other = trained(work / f"d{dim}", recipe, options, dim)
        for n in sizes[-2:]:
            vectors, _ = device_world.extended(other.vectors, n, options.seed)
            folder = search_dir(work, n, f"real-{dim}")
            index_files(folder, vectors, other.users[:QUERIES], options.seed)
            rows += search_rows(folder, installed(("faiss ivf-sq8",)), n, "real")
    show(rows)
    return Result(name="device", seed=options.seed, rows=rows, figures=summary(rows, sizes[-1]))


def prepared(
    work: Path, recipe: Path, options: Options, neighbours: int = NEIGHBOURS
) -> tuple[Path, Source]:
    """Train and export with the candidates, neighbours and slate of this benchmark."""
    source = trained(work, recipe, options, neighbours=neighbours)
    words = ("export", work / "run", "--out", work / "bundle", "--force", "--all-variants")
    command_line.call(*words, shows_progress=True)
    return work / "bundle", source


def trained(
    work: Path,
    recipe: Path,
    options: Options,
    dim: int | None = None,
    *,
    neighbours: int = 0,
) -> Source:
    """Train the recipe with other settings, for `OTHER_EPOCHS` with another dimension."""
    work.mkdir(parents=True, exist_ok=True)
    chosen = load_recipe(recipe)
    retrieval = chosen.retrieval
    ranker = replace(chosen.ranker, candidates=CANDIDATES)
    if not neighbours:
        ranker = replace(ranker, neighbour_candidates=0)
    if dim is not None:
        retrieval = replace(retrieval, dim=dim, epochs=OTHER_EPOCHS)
        ranker = replace(ranker, epochs=1)
    changed = replace(
        chosen,
        retrieval=retrieval,
        neighbours=replace(chosen.neighbours, per_item=neighbours),
        ranker=ranker,
        rerank=replace(chosen.rerank, slate=SLATE),
    )
    path = work / "recipe.toml"
    path.write_text(recipe_toml(changed, f"{recipe.name} for bench device"), "utf-8")
    command_line.train(path, work, options.data, options.minutes)
    return Source.of(work / "run", work / "data", USERS)


def search_dir(work: Path, n: int, kind: str) -> Path:
    """Folder of one index."""
    return work / f"search-{n}-{kind}"


def index_files(folder: Path, vectors: Any, queries: Any, seed: int) -> None:
    """Cluster vectors and write what a search reads."""
    n = len(vectors)
    ids = [f"{at:08d}" for at in range(n)]
    index = build_index(vectors, ids, device_world.cells_for(n), seed)
    k = min(CANDIDATES, n)
    probes = choose_probes(index, vectors, queries[: QUERIES // 2], k, CELL_RECALL).probes
    save(folder, index, vectors[index.order], queries, probes)


def installed(peers: tuple[str, ...]) -> tuple[str, ...]:
    """Those whose library is here; the others are named on stderr."""
    missing = {p for p in peers if p in MODULES and not importlib.util.find_spec(MODULES[p])}
    if missing:
        told = ", ".join(sorted(missing))
        sys.stderr.write(f"left out: {told}; pip install 'pocketrec[bench]'\n")
    return tuple(peer for peer in peers if peer not in missing)


def search_rows(folder: Path, peers: tuple[str, ...], n: int, vectors: str) -> list[Row]:
    """Search one index by all, in a child of one thread."""
    words = (str(folder), ",".join(peers), str(ROUNDS))
    found: list[dict[str, Any]] = child(
        "benchmarks.support.device.device_search", *words, setting=ONE_THREAD
    )
    dim = int(np.load(folder / "vectors.npy", mmap_mode="r").shape[1])
    size = sum(
        (folder / name).stat().st_size for name in ("centroids", "offsets", "rows", "scales")
    )
    facts: Row = {"kind": "search", "items": n, "dim": dim, "vectors": vectors}
    return [
        {**facts, **row, **({"bytes": size} if row["method"] == "pocketrec" else {})}
        for row in found
    ]


def phone_rows(
    base: Bundle,
    source: Source,
    n: int,
    work: Path,
    requests: int,
    seed: int,
    busy_rounds: int,
    *,
    every: bool = True,
) -> tuple[list[Row], dict[str, Any]]:
    """Install a release of n items, then measure a phone with each variant; the default first.

    busy_rounds: of the default one, see `support/children/device.py`; every: the other variants,
    too.

    Returns:
        The rows, and what was asked of the first.
    """
    release = work / f"release-{n}"
    vectors, index, probes = device_world.write(base, source, n, CELL_RECALL, release, seed)
    save(search_dir(work, n, "real"), index, vectors, source.users[:QUERIES], probes)
    home = phone(work / f"phone-{n}", release, source)
    bundle = open_bundle(release, verify=False)
    histories = [
        (past.rows.tolist(), past.events.tolist(), past.ts.tolist())
        for past in (device_world.history_of(bundle, one) for one in source.histories)
    ]
    asked: dict[str, Any] = {
        "home": str(home),
        "release": str(release),
        "engine": "litert",
        "variant": None,
        "histories": histories,
        "now_utc": source.now_utc,
        "k": SLATE,
        "requests": requests,
        "seed": seed,
        "busy_rounds": busy_rounds,
    }
    texts = bundle.manifest.entry("catalogue.sqlite").bytes
    facts: Row = {
        "kind": "phone",
        "items": n,
        "dim": bundle.spec.dim,
        "neighbours": bundle.spec.neighbours,
        "environment": thread_settings(USER),
        "bundle_bytes": bundle.manifest.total_bytes() - texts,
    }
    rows = [{**facts, **phone_row(asked, work)}]
    for engine, variant in variants(bundle) if every else ():
        few = {"requests": min(requests, VARIANT_REQUESTS), "busy_rounds": 0}
        some = {"engine": engine, "variant": variant, **few}
        rows.append({**facts, **phone_row({**asked, **some}, work)})
    return rows, asked


def variants(bundle: Bundle) -> list[tuple[str, str]]:
    """Engine and variant of which the release has both models."""
    found: dict[tuple[str, str], set[str]] = {}
    for entry in bundle.manifest.files:
        if entry.kind == "model":
            key = str(entry.meta["engine"]), str(entry.meta["variant"])
            found.setdefault(key, set()).add(str(entry.meta["model"]))
    return sorted(key for key, models in found.items() if len(models) == 2 and key[0] != "ort")


def phone(home: Path, release: Path, source: Source) -> Path:
    """Install a release and log one user's events, moved to end now."""
    store = Store(home / "store")
    store.install_bundle(release, lambda _: None)
    device = Device(home)
    ids, events, ts = source.histories[0]
    late = int(time.time()) - source.now_utc
    types = open_bundle(release, verify=False).spec.event_types
    assert device._log is not None
    device._log.append_many(
        [
            Event(
                id=f"past-{at}",
                kind=INTERACTION,
                item_id=item_id,
                event=types[event],
                value=None,
                ts=when + late,
                context={},
            )
            for at, (item_id, event, when) in enumerate(
                zip(ids, events.tolist(), ts.tolist(), strict=True)
            )
        ]
    )
    device.close()
    return home


def phone_row(asked: dict[str, Any], work: Path) -> Row:
    """Measure one phone; the percentiles of all stages."""
    path = work / "asked.json"
    path.write_text(json.dumps(asked), "ascii")
    words = (str(path), str(time.monotonic_ns()))
    found: dict[str, Any] = child("benchmarks.support.children.device", *words)
    stages = found["stages"]
    if asked["variant"] is None and (found["sources"] != ["model"] or found["source"] != "model"):
        raise command_line.ChildFailedError(
            f"not all requests were answered by the models: {found}"
        )
    row: Row = {
        "engine": asked["engine"],
        "variant": asked["variant"] or "default",
        "answered_by": "; ".join(found["sources"]),
        "requests": asked["requests"],
        **{
            f"{stage}_ms_p{at}": float(np.percentile(samples, at))
            for stage, samples in stages.items()
            for at in (50, 95, 99)
        },
    }
    if asked["busy_rounds"]:
        idle, busy = stages["total"], found["busy_stages"]["total"]
        row |= {f"busy_total_ms_p{at}": float(np.percentile(busy, at)) for at in (50, 95, 99)}
        row["busy_ratio"] = float(np.median(busy) / np.median(idle))
        row["busy_loops"] = found["busy_loops"]
    for name in ("cold_start_ms", "first_rss_mib", "rss_mib", "peak_mib", "cpu_ms"):
        row[name] = found[name]
    return row


def instructions(asked: dict[str, Any], work: Path, counted: int) -> float | None:
    """Count instructions a request by callgrind, a proxy of energy; None without callgrind."""
    counts = []
    for requests in (counted, 3 * counted):
        some = {**asked, "histories": asked["histories"][:counted], "requests": requests}
        some["busy_rounds"] = 0
        path = work / "asked.json"
        path.write_text(json.dumps(some), "ascii")
        tool = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={work / 'callgrind.out'}")
        command = (
            *tool,
            sys.executable,
            "-m",
            "benchmarks.support.children.device",
            str(path),
            "0",
        )
        try:
            done = subprocess.run(command, env=USER, capture_output=True, text=True)  # noqa: S603
        except OSError:
            return None
        told = [line for line in done.stderr.splitlines() if "Collected" in line]
        if done.returncode or not told:
            return None
        counts.append(int(told[0].split()[-1]))
    return (counts[1] - counts[0]) / (2 * counted)


THREADS = (
    "BLIS_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OMP_THREAD_LIMIT",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
USER = {name: value for name, value in os.environ.items() if name not in THREADS}
"""The environment of a user, who sets no number of threads."""
ONE_THREAD = {**os.environ, **dict.fromkeys(THREADS, "1")}
"""That of searches: the peers would take all cores."""


def thread_settings(environment: Mapping[str, str]) -> str:
    """Return settings of BLAS and of threads in an environment, for a row; "none" if empty."""
    families = ("BLIS_", "GOTO_", "MKL_", "NUMEXPR_", "OMP_", "OPENBLAS_", "VECLIB_")
    found = sorted(item for item in environment.items() if item[0].startswith(families))
    return "; ".join(f"{name}={value}" for name, value in found) or "none"


def child(module: str, *words: str, setting: Mapping[str, str] = USER) -> Any:
    """Run a module in an environment and parse what it prints."""
    command = (sys.executable, "-m", module, *words)
    done = subprocess.run(command, env=setting, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise command_line.ChildFailedError(
            f"{module} ended with {done.returncode}.\n{done.stderr[-2000:]}"
        )
    return json.loads(done.stdout)


def summary(rows: list[Row], largest: int) -> dict[str, float]:
    """Figures of the largest phone and its peers, and how cost grows."""
    phones = [row for row in rows if row["kind"] == "phone" and row["items"] == largest]
    plain = next(row for row in phones if not row["neighbours"])
    found = phone_figures(phones[0], "") | phone_figures(plain, "_plain")
    if phones[0].get("instructions"):
        found["instructions_1m"] = phones[0]["instructions"]
    real = [row for row in rows if row["kind"] == "search" and row["vectors"] == "real"]
    if not real:
        return {name: float(str(value)) for name, value in found.items()}
    dim = phones[0]["dim"]
    here = {row["method"]: row for row in real if row["items"] == largest and row["dim"] == dim}
    ours = [
        row
        for row in real
        if row["method"] == "pocketrec" and row["dim"] == dim and int(str(row["items"])) > 10_000
    ]
    found["recall1000_1m"] = here["pocketrec"]["recall1000"]
    found["retrieve_ms_1m"] = here["pocketrec"]["ms_p50"]
    for method, name in (
        ("faiss ivf-sq8", "faiss_ivf_ms_1m"),
        ("exact graph", "exact_graph_ms_1m"),
    ):
        if method in here:
            found[name] = here[method]["ms_p50"]
    if len(ours) > 1:
        sizes, ms = ([float(str(row[key])) for row in ours] for key in ("items", "ms_p50"))
        found["growth_exponent"] = float(np.polyfit(np.log(sizes), np.log(ms), 1)[0])
    return {name: float(str(value)) for name, value in found.items()}


def phone_figures(row: Row, end: str) -> Row:
    """Figures of one phone; their names end in `end`."""
    columns = {
        "p50_ms": "total_ms_p50",
        "p99_ms": "total_ms_p99",
        "busy_p50_ms": "busy_total_ms_p50",
        "busy_p99_ms": "busy_total_ms_p99",
        **{name: name for name in ("busy_ratio", "cold_start_ms", "rss_mib", "peak_mib")},
        **{name: name for name in ("bundle_bytes", "cpu_ms")},
    }
    return {f"{figure}_1m{end}": row[column] for figure, column in columns.items()}


def show(rows: list[Row]) -> None:
    """Print phones, then searches."""
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 150)
    stages = ("features", "tower", "retrieve", "rank", "rerank", "total")
    phones = Table(title="phones: milliseconds, p50 (p99)", title_justify="left")
    for name in ("items", "Q", "engine", "variant", *stages, "busy", "cold", "MiB", "peak"):
        phones.add_column(name, justify="left" if name in ("engine", "variant") else "right")
    searches = Table(title="searches: best 1,000", title_justify="left")
    for name in ("items", "d", "vectors", "method", "knob", "recall", "p50 ms", "p99 ms"):
        searches.add_column(name, justify="left" if name in ("vectors", "method") else "right")
    for row in rows:
        if row["kind"] == "phone" and row["answered_by"] != "model":
            console.print(f"{row['engine']} {row['variant']}: {row['answered_by']}")
        elif row["kind"] == "phone":
            times = (f"{row[f'{s}_ms_p50']:.2f} ({row[f'{s}_ms_p99']:.2f})" for s in stages)
            memory = (f"{row[name]:.0f}" for name in ("cold_start_ms", "rss_mib", "peak_mib"))
            names = (str(row[name]) for name in ("neighbours", "engine", "variant"))
            busy = f"{row['busy_total_ms_p50']:.2f}" if "busy_ratio" in row else ""
            phones.add_row(f"{row['items']:,}", *names, *times, busy, *memory)
        else:
            searches.add_row(*search_cells(row))
    console.print(phones)
    console.print(searches)


def search_cells(row: Row) -> list[str]:
    """Cells of a line of the table of searches."""
    return [
        f"{row['items']:,}",
        *(str(row[name]) for name in ("dim", "vectors", "method")),
        "" if row["knob"] is None else str(row["knob"]),
        f"{row['recall1000']:.3f}",
        f"{row['ms_p50']:.2f}",
        f"{row['ms_p99']:.2f}",
    ]
