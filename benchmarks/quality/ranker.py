"""Two stages against one, and the ranker against two peers on the same features and lists.

Claim: the ranker raises NDCG@10 over retrieval alone, orders candidates with a higher AUC than
logistic regression and LightGBM, and its probabilities are calibrated (ECE).
Data: MovieLens-100K, leave-one-out; with --data also Online Retail II, whose lists hold what the
customer had before, one list a basket of the test period. The test events are touched once, here.
Peers: fitted in this process on the lists that the ranker learned from, which are all lists of the
validation period. Repetitions: one training; 95% intervals by bootstrap over lists, differences
paired.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result
from benchmarks.support import command_line
from pocketrec_bundle.floats import Floats64
from pocketrec_bundle.ranker_features import padded
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.engines.select import open_model
from pocketrec_training.metrics.ranking import ndcg_by_list

RECIPES = Path(__file__).parents[2] / "recipes"
DRAWS = 200
SLATE = 10
PEERS = ("logistic", "lightgbm")

Row = dict[str, Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One data set; suffix: of its figures; folder: below --data, "" where it is fetched."""

    title: str
    suffix: str
    recipe: Path
    folder: str


SOURCES = (
    Source(title="MovieLens-100K", suffix="", recipe=RECIPES / "ml100k.toml", folder=""),
    Source(
        title="Online Retail II",
        suffix="_retail",
        recipe=RECIPES / "retail.toml",
        folder="online_retail_ii",
    ),
)


def run(options: Options, sources: tuple[Source, ...] = SOURCES) -> Result:
    """Train, export, and measure on the test events of each data set; prints the tables."""
    usable = [source for source in sources if options.data or not source.folder]
    minutes = options.minutes / len(usable) if options.minutes else None
    rows: list[Row] = []
    figures: dict[str, float] = {}
    for source in usable:
        work = options.work / source.recipe.stem
        given = options.data / source.folder if options.data and source.folder else None
        command_line.train(source.recipe, work, given, minutes)
        run_dir, bundle_dir = work / "run", work / "bundle"
        command_line.call("export", run_dir, "--out", bundle_dir, "--force", shows_progress=True)
        found = measure(run_dir, work / "data", bundle_dir, options.seed)
        show(source.title, found[0])
        rows += [{"data": source.title, **row} for row in found[0]]
        figures |= {f"{name}{source.suffix}": value for name, value in found[1].items()}
    return Result(name="quality-ranker", seed=options.seed, rows=rows, figures=figures)


def measure(
    run_dir: Path, data_dir: Path, bundle_dir: Path, seed: int
) -> tuple[list[Row], dict[str, float]]:
    """Score the test lists by every method and compare."""
    from pocketrec_training.data.dataset import TEST, load_dataset
    from pocketrec_training.ranker.baselines import baseline_scores
    from pocketrec_training.ranker.epochs import score
    from pocketrec_training.ranker.fit import learning_cases
    from pocketrec_training.trained import load_trained

    trained = load_trained(run_dir)
    data = load_dataset(trained.recipe, data_dir)
    candidates = trained.candidates(data)
    learn, back = learning_cases(trained.recipe, candidates)
    learned = candidates.lists_for(learn + back)
    cases = candidates.latest_cases(TEST, 100_000)
    lists = candidates.lists_for(cases)
    engage = trained.spec.heads.index("engage")
    weights = np.array(trained.spec.head_weights)
    keras = score(trained.ranker, candidates, lists)
    model = open_model(open_bundle(bundle_dir), "ranker", "litert")
    device = np.stack(
        [
            model.run(padded(trained.spec, candidates.flat_one(lists, at)))[: lists.rows.shape[1]]
            for at in range(len(lists))
        ]
    )
    peers = {
        name: baseline_scores(name, trained.ranker, candidates, learned, lists, seed)
        for name in PEERS
    }
    orders = {
        "retrieval": -lists.pair[..., trained.spec.pair.index("retrieval_place")],
        "two_stage": keras @ weights,
        "two_stage_device": device @ weights,
        **peers,
    }
    probabilities = {"ranker": keras[..., engage], "ranker_device": device[..., engage], **peers}
    labels, real = lists.labels[..., engage].astype(np.float64), lists.real
    return compare(orders, probabilities, labels, real, seed)


def compare(
    orders: dict[str, NDArray[np.float32]],
    probabilities: dict[str, NDArray[np.float32]],
    labels: Floats64,
    real: NDArray[np.bool_],
    seed: int,
    draws: int = DRAWS,
) -> tuple[list[Row], dict[str, float]]:
    """Turn scores of lists into rows with intervals and flat figures.

    Args:
        orders: by method, [n, m], what orders the slate.
        probabilities: by method, [n, m], of an event.
        labels: float64 [n, m], 1 where it happened.
        real: bool [n, m], places that hold an item.
        seed: of the bootstrap.
        draws: of the bootstrap.
    """
    from pocketrec_training.metrics import ranking as metrics

    def auc(values: NDArray[np.float32]) -> Callable[[NDArray[np.int64]], float]:
        return lambda at: metrics.roc_auc(labels[at][real[at]], values[at][real[at]])

    gains = {name: ndcg_by_list(values, labels, real) for name, values in orders.items()}
    measured: dict[str, Callable[[NDArray[np.int64]], float]] = {
        **{f"ndcg10_{name}": _mean(values) for name, values in gains.items()},
        "ndcg10_two_stage - ndcg10_retrieval": _mean(gains["two_stage"] - gains["retrieval"]),
        **{f"auc_{name}": auc(values) for name, values in probabilities.items()},
    }
    for name in PEERS:
        one, two = auc(probabilities["ranker"]), auc(probabilities[name])
        measured[f"auc_ranker - auc_{name}"] = _difference(one, two)
    everything = np.arange(len(labels))
    rng = np.random.default_rng(seed)
    samples = [rng.integers(0, len(labels), len(labels)) for _ in range(draws)]
    rows: list[Row] = []
    for name, of in measured.items():
        low, high = np.percentile([of(at) for at in samples], [2.5, 97.5])
        rows.append({"what": name, "value": of(everything), "low": float(low), "high": float(high)})
    ranker = probabilities["ranker"].astype(np.float64)
    first = first_places(orders["two_stage"], real)
    top = np.take_along_axis(ranker, first, 1), np.take_along_axis(labels, first, 1)
    single = {
        "ece": metrics.ece(labels[real], ranker[real]),
        "ece_slate": metrics.ece(top[1].ravel(), top[0].ravel()),
        "predicted_slate": float(top[0].mean()),
        "observed_slate": float(top[1].mean()),
        "positives": float(labels[real].sum()),
        "cases": float(len(labels)),
    }
    rows += [
        {"what": name, "value": value, "low": None, "high": None} for name, value in single.items()
    ]
    values = {str(row["what"]): float(str(row["value"])) for row in rows}
    figures = {
        "auc": values["auc_ranker"],
        "auc_device": values["auc_ranker_device"],
        "ndcg10_device": values["ndcg10_two_stage_device"],
        **{name: values[name] for name in ("auc_lightgbm", "auc_logistic", "ece", "ece_slate")},
        **{name: values[name] for name in ("ndcg10_two_stage", "ndcg10_retrieval")},
    }
    return rows, figures


def first_places(scores: NDArray[np.float32], real: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Positions of the ten best of each list, int64 [n, 10]."""
    return np.argsort(-np.where(real, scores, -np.inf), axis=1, kind="stable")[:, :SLATE]


def _mean(values: Floats64) -> Callable[[NDArray[np.int64]], float]:
    return lambda at: float(values[at].mean())


def _difference(
    one: Callable[[NDArray[np.int64]], float], two: Callable[[NDArray[np.int64]], float]
) -> Callable[[NDArray[np.int64]], float]:
    return lambda at: one(at) - two(at)


def show(title: str, rows: Sequence[Row]) -> None:
    """Print one data set's table."""
    table = Table(title=f"quality-ranker, {title}, test events", title_justify="left")
    for name in ("what", "value", "95% interval"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for row in rows:
        between = "" if row["low"] is None else f"{row['low']:.4f} to {row['high']:.4f}"
        table.add_row(str(row["what"]), f"{row['value']:.4f}", between)
    Console(file=sys.stdout).print(table)
