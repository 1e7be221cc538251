"""Draw the plots of docs/device/performance.md from results of `bench device` and `bench offline`.

Run as `python -m benchmarks.support.pictures.plots benchmarks/results docs/images`; needs
the extra `bench`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

Row = dict[str, Any]
METHODS = {
    "pocketrec": "PocketRec",
    "faiss ivf-sq8": "Faiss IVF-SQ8",
    "usearch hnsw-i8": "USearch HNSW int8",
    "hnswlib": "hnswlib",
    "exact graph": "exact top-k in the TFLite graph",
    "numpy exact": "exact in numpy",
}
STAGES = ("features", "tower", "retrieve", "rank", "rerank")


def main(results: Path, out: Path) -> None:
    """Write the three pictures."""
    # The same input gives the same bytes.
    matplotlib.rcParams.update({"svg.hashsalt": "pocketrec", "svg.fonttype": "none"})
    rows = json.loads((results / "device.json").read_bytes())["rows"]
    samples = json.loads((results / "offline.json").read_bytes())["rows"]
    out.mkdir(parents=True, exist_ok=True)
    for name, draw, data in (
        ("search.svg", searches, rows),
        ("stages.svg", stages, rows),
        ("soak.svg", soak, samples),
    ):
        figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
        draw(axes, data)
        figure.savefig(out / name, metadata={"Date": None})
        plt.close(figure)


def searches(axes: Axes, rows: list[Row]) -> None:
    """Milliseconds of a search by catalogue size, with the recall that graphs did not reach."""
    real = [row for row in rows if row["kind"] == "search" and row["vectors"] == "real"]
    dim = next(row["dim"] for row in rows if row["kind"] == "phone")
    same = [row for row in real if row["dim"] == dim]
    for method, label in METHODS.items():
        found = [row for row in same if row["method"] == method]
        least = min((row["recall1000"] for row in found), default=1.0)
        told = f"{label}, recall from {least:.2f}" if least < 0.95 else label
        sizes, ms = [row["items"] for row in found], [row["ms_p50"] for row in found]
        axes.plot(sizes, ms, marker="o", label=told, linewidth=2 if method == "pocketrec" else 1)
    ours = [row for row in same if row["method"] == "pocketrec"]
    base = next((row for row in ours if row["items"] >= 100_000), ours[0])
    sizes = [row["items"] for row in ours if row["items"] >= base["items"]]
    root = [base["ms_p50"] * (size / base["items"]) ** 0.5 for size in sizes]
    axes.plot(sizes, root, linestyle=":", color="grey", label="square root of N")
    axes.set(xscale="log", yscale="log", xlabel="items", ylabel="ms, p50, one thread")
    axes.set_title(f"Best 1,000 of N by inner product, d = {dim}, recall@1000 >= .95")
    axes.legend(fontsize=8)


def stages(axes: Axes, rows: list[Row]) -> None:
    """Milliseconds of each stage of a request by catalogue size."""
    phones = [row for row in rows if row["kind"] == "phone" and row["variant"] == "default"]
    names = [
        f"{row['items']:,}" + ("" if row.get("neighbours") else "\nno neighbours") for row in phones
    ]
    left = [0.0] * len(phones)
    for stage in STAGES:
        ms = [row[f"{stage}_ms_p50"] for row in phones]
        axes.barh(names, ms, left=left, label=stage)
        left = [a + b for a, b in zip(left, ms, strict=True)]
    for at, row in enumerate(phones):
        axes.plot(row["total_ms_p99"], at, marker="|", markersize=24, color="black")
    axes.axvline(5, linestyle=":", color="grey")
    axes.set(xlabel="ms: medians of the stages; bar: p99 of the total; dots: 5 ms", ylabel="items")
    axes.set_title("A slate of 50 out of 1,000 ranked candidates, one thread")
    axes.legend(ncols=len(STAGES), fontsize=8)


def soak(axes: Axes, rows: list[Row]) -> None:
    """Resident memory over the requests."""
    done, mib = [row["requests"] for row in rows], [row["rss_mib"] for row in rows]
    axes.plot(done, mib)
    axes.set(xlabel="requests", ylabel="resident MiB", ylim=(0, max(mib) * 1.2))
    axes.set_title("A phone of a million items, asked without a pause")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
