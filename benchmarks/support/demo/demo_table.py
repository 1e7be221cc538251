"""The demo's table and its flat figures, read from what the steps left in the work folder."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, percentiles
from benchmarks.support.cold_start import added_film
from pocketrec_bundle.reader import open_bundle

Row = dict[str, Cell]
SIMPLE = ("popularity", "item_knn", "transitions", "slist")
OURS = ("two_tower", "two_stage")
WIDTH = 140
STAGES = ("features", "tower", "retrieve", "rank", "rerank", "total")


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one engine: import to first slate, then samples of every stage."""

    first_slate_ms: float
    stages: Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the demo measured itself; the rest lies in the files of `work`."""

    work: Path
    seconds: Mapping[str, float]
    first: Mapping[str, float]
    second: Mapping[str, float]
    latency: Mapping[str, Latency]
    added: added_film.Found
    title: str

    def read(self, name: str) -> Any:
        """Parse a JSON file of the work folder."""
        return json.loads((self.work / name).read_text())


def quality(found: Found) -> list[Row]:
    """Retrieval and ranking beside simple methods, the best of them included."""
    report = found.read("report/evaluation.json")
    best = report["best_baseline"]
    methods = (*SIMPLE, *(() if best in SIMPLE else (best,)), *OURS)
    rows: list[Row] = []
    for label, key in (("NDCG@10", "ndcg@10"), ("recall@20", "recall@20")):
        for method in methods:
            measured = report["retrieval"][method]
            value = f"{measured[key]['value']:.4f}"
            between = f"95%: {measured[key]['low']:.4f} to {measured[key]['high']:.4f}"
            rows.append({"what": f"{label}, {method}", "value": value, "unit": between})
    for head, measured in report["ranking"].items():
        value = f"{measured['roc_auc']:.4f}"
        rows.append({"what": f"ROC-AUC, head {head}", "value": value, "unit": ""})
    return rows


def model_files(bundle: Path) -> list[tuple[str, int, dict[str, Any]]]:
    """Name, bytes and meta of every model variant of a bundle."""
    files = open_bundle(bundle).manifest.files
    return [(each.name, each.bytes, dict(each.meta)) for each in files if each.kind == "model"]


def sizes(found: Found) -> list[Row]:
    """Bundle, models, and the largest difference of each variant to Keras."""
    rows: list[Row] = [
        {"what": "bundle, all targets", "value": bundle_bytes(found), "unit": "bytes"}
    ]
    for name, size, meta in model_files(found.work / "bundle"):
        error = float(meta["max_abs_error"])
        note = f"bytes, off Keras by {error:.1e}" + (", default" if meta.get("default") else "")
        rows.append({"what": name.removeprefix("models/"), "value": size, "unit": note})
    return rows


def bundle_bytes(found: Found) -> int:
    """Bytes of all files of the first release."""
    return sum(each.bytes for each in open_bundle(found.work / "bundle").manifest.files)


def default_bytes(found: Found, engine: str) -> int:
    """Bytes of both models that a phone with this engine gets."""
    files = model_files(found.work / "bundle")
    return sum(n for _, n, meta in files if meta.get("default") and meta["engine"] == engine)


def speed(found: Found) -> list[Row]:
    """Latency by stage and engine, median and 99th percentile."""
    rows: list[Row] = []
    for engine, latency in found.latency.items():
        first = f"{latency.first_slate_ms:.0f}"
        rows.append({"what": f"{engine}: import to first slate", "value": first, "unit": "ms"})
        for stage in STAGES:
            taken = percentiles(latency.stages[stage])
            text = f"{taken['p50']:.2f} / {taken['p99']:.2f}"
            rows.append({"what": f"{engine}: {stage}", "value": text, "unit": "ms, p50 / p99"})
    return rows


def transfers(found: Found) -> list[Row]:
    """Bytes over the wire, as HTTP bodies."""
    return [
        {"what": "first sync, one phone", "value": int(found.first["bytes"]), "unit": "bytes"},
        {"what": "catalogue update", "value": int(found.second["bytes"]), "unit": "bytes"},
        {"what": "nothing new", "value": int(found.second["idle_bytes"]), "unit": "bytes"},
    ]


def new_film(found: Found) -> list[Row]:
    """What phones make of a film known by content alone."""
    added, of = found.added, f"of {found.added.phones} phones"
    what = f"{found.title} is a candidate"
    return [
        {"what": f"{what} at once", "value": added.at_once, "unit": of},
        {"what": f"{what} after likes of films like it", "value": added.after_siblings, "unit": of},
        {"what": "one like of it keeps", "value": f"{added.kept_added:.1f}", "unit": "of 10 films"},
        {
            "what": "one like of the known film nearest to it keeps",
            "value": f"{added.kept_sibling:.1f}",
            "unit": "of 10 films",
        },
    ]


def durations(found: Found) -> list[Row]:
    """Seconds of every step."""
    setup_s = seconds_of_setup()
    steps = {**({"set-up": setup_s} if setup_s is not None else {}), **found.seconds}
    rows: list[Row] = [
        {"what": name, "value": f"{s:.1f}", "unit": "s"} for name, s in steps.items()
    ]
    return [*rows, {"what": "together", "value": f"{sum(steps.values()):.1f}", "unit": "s"}]


def seconds_of_setup() -> float | None:
    """What `make setup` took, as it noted; None in an environment made otherwise."""
    note = Path(sys.prefix) / "setup_s"
    text = note.read_text().strip() if note.exists() else ""
    return float(text) if text else None


SECTIONS = {
    "quality": quality,
    "sizes": sizes,
    "latency": speed,
    "transfer": transfers,
    "new film": new_film,
    "time": durations,
}


def rows(found: Found) -> list[Row]:
    """All lines of the table, each with its section."""
    return [{"section": name, **row} for name, lines in SECTIONS.items() for row in lines(found)]


def write(path: Path, lines: Sequence[Row]) -> None:
    """Write the table as text."""
    table = Table(title="PocketRec demo", title_style="bold", title_justify="left")
    table.add_column("")
    table.add_column("what")
    table.add_column("value", justify="right")
    table.add_column("")
    section = None
    for row in lines:
        if section is not None and row["section"] != section:
            table.add_section()
        value = f"{row['value']:,}" if isinstance(row["value"], int) else str(row["value"])
        name = "" if row["section"] == section else str(row["section"])
        table.add_row(name, str(row["what"]), value, str(row["unit"]))
        section = str(row["section"])
    with path.open("w", encoding="utf-8") as stream:
        Console(file=stream, width=WIDTH).print(table)


def figures(found: Found) -> dict[str, float]:
    """The flat figures that commits are compared by."""
    report = found.read("report/evaluation.json")
    total = percentiles(found.latency["litert"].stages["total"])
    flat = {
        **{name: float(value) for name, value in report["figures"].items()},
        "bundle_bytes": float(bundle_bytes(found)),
        "p50_ms": total["p50"],
        "p99_ms": total["p99"],
        "first_slate_ms": found.latency["litert"].first_slate_ms,
        "parity_max_error": max(
            float(meta["max_abs_error"])
            for _, _, meta in model_files(found.work / "bundle")
            if meta.get("default")
        ),
        "train_s": found.seconds["train"],
        "total_s": sum(found.seconds.values()),
        "sync_bytes": found.first["bytes"],
        "update_bytes": found.second["bytes"],
        "idle_bytes": found.second["idle_bytes"],
        "kept_added": found.added.kept_added,
        "kept_sibling": found.added.kept_sibling,
    }
    if (setup_s := seconds_of_setup()) is not None:
        flat["setup_s"] = setup_s
    return flat
