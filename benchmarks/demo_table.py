"""The demo's last table and its flat figures, read from what the steps left in the work folder."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, percentiles
from bundle.reader import open_bundle

Row = dict[str, Cell]
STAGES = ("features", "tower", "retrieve", "rank", "rerank", "total")
BASELINES = ("popularity", "item_knn", "transitions")
MB = 1_000_000


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

    def read(self, name: str) -> Any:
        """Parse a JSON file of the work folder."""
        return json.loads((self.work / name).read_text())


def metric(measured: Mapping[str, Any], name: str) -> float:
    """A metric's value, whether or not its bootstrap interval stands beside it."""
    value = measured[name]
    return float(value["value"] if isinstance(value, Mapping) else value)


def quality(found: Found) -> list[Row]:
    """Retrieval and ranking, each beside what it must beat."""
    report = found.read("report/evaluation.json")
    rows: list[Row] = []
    for name, measured in report["retrieval"].items():
        rows += [
            {"what": f"{label}, {name}", "value": round(metric(measured, key), 4), "unit": ""}
            for label, key in (("recall@20", "recall@20"), ("NDCG@10", "ndcg@10"))
        ]
    for head, measured in report["ranking"].items():
        auc = round(metric(measured, "roc_auc"), 4)
        rows.append({"what": f"ROC-AUC, head {head}", "value": auc, "unit": ""})
    return rows


def model_files(bundle: Path) -> list[tuple[str, int, dict[str, Any]]]:
    """Name, bytes and meta of every model variant of a bundle."""
    files = open_bundle(bundle).manifest.files
    return [(each.name, each.bytes, dict(each.meta)) for each in files if each.kind == "model"]


def sizes(found: Found) -> list[Row]:
    """Bundle, models, and the largest difference of each variant to Keras."""
    rows: list[Row] = [
        {"what": "bundle, all variants", "value": bundle_bytes(found), "unit": "bytes"}
    ]
    for name, size, meta in model_files(found.work / "bundle"):
        label = name.removeprefix("models/") + (" (default)" if meta.get("default") else "")
        rows.append({"what": label, "value": size, "unit": "bytes"})
        error = float(meta["max_abs_error"])
        rows.append({"what": f"{label}: most off Keras", "value": error, "unit": ""})
    return rows


def bundle_bytes(found: Found) -> int:
    """Bytes of all files of the first release."""
    return sum(each.bytes for each in open_bundle(found.work / "bundle").manifest.files)


def speed(found: Found) -> list[Row]:
    """Latency by stage and engine, median and 99th percentile."""
    rows: list[Row] = []
    for engine, latency in found.latency.items():
        first = round(latency.first_slate_ms, 1)
        rows.append({"what": f"{engine}: import to first slate", "value": first, "unit": "ms"})
        for stage in STAGES:
            taken = percentiles(latency.stages[stage])
            text = f"{taken['p50']:.3f} / {taken['p99']:.3f}"
            rows.append({"what": f"{engine}: {stage}, p50 / p99", "value": text, "unit": "ms"})
    return rows


def transfers(found: Found) -> list[Row]:
    """Bytes over the wire, and the seconds of every step."""
    rows: list[Row] = [
        {"what": "first sync, one phone", "value": int(found.first["bytes"]), "unit": "bytes"},
        {"what": "catalogue update", "value": int(found.second["bytes"]), "unit": "bytes"},
        {"what": "nothing new", "value": int(found.second["idle_bytes"]), "unit": "bytes"},
    ]
    if (setup_s := seconds_of_setup()) is not None:
        rows.append({"what": "set-up", "value": setup_s, "unit": "s"})
    rows += [{"what": name, "value": round(s, 1), "unit": "s"} for name, s in found.seconds.items()]
    rows.append({"what": "all steps", "value": round(sum(found.seconds.values()), 1), "unit": "s"})
    return rows


def seconds_of_setup() -> float | None:
    """What `make setup` took, as it noted; None in an environment made otherwise."""
    note = Path(sys.prefix) / "setup_s"
    return float(note.read_text()) if note.exists() else None


SECTIONS = {"quality": quality, "sizes and parity": sizes, "latency": speed, "transfers": transfers}


def rows(found: Found) -> list[Row]:
    """All lines of the table, each with its section."""
    return [{"section": name, **row} for name, lines in SECTIONS.items() for row in lines(found)]


def show(console: Console, lines: Sequence[Row]) -> None:
    """Print the table."""
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
    console.print(table)


def figures(found: Found) -> dict[str, float]:
    """The flat figures that commits are compared by."""
    report = found.read("report/evaluation.json")
    total = percentiles(found.latency["litert"].stages["total"])
    flat = {
        "recall20": metric(report["retrieval"]["model"], "recall@20"),
        "ndcg10": metric(report["retrieval"]["model"], "ndcg@10"),
        "auc": metric(report["ranking"]["engage"], "roc_auc"),
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
    }
    if (setup_s := seconds_of_setup()) is not None:
        flat["setup_s"] = setup_s
    return flat
