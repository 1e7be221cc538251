"""A new user's first slates, and what a like does to the next one.

Claim: with some events in the log a like changes the slate of the same second towards the liked
item; chosen interests bring slates of what was chosen. What they cost or bring in NDCG is in the
table, by which the number of items and the event that stand for an interest were chosen. Data:
MovieLens-100K, validation events through the device path (the ranker learned from most of them, so
the figures compare rows and say nothing else; the test split is not touched). Peers, in the same
process: popularity, and the lists of categories by which a phone answers without models. In every
row the items of the whole history are left out, so that rows differ in what the method knows of the
user alone. "Interests" are the commonest categories of the history: what a person of this taste
might choose, not what one chose. `benchmarks/support/session_reaction.py` has the second table.
Repetitions: one training.

Columns: NDCG@10 and the 95% interval of its difference to an empty history, paired by case;
recall@20; share of the first 10 that have a category of the interests that the row knows (of three
where it knows none), and the same share with an empty history.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result
from benchmarks.support import command_line, session_reaction
from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.features import History
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_edge.events.interests import EVENT, ITEMS_EACH, with_interests
from pocketrec_edge.faults import joined
from pocketrec_edge.recommend.fallback import COMMONEST, fallback_rows, wanted_categories
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_training.data.dataset import VALID, Dataset, load_dataset
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.cases import Cases, held_out_cases
from pocketrec_training.metrics.significance import paired_bootstrap
from pocketrec_training.trained import load_trained

RECIPE = Path(__file__).parents[2] / "recipes" / "ml100k.toml"
K, LONG = 10, 20
EMPTY = "empty history"

Row = dict[str, Cell]
Rows = NDArray[np.int32]
Method = Callable[[History, int, NDArray[np.bool_]], Rows]
"""(whole history, now, rows left out) -> at most `LONG` rows, best first."""


class ColdStart:
    """Ways to make a slate for somebody of whom little is known."""

    def __init__(self, bundle: Bundle) -> None:
        self._device, self._bundle = Recommender(bundle), bundle
        self._popular = np.asarray(bundle.array("items/popular"))

    def methods(self) -> Iterator[tuple[str, int, Method]]:
        """Name, number of interests that it knows, and method of each row, the peers first."""
        yield "popularity", 0, lambda _, __, out: self._popular[~out[self._popular]][:LONG]
        yield f"lists of {COMMONEST} categories", COMMONEST, self._lists
        yield EMPTY, 0, self._chosen(0)
        for n in (1, 2, 3):
            yield f"{n} interests", n, self._chosen(n)
        yield "3 interests, 1 item each", 3, self._chosen(3, each=1)
        yield "3 interests, 10 items each", 3, self._chosen(3, each=10)
        yield "3 interests, last event type", 3, self._chosen(3, event=-1)
        for n in (1, 2, 5):
            yield f"first {n} events", 0, self._chosen(0, events=n)
            yield f"first {n} events, 3 interests", 3, self._chosen(3, events=n)
        yield "whole history", 0, lambda past, now, _: self._slate(past, past, now)

    def commonest(self, past: History) -> list[int]:
        """Codes of the commonest categories of a history."""
        return wanted_categories(self._bundle.categories, past)

    def _lists(self, past: History, now: int, out: NDArray[np.bool_]) -> Rows:  # noqa: ARG002
        none = self._popular[:0]
        found = fallback_rows(self._bundle.cohorts, self.commonest(past), none, out)
        return np.array(list(found), np.int32)[:LONG]

    def _chosen(
        self, interests: int, *, events: int = 0, each: int = ITEMS_EACH, event: int = EVENT
    ) -> Method:
        spec, cohorts = self._bundle.spec, self._bundle.cohorts
        code = range(len(spec.event_types))[event]

        def slate(past: History, now: int, _: NDArray[np.bool_]) -> Rows:
            names = [spec.categories[c - 1] for c in self.commonest(past)[:interests]]
            known = first(past, events)
            asked = with_interests(spec, cohorts, names, known, now, each=each, event=code)
            return self._slate(past, asked, now)

        return slate

    def _slate(self, past: History, known: History, now: int) -> Rows:
        found = self._device.recommend(Query(known, now, LONG, exclude_seen=False, shown=past.rows))
        if found.faults or found.source != "model":
            raise PocketRecError(f"session: {found.source}, {joined(found.faults)}")
        return np.array([item.row for item in found.items], np.int32)


def first(history: History, n: int) -> History:
    """Return the first n events."""
    return History(history.rows[:n], history.events[:n], history.ts[:n])


def cold_start(bundle: Bundle, data: Dataset, cases: Cases, seed: int) -> list[Row]:
    """Answer the cases by each method."""
    rows = np.array([bundle.row_of(item_id) for item_id in data.items.ids], np.int32)
    codes = np.asarray(bundle.categories[np.arange(bundle.item_count)])
    asking = ColdStart(bundle)
    asked: list[tuple[History, int, NDArray[np.bool_]]] = []
    for user, end in cases.pairs:
        past, now = data.history(user, end), int(data.ts[data.offsets[user] + end])
        history, out = History(rows[past.rows], past.events, past.ts), ~bundle.available
        out[history.rows] = True
        asked.append((history, now, out))
    methods = list(asking.methods())
    slates = {name: [method(*each).tolist() for each in asked] for name, _, method in methods}

    def share(name: str, interests: int) -> float:
        return float(
            np.mean(
                [
                    np.isin(codes[slate[:K]], asking.commonest(each[0])[:interests])
                    .any(axis=1)
                    .mean()
                    for slate, each in zip(slates[name], asked, strict=True)
                ]
            )
        )

    placed = {name: _places(lists, rows, cases) for name, lists in slates.items()}
    gains = {name: metrics.at_k(at, K, cases.offsets)[f"ndcg@{K}"] for name, at in placed.items()}
    table: list[Row] = []
    for name, interests, _ in methods:
        low, high = paired_bootstrap((gains[name] - gains[EMPTY])[:, None], seed)
        recall = metrics.at_k(placed[name], LONG, cases.offsets)[f"recall@{LONG}"]
        table.append(
            {
                "table": "cold",
                "knows": name,
                "ndcg10": float(gains[name].mean()),
                "change_low": float(low[0]),
                "change_high": float(high[0]),
                "recall20": float(recall.mean()),
                "of_interest": share(name, interests or COMMONEST),
                "of_interest_empty": share(EMPTY, interests or COMMONEST),
            }
        )
    return table


def _places(slates: list[list[int]], rows: Rows, cases: Cases) -> NDArray[np.int64]:
    """0-based place of each target, parallel to `cases.targets`; `LONG`: not shown."""
    return np.array(
        [
            slate.index(row) if row in slate else LONG
            for case, slate in enumerate(slates)
            for row in rows[cases.targets_of(case)].tolist()
        ],
        np.int64,
    )


def run(options: Options, recipe: Path = RECIPE) -> Result:
    """Train, export, and measure both; prints the tables."""
    work = options.work
    command_line.train(recipe, work, options.data, options.minutes)
    words = ("export", work / "run", "--out", work / "bundle", "--force")
    command_line.call(*words, shows_progress=True)
    return measure(work / "run", work / "data", work / "bundle", work / "phones", options.seed)


def measure(run_dir: Path, data_dir: Path, bundle_dir: Path, homes: Path, seed: int) -> Result:
    """Measure a trained run; prints the tables.

    Args:
        run_dir: of the training.
        data_dir: its tables.
        bundle_dir: exported from it.
        homes: folder for phones.
        seed: of the bootstrap, and of the choice of users.
    """
    data = load_dataset(load_trained(run_dir).recipe, data_dir)
    cases = held_out_cases(data, VALID, "new_to_user")
    cold = cold_start(open_bundle(bundle_dir), data, cases, seed)
    show(cold)
    reactions = session_reaction.measure(bundle_dir, data, cases, homes, seed)
    session_reaction.show(reactions)
    figures = {f"ndcg10, {row['knows']}": float(str(row["ndcg10"])) for row in cold}
    for row in reactions:
        for column in ("ms_p50", "ms_p99", "new", "cosine_change"):
            if row[column] is not None:
                about = f"{row['method']}, {row['history']} events, place {row['place']}"
                figures[f"{column}, {about}"] = float(str(row[column]))
    return Result(name="session", seed=seed, rows=[*cold, *reactions], figures=figures)


def show(rows: Sequence[Row]) -> None:
    """Print what each method knows and how good its slates are."""
    table = Table(title="session: cold start, MovieLens-100K, validation events")
    for name in ("knows", "NDCG@10", "to empty", "recall@20", "of interest", "empty"):
        table.add_column(name, justify="left" if name == "knows" else "right")
    for row in rows:
        table.add_row(
            str(row["knows"]),
            f"{row['ndcg10']:.4f}",
            f"{row['change_low']:+.4f} to {row['change_high']:+.4f}",
            f"{row['recall20']:.4f}",
            *(f"{row[name]:.3f}" for name in ("of_interest", "of_interest_empty")),
        )
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120).print(table)
