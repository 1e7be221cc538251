"""New users: the same test cases, when a phone knows only their last 0, 1, 2, 3, 5 or 10 events.

Claim: slates are not below popularity without an event, and above popularity and item-kNN from the
first event on.
Data: MovieLens-100K; with --data also MovieTweetings and Online Retail II. A case keeps its
held-out events and the moment they are asked for; its history is cut to the newest n events, as on
a phone that was installed n events ago. Metric: NDCG@10 over all items that the history does not
hold (over all items, where the recipe allows repeats).
Peers: popularity and item-kNN, tuned anew for each n on validation cases cut alike, then fitted on
training and validation events; the model answers with its refit on both. Repetitions: one training,
seed of the recipe; 95% intervals by paired bootstrap over users.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result
from benchmarks.support import command_line
from pocketrec_training.baselines import BASELINES, Baseline
from pocketrec_training.baselines.ladder import Parameters, climb
from pocketrec_training.baselines.scorer import Build
from pocketrec_training.baselines.tuning import block_scorer
from pocketrec_training.data.dataset import TEST, VALID, Dataset, load_dataset
from pocketrec_training.data.short_histories import short_histories
from pocketrec_training.evaluation.methods import two_stage, two_tower
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.cases import Cases, Setting, held_out_cases, some
from pocketrec_training.metrics.ranks import BlockScorer, rank_targets
from pocketrec_training.metrics.significance import paired_bootstrap
from pocketrec_training.trained import load_trained

RECIPES = Path(__file__).parents[2] / "recipes"
LENGTHS = (0, 1, 2, 3, 5, 10)
POOLED = (1, 2, 3, 5)
PEERS = ("popularity", "item_knn")
MODEL, RETRIEVAL = "two_stage", "two_tower"
WHOLE = -1
"""The whole history, in the column `events`."""
USERS = 3_000
"""Maximum number of test cases, drawn by the seed of the run."""
TUNED_ON = 1_000
WIDTH = 110  # columns if the output is not a terminal

Row = dict[str, Cell]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One data set; folder: below --data, "" where it is fetched."""

    key: str
    title: str
    recipe: Path
    folder: str


SOURCES = (
    Source(key="ml100k", title="MovieLens-100K", recipe=RECIPES / "ml100k.toml", folder=""),
    Source(
        key="movies",
        title="MovieTweetings",
        recipe=RECIPES / "movietweetings.toml",
        folder="movietweetings",
    ),
    Source(
        key="retail",
        title="Online Retail II",
        recipe=RECIPES / "retail.toml",
        folder="online_retail_ii",
    ),
)


def run(
    options: Options,
    sources: Sequence[Source] = SOURCES,
    console: Console | None = None,
) -> Result:
    """Train each data set, cut the histories of its test cases, and print the curves."""
    console = console or Console(width=None if sys.stdout.isatty() else WIDTH)
    chosen = [s for s in sources if (options.data or not s.folder)]
    chosen = [s for s in chosen if not options.only or s.key in options.only]
    minutes = options.minutes / len(chosen) if options.minutes else None
    rows, figures = _earlier(options.earlier, [s for s in sources if s not in chosen])
    for source in chosen:
        work = options.work / source.key
        given = options.data / source.folder if options.data and source.folder else None
        command_line.train(source.recipe, work, given, minutes, final=True)
        found = measure(work / "run", work / "data", options.seed)
        lines, told = summary(found, options.seed)
        show(console, source.title, lines)
        rows += [{"data": source.title, **line} for line in lines]
        figures |= {f"{name}_{source.key}": value for name, value in told.items()}
    return Result(name="quality-new-users", seed=options.seed, rows=rows, figures=figures)


def _earlier(path: Path | None, kept: Sequence[Source]) -> tuple[list[Row], dict[str, float]]:
    """Return rows and figures of the data sets that are not measured again."""
    if path is None:
        return [], {}
    stored = command_line.read_json(path)
    titles, ends = {one.title for one in kept}, tuple(f"_{one.key}" for one in kept)
    rows = [row for row in stored["rows"] if row["data"] in titles]
    return rows, {k: v for k, v in stored["figures"].items() if k.endswith(ends)}


def cut(data: Dataset, cases: Cases, length: int) -> tuple[Dataset, Cases]:
    """Return the cases with at most `length` events of each history; `WHOLE`: all of them."""
    ends = cases.ends if length == WHOLE else np.minimum(cases.ends, length)
    short, pairs = short_histories(data, cases.pairs, ends)
    users = np.array([user for user, _ in pairs], np.int64)
    return short, replace(cases, users=users, ends=ends)


def measure(run_dir: Path, data_dir: Path, seed: int) -> dict[int, dict[str, Values]]:
    """Return NDCG@10 of each test case, by number of events and method; float64 [n]."""
    trained = load_trained(run_dir)
    data = load_dataset(trained.recipe, data_dir)
    setting: Setting = "all" if trained.recipe.rerank.repeats else "new_to_user"
    test = some(held_out_cases(data, TEST, setting), USERS, seed)
    valid = some(held_out_cases(data, VALID, setting), TUNED_ON, seed)
    released, counted = trained.as_released(data)
    candidates = released.candidates(counted)
    fitted = {name: (BASELINES[name].fit(data), BASELINES[name].fit(counted)) for name in PEERS}
    found: dict[int, dict[str, Values]] = {}
    for length in (*LENGTHS, WHOLE):
        short, cases = cut(data, test, length)
        asked = candidates.asking(short)
        models = {
            MODEL: two_stage(released, short, asked, setting),
            RETRIEVAL: two_tower(released, short),
        }
        found[length] = {name: ndcg(score, short, cases) for name, score in models.items()}
        tuned_on, choices = cut(data, valid, length)
        for name, (tuning, final) in fitted.items():
            parameters = tuned(BASELINES[name], tuning, tuned_on, choices)
            score = block_scorer(short, final(**parameters))
            found[length][name] = ndcg(score, short, cases)
    return found


def tuned(baseline: Baseline, fitted: Build, data: Dataset, cases: Cases) -> Parameters:
    """Return the parameters with the best NDCG@10 on validation cases."""

    def gain(parameters: Parameters) -> float:
        return float(ndcg(block_scorer(data, fitted(**parameters)), data, cases).mean())

    return climb(baseline.ladders, gain, baseline.budget).best


def ndcg(score: BlockScorer, data: Dataset, cases: Cases) -> Values:
    """Return NDCG@10 of each case, float64 [n]."""
    (ranked,) = rank_targets(score, data, [cases], 0)
    return metrics.at_k(ranked.ranks, 10, cases.offsets)["ndcg@10"]


def summary(found: dict[int, dict[str, Values]], seed: int) -> tuple[list[Row], dict[str, float]]:
    """Return a line for each number of events and method, and the figures."""
    lines: list[Row] = []
    figures: dict[str, float] = {}
    for length, by_method in found.items():
        name = "all" if length == WHOLE else str(length)
        for method, values in by_method.items():
            line: Row = {"events": length, "method": method, "cases": len(values)}
            line |= metrics.interval(values, seed)
            if method in PEERS:
                low, high = _interval(by_method[MODEL] - values, seed)
                line |= {"lead_low": low, "lead_high": high}
            lines.append(line)
        figures[f"ndcg10_{name}"] = float(by_method[MODEL].mean())
    none = found[0]
    low, high = _interval(none[MODEL] - none["popularity"], seed)
    figures |= {"without_events_low": low, "without_events_high": high}
    for peer in PEERS:
        leads = np.mean([found[n][MODEL] - found[n][peer] for n in POOLED], axis=0)
        figures[f"lead_{peer}"] = float(leads.mean())
        figures[f"lead_{peer}_low"] = _interval(leads, seed)[0]
    return lines, figures


def _interval(differences: Values, seed: int) -> tuple[float, float]:
    low, high = paired_bootstrap(differences[:, None], seed)
    return float(low[0]), float(high[0])


def show(console: Console, title: str, lines: list[Row]) -> None:
    """Print the table of one data set."""
    table = Table(title=f"{title}: NDCG@10 by known events", title_justify="left")
    for column in ("events", "method", "NDCG@10", "95%", "lead of two stages, 95%"):
        table.add_column(column, justify="left" if column == "method" else "right")
    known = None
    for line in lines:
        if known not in (None, line["events"]):
            table.add_section()
        first = "" if known == line["events"] else str(line["events"])
        known = line["events"]
        lead = ""
        if "lead_low" in line:
            lead = f"{line['lead_low']:+.4f} to {line['lead_high']:+.4f}"
        table.add_row(
            "all" if first == str(WHOLE) else first,
            str(line["method"]),
            f"{line['value']:.4f}",
            f"{line['low']:.4f} to {line['high']:.4f}",
            lead,
        )
    console.print(table)
