"""The demo's last lines: what was shown, whether it is good, and what to run next."""

from pathlib import Path

from rich.console import Console

from benchmarks.harness import percentiles
from benchmarks.support.demo.demo_table import Found, default_bytes

ENGINE = "litert"
FRAME_MS = 16.7
"""Time of one frame on a screen of 60 Hz; a slate within it does not delay scrolling."""


def lines(found: Found, table: Path, home: Path) -> list[str]:
    """Sum up a demo in six lines.

    Args:
        found: its figures.
        table: file of the whole table.
        home: a phone to look at.
    """
    report = found.work / "report" / "evaluation.html"
    return [
        f"Quality   {_quality(found)}",
        f"Phone     {_phone(found)}",
        f"Sync      {_kilobytes(found.first['bytes'])} at first,"
        f" {_kilobytes(found.second['bytes'])} for the changed catalogue,"
        f" {found.second['idle_bytes']:,.0f} bytes if nothing is new",
        f"New film  {_new_film(found)}",
        f"Tables    all figures {table}, evaluation {report}",
        f"Next      pocketrec device browse --home {home}"
        " (like films, see the list react); your own files: docs/bring-your-own-data.md",
    ]


def _quality(found: Found) -> str:
    gain = found.read("report/evaluation.json")["baseline_gain"]
    is_clear = not gain["low"] <= 0 <= gain["high"]
    sign = "above" if gain["difference"] > 0 else "below"
    judged = (
        "a clear difference" if is_clear else f"no clear difference among {gain['cases']:,} users"
    )
    return (
        f"NDCG@10 {gain['model_ndcg10']:.3f}, {abs(gain['difference']):.3f} {sign} the best tuned"
        f" simple method ({gain['rival']}, {gain['rival_ndcg10']:.3f}); 95% interval of the"
        f" difference {gain['low']:+.3f} to {gain['high']:+.3f}: {judged}"
    )


def _phone(found: Found) -> str:
    taken = percentiles(found.latency[ENGINE].stages["total"])
    fits = "within" if taken["p99"] <= FRAME_MS else "longer than"
    return (
        f"a slate in {taken['p50']:.1f} ms, 99 of 100 in {taken['p99']:.1f} ms ({fits} a screen"
        f" frame of {FRAME_MS} ms), by models of {_kilobytes(default_bytes(found, ENGINE))} and"
        " with no network"
    )


def _new_film(found: Found) -> str:
    added = found.added
    return (
        f"{found.title} was added without training: a candidate for {added.at_once} of"
        f" {added.phones} users, for {added.after_siblings} after likes of films like it; one like"
        f" of it keeps {added.kept_added:.1f} of 10 films in a slate, one of the known film nearest"
        f" to it {added.kept_sibling:.1f}"
    )


def _kilobytes(n_bytes: float) -> str:
    return f"{n_bytes / 1000:,.0f} kB"


def show(console: Console, found: Found, table: Path, home: Path) -> None:
    """Print the verdict."""
    console.rule("[bold]verdict[/bold]", align="left")
    for each in lines(found, table, home):
        console.print(each, markup=False, highlight=False, soft_wrap=True)
