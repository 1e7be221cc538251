"""Next purchases on Online Retail II, scored on whole sets of items, beside the best baselines.

Reports how far the device path is above the best simple method: Recall@20 and NDCG@20 on items new
to the customer and on all items, with the paired 95% interval of the difference. The best simple
method is chosen on the test itself, metric by metric, hybrids included, so no rival is stricter.
Data: Online Retail II, 2009-2010, two cuts in time (80/10/10% of the lines); one case a customer:
everything bought in the test period, given everything bought before it.
Peers, in the same process: popularity, personal frequency, transitions, item-kNN, EASE, SLIST,
TIFU-kNN, ALS and hybrids of them (`training/baselines/`). Their parameters are the best on the
validation period; then they are fitted on training and validation period, as the ranker is.
Repetitions: one training, seed of the
recipe; intervals are bootstraps over customers. The test period is scored once, at the end. The
figures are the device's: the exported bundle in LiteRT, its default variant, int8 index and rules.
"""

import sys
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.table import Table

from benchmarks.demo import WIDTH, empty
from benchmarks.harness import Cell, Options, Result
from benchmarks.support import command_line
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_export.gates import on_device
from pocketrec_training.baselines import BASELINES
from pocketrec_training.data.dataset import TEST, load_dataset
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.case_file import add_places
from pocketrec_training.metrics.cases import Setting, held_out_cases
from pocketrec_training.trained import load_trained

RECIPE = Path(__file__).parents[2] / "recipes" / "retail.toml"
MODEL = "two_stage"
DEVICE = "two_stage on the device"
OURS = (MODEL, "two_tower", DEVICE)
HYBRIDS = tuple(name for name, baseline in BASELINES.items() if baseline.parts)
K = 20
TABLES = {"new_to_user": "retrieval", "all": "retrieval_all"}
SUFFIX = {"new_to_user": "", "all": "_all"}
METRICS = {"recall20": "recall@20", "ndcg20": "ndcg@20"}

Row = dict[str, Cell]


def run(options: Options, recipe: Path = RECIPE, console: Console | None = None) -> Result:
    """Tables, models, evaluation through the command line; returns the table and the figures."""
    console = console or Console(width=None if sys.stdout.isatty() else WIDTH)
    work = empty(options.work)
    console.print("training, then one look at the test period")
    command_line.train(recipe, work, options.data, options.minutes)
    report = work / "report"
    words = ("evaluate", work / "run", "--data", work / "data", "--out", report)
    command_line.call(*words, shows_progress=True)
    run_dir, bundle_dir = work / "run", work / "bundle"
    command_line.call("export", run_dir, "--out", bundle_dir, "--force", shows_progress=True)
    found = command_line.read_json(report / "evaluation.json")
    lines = rows(found) + device_rows(work, report, options.seed) + tests(found, report)
    for setting in TABLES:
        show(console, setting, [row for row in lines if row["setting"] == setting])
    return Result(name="quality-retail", seed=options.seed, rows=lines, figures=figures(lines))


def rows(found: dict[str, Any]) -> list[Row]:
    """One line a method and setting, with 95% intervals and the parameters chosen."""
    chosen = {(b["method"], b["setting"]): b["parameters"] for b in found["baselines"]["chosen"]}
    lines: list[Row] = []
    for setting, key in TABLES.items():
        for method, m in found[key].items():
            line: Row = {"setting": setting, "method": method}
            for name, metric in METRICS.items():
                line[name] = m[metric]["value"]
                line[f"{name}_low"], line[f"{name}_high"] = m[metric]["low"], m[metric]["high"]
            parameters = chosen.get((method, setting), {})
            line["parameters"] = ", ".join(f"{k} {v:g}" for k, v in parameters.items())
            lines.append(line)
    return lines


def device_rows(work: Path, report: Path, seed: int) -> list[Row]:
    """Answer the test cases of both settings from the bundle; its places go into `cases.npz`."""
    trained = load_trained(work / "run")
    data = load_dataset(trained.recipe, work / "data")
    device = Recommender(open_bundle(work / "bundle"), "litert")
    lines: list[Row] = []
    answered = {}
    for setting in get_args(Setting):
        cases = held_out_cases(data, TEST, setting)
        found = on_device.answer(device, data, cases, K, "LiteRT")
        answered[setting] = cases, found.slate
        measured = metrics.at_k(found.slate, K, cases.offsets)
        line: Row = {"setting": setting, "method": DEVICE, "parameters": ""}
        for name, metric in METRICS.items():
            told = metrics.interval(measured[metric], seed)
            line |= {name: told["value"], f"{name}_low": told["low"], f"{name}_high": told["high"]}
        lines.append(line)
    add_places(report, DEVICE, answered)
    return lines


def best_baseline(found: dict[str, Any], setting: str, metric: str) -> str:
    """The strictest rival: best on the test itself, metric by metric."""
    table = found[TABLES[setting]]
    rivals = [method for method in table if method not in OURS]
    best: str = max(rivals, key=lambda method: float(table[method][metric]["value"]))
    return best


def tests(found: dict[str, Any], report: Path) -> list[Row]:
    """The device and Keras against the best baseline of each setting, tested case by case."""
    lines: list[Row] = []
    for setting in TABLES:
        for name, metric in METRICS.items():
            rival = best_baseline(found, setting, metric)
            for ours in (DEVICE, MODEL):
                words = ("--method-a", rival, "--method-b", ours)
                compared = command_line.call_json("compare", report, report, *words)
                m = compared["settings"][setting]["metrics"][metric]
                lines.append(
                    {
                        "setting": setting,
                        "method": f"{ours} - {rival}",
                        name: m["difference"],
                        f"{name}_low": m["low"],
                        f"{name}_high": m["high"],
                        "p": m["p"],
                    }
                )
    return lines


def figures(lines: list[Row]) -> dict[str, float]:
    """Device, Keras, best baseline and best hybrid in both settings; how sure the lead is."""
    flat: dict[str, float] = {}
    for setting, suffix in SUFFIX.items():
        here = [row for row in lines if row["setting"] == setting]
        table = {str(row["method"]): row for row in here if "p" not in row}
        rivals = [row for method, row in table.items() if method not in OURS]
        hybrids = [table[method] for method in HYBRIDS if method in table]
        for name in METRICS:
            flat[f"{name}{suffix}"] = float(table[DEVICE][name] or 0)
            flat[f"{name}_keras{suffix}"] = float(table[MODEL][name] or 0)
            flat[f"{name}_retrieval{suffix}"] = float(table["two_tower"][name] or 0)
            flat[f"best_baseline_{name}{suffix}"] = max(float(r[name] or 0) for r in rivals)
            flat[f"hybrid_{name}{suffix}"] = max(float(row[name] or 0) for row in hybrids)
            (tested,) = (
                row
                for row in here
                if "p" in row and name in row and str(row["method"]).startswith(f"{DEVICE} - ")
            )
            flat[f"lead_{name}_low{suffix}"] = float(tested[f"{name}_low"] or 0)
    return flat


def show(console: Console, setting: str, lines: list[Row]) -> None:
    """Print one setting's table."""
    titles = {"new_to_user": "items new to the customer", "all": "all items, repeats included"}
    table = Table(title=f"Online Retail II: {titles[setting]}", title_justify="left")
    for column in ("method", "Recall@20", "95%", "NDCG@20", "95%", ""):
        table.add_column(column, justify="left" if column in ("method", "") else "right")
    for row in lines:
        cells = [str(row["method"])]
        for name in METRICS:
            known = name in row
            cells.append(f"{row[name]:.4f}" if known else "")
            cells.append(f"{row[f'{name}_low']:.4f}..{row[f'{name}_high']:.4f}" if known else "")
        told = f"p {row['p']:.4f}" if "p" in row else str(row["parameters"])
        table.add_row(*cells, told, style="bold" if row["method"] == DEVICE else "")
    console.print(table)
