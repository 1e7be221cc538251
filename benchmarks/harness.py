"""The form of every benchmark: options in, a table and flat figures out, one JSON file.

The JSON object holds `name`, `date` (day of the run, UTC), `commit`, `machine`, `versions`, `seed`,
`rows` (the table, a list of objects) and `figures` (flat: name -> number).
"""

import math
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from pocketrec_bundle.errors import InputError

Cell = str | int | float | bool | None

# Distributions whose version a figure may depend on.
DISTRIBUTIONS = (
    "pocketrec",
    "numpy",
    "tensorflow-cpu",
    "tensorflow",
    "keras",
    "keras-rs",
    "ai-edge-litert",
    "onnxruntime",
    "tf2onnx",
    "duckdb",
    "ibis-framework",
    "tuf",
    "flask",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `pocketrec bench` hands to a benchmark.

    Attributes:
        work: folder for everything the benchmark writes; outside version control.
        data: folder with the raw data set; None lets the registry fetch it.
        minutes: cap of the training, so that its figures depend on the machine; None leaves the
            recipe's own, by default none.
        seed: seed of whatever the benchmark draws itself.
        only: names of the data sets to run; empty: all.
        earlier: a result of this benchmark, whose rows of other data sets stay.
    """

    work: Path
    data: Path | None = None
    minutes: float | None = None
    seed: int = 7
    only: tuple[str, ...] = ()
    earlier: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a benchmark found: `rows` for people, `figures` for comparison between commits."""

    name: str
    seed: int
    rows: Sequence[Mapping[str, Cell]]
    figures: Mapping[str, float] = field(default_factory=dict)


def percentiles(samples_ms: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile of repeated timings, in the unit given."""
    if not samples_ms:
        raise InputError("percentiles: no samples were taken; ask for at least one repetition.")
    p50, p99 = np.percentile(np.asarray(samples_ms, dtype=np.float64), (50, 99))
    return {"p50": float(p50), "p99": float(p99)}


def commit(root: Path) -> str:
    """Hash of the checked-out commit, '+modified' if files differ; 'unknown' outside git."""
    command = ("git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=+modified")
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def machine() -> dict[str, str | int]:
    """The machine a figure was taken on: processor, cores this process may use, memory."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else n_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def n_cores() -> int:
    """Cores of the machine, where a process cannot ask for its own share (macOS)."""
    return os.cpu_count() or 1


def processor_name() -> str:
    """Marketing name of the processor, as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def versions() -> dict[str, str]:
    """Installed versions of Python and of what the figures depend on."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def document(result: Result) -> dict[str, Any]:
    """The JSON object of a result; refuses figures that JSON cannot hold."""
    for name, value in result.figures.items():
        if not math.isfinite(value):
            raise InputError(f"bench {result.name}: figure {name} is {value}, not a finite number.")
    return {
        "name": result.name,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(Path(__file__).parent.parent),
        "machine": machine(),
        "versions": versions(),
        "seed": result.seed,
        "rows": [dict(row) for row in result.rows],
        "figures": dict(result.figures),
    }
