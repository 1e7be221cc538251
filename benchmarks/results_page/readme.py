"""The claims of README.md: six figures, one a row, each with a target or a peer and its command."""

from collections.abc import Mapping

from benchmarks.results_page.quality import best_published
from benchmarks.results_page.section import Run

BEGIN = "<!-- claims: written by `make docs` from benchmarks/results -->"
FRAME_MS = 16.7
END = "<!-- end of claims -->"


def claims(runs: Mapping[str, Run]) -> str:
    """Return the table of claims."""
    demo, device = runs["demo"].figures, runs["device"].figures
    ml1m, sync, faults = (runs[name].figures for name in ("quality-ml1m", "sync", "faults"))
    published = best_published(runs["quality-ml1m"])
    bsdiff = runs["sync"].number("bytes", file="index/rows, 1% of the rows", method="bsdiff 4")
    rows = [
        (
            "MovieLens-1M, NDCG@10 on the device",
            f"{ml1m['ndcg10_device']:.3f}",
            f"{published:.3f}, best published on this file",
            "",
            "pocketrec bench quality-ml1m",
        ),
        (
            "its two models in int8",
            f"{ml1m['model_bytes'] / 1000:.0f}",
            "1,000, the target",
            "kB",
            "pocketrec bench quality-ml1m",
        ),
        (
            "one slate offline, MovieLens-100K, median",
            f"{demo['p50_ms']:.1f}",
            f"{FRAME_MS}, a screen frame",
            "ms",
            "make demo",
        ),
        (
            "one slate from a million items, one thread, p99",
            f"{device['p99_ms_1m']:.1f}",
            "5, the target",
            "ms",
            "pocketrec bench device",
        ),
        (
            f"download after 1% of the rows of {sync['full_bytes'] / 1e6:.0f} MB changed",
            f"{sync['delta_bytes'] / 1000:.0f}",
            f"{bsdiff / 1000:.0f}, bsdiff",
            "kB",
            "pocketrec bench sync",
        ),
        (
            f"events lost in {faults['kill_points']:,.0f} kills of publish, install and sync",
            f"{faults['lost']:.0f}",
            "0, the target",
            "events",
            "pocketrec bench faults",
        ),
    ]
    lines = ["| claim | measured | beside | unit | repeat with |", "|---|---:|---:|---|---|"]
    for *cells, command in rows:
        lines.append(f"| {' | '.join(cells)} | `{command}` |")
    return "\n".join(lines)


def with_claims(text: str, runs: Mapping[str, Run]) -> str:
    """Return the document with the claims between its two marks replaced."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document needs the lines {BEGIN!r} and {END!r} around its claims")
    return f"{head}{BEGIN}\n{claims(runs)}\n{END}{tail}"
