"""Own data: from public files to a slate with the recipe that `init` writes, and how good it is.

Claim: with no edit of that recipe, the shipped path is never clearly below the best of all printed
baselines: NDCG@10 at least .98 of it, and the upper end of the paired 95% interval of the
difference at least 0.
Data (`support/own_data/sets.py`): seven public sets as people have them, and two drawn ones of
shapes that are not there. Sets whose files are not there are left out.
Peers: all baselines of `pocketrec evaluate`, tuned on validation; the best is chosen on the test
cases themselves. Repetitions: one training a set. The shipped path is the exported bundle: its
models, index and rules.
The clock of `minutes_to_slate` runs from `init` to the first slate of `device recommend`. A run
with a final fit is exported once more, as its evaluation fit, for the figures alone.
"""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.demo import WIDTH, empty
from benchmarks.harness import Cell, Options, Result, commit
from benchmarks.support import command_line
from benchmarks.support.own_data.sets import SETS, OwnSet, chosen
from pocketrec_training.run_folder import RunFolder

SHIPPED, METRIC = "shipped_bundle", "ndcg@10"
LEAST_RATIO = 0.98
ROOT = Path(__file__).parents[2]

Row = Mapping[str, Cell]


def run(options: Options, sets: dict[str, OwnSet] = SETS, console: Console | None = None) -> Result:
    """Take each set through the commands; rows of `options.earlier` stay for the other sets."""
    console = console or Console(width=None if sys.stdout.isatty() else WIDTH)
    wanted = chosen(options.only, sets)
    work = empty(options.work)
    rows = {str(row["set"]): row for row in _earlier(options.earlier) if row["set"] not in wanted}
    for name, each in wanted.items():
        folder = work / name
        files = each.files(options.data, folder / "files", options.seed)
        if not files:
            console.print(f"{name}: its files are not below --data; left out")
            continue
        console.print(f"{name}: {', '.join(path.name for path in files)}")
        facts: Row = {"set": name, "title": each.title, "real": each.real}
        rows[name] = {**facts, **_row(files, folder, options)}
    lines = [rows[name] for name in sets if name in rows]
    console.print(table(lines))
    return Result(name="own-data", seed=options.seed, rows=lines, figures=figures(lines))


def _earlier(path: Path | None) -> list[Row]:
    return command_line.read_json(path)["rows"] if path else []


def _row(files: list[Path], folder: Path, options: Options) -> dict[str, Cell]:
    """Measure one set; a command that fails is the row's verdict."""
    told: dict[str, Cell] = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(ROOT),
    }
    try:
        return told | measured(files, folder, options.minutes)
    except command_line.ChildFailedError as err:
        last = str(err).strip().splitlines()
        return told | {"verdict": "failed", "error": f"{last[0]} {last[-1]}"}


def measured(files: list[Path], folder: Path, minutes: float | None) -> dict[str, Cell]:
    """Run the commands of a new user on files; return what they cost and how good the slate is."""
    recipe, data = folder / "recipe.toml", folder / "data"
    run_dir, bundle, report = folder / "run", folder / "bundle", folder / "report"
    budget = ("--minutes", str(minutes)) if minutes else ()
    phone = ("--home", folder / "phone", "--bundle", bundle, "--offline")
    to_slate: list[tuple[str | Path, ...]] = [
        ("init", *files, "--out", recipe),
        ("data", recipe, "--out", data),
        ("train", recipe, "--data", data, "--out", run_dir, *budget),
        ("export", run_dir, "--out", bundle),
        ("device", "recommend", *phone),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    for words in to_slate:
        command_line.call(*words, shows_progress=words[0] in ("train", "export"))
    spent = time.monotonic() - started
    scored = bundle
    if RunFolder(run_dir).shipped == "final":
        scored = folder / "evaluation-bundle"
        command_line.call("export", run_dir, "--out", scored, "--fit", "evaluation")
    judge = ("evaluate", run_dir, "--data", data, "--out", report, "--bundle", scored)
    command_line.call(*judge, shows_progress=True)
    found = command_line.read_json(report / "evaluation.json")
    rival, setting = found["baseline_gain"]["rival"], found["baseline_gain"]["setting"]
    words = ("compare", report, report, "--method-a", rival, "--method-b", SHIPPED)
    compared = command_line.call_json(*words)["settings"][setting]["metrics"][METRIC]
    return {
        "commands": len(to_slate) + 1,
        "minutes_to_slate": spent / 60,
        "cases": found["baseline_gain"]["cases"],
        "split": found["protocol"]["split_kind"],
        "two_stage": found["baseline_gain"]["model_ndcg10"],
    } | judged(rival, compared)


def judged(rival: str, compared: Mapping[str, Any]) -> dict[str, Cell]:
    """Return ratio, interval and verdict of a comparison of the best baseline with what ships."""
    ratio = compared["b"] / compared["a"] if compared["a"] else 1.0
    below = ratio < LEAST_RATIO or compared["high"] < 0
    ahead = compared["low"] > 0
    return {
        "best_baseline": rival,
        "baseline_ndcg10": compared["a"],
        "ndcg10": compared["b"],
        "ratio": ratio,
        "difference": compared["difference"],
        "difference_low": compared["low"],
        "difference_high": compared["high"],
        "verdict": "below" if below else "ahead" if ahead else "level",
    }


def figures(rows: list[Row]) -> dict[str, float]:
    """Count the sets, those below their best baseline and those that failed; the largest costs."""
    done = [row for row in rows if row["verdict"] != "failed"]
    flat = {
        "datasets": float(len(done)),
        "real_datasets": float(sum(bool(row["real"]) for row in done)),
        "below_best_baseline": float(sum(row["verdict"] == "below" for row in done)),
        "failed": float(len(rows) - len(done)),
    }
    if done:
        flat["commands_max"] = max(float(row["commands"] or 0) for row in done)
        flat["minutes_to_slate_max"] = max(float(row["minutes_to_slate"] or 0) for row in done)
        flat["ratio_min"] = min(float(row["ratio"] or 0) for row in done)
    return flat


def table(rows: list[Row]) -> Table:
    """Draw the rows."""
    shown = Table(title="own data, the recipe of init, test cases", title_justify="left")
    numbers: dict[str, Callable[[Row], str]] = {
        "minutes": lambda row: f"{row['minutes_to_slate']:.1f}",
        "NDCG@10": lambda row: f"{row['ndcg10']:.4f}",
        "best baseline": lambda row: f"{row['best_baseline']} {row['baseline_ndcg10']:.4f}",
        "ratio": lambda row: f"{row['ratio']:.3f}",
        "difference, 95%": lambda row: (
            f"{row['difference_low']:+.4f}..{row['difference_high']:+.4f}"
        ),
    }
    for column in ("data", *numbers, "verdict"):
        shown.add_column(column, justify="right" if column in numbers else "left")
    for row in rows:
        failed = row["verdict"] == "failed"
        cells = ("" if failed else make(row) for make in numbers.values())
        shown.add_row(str(row["title"]), *cells, str(row["verdict"]))
    return shown
