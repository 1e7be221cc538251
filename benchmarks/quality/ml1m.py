"""MovieLens-1M, leave-one-out: the exported int8 models and index beside the published figures.

Claim: through the int8 models and the int8 index that a phone runs, NDCG@10 reaches the
best figure published on this file, .1821, with models of less than 1 MB.
Data: MovieLens-1M sequences, all 6,040 test users, full ranking, items of the history excluded.
Peers: the simple methods of `training/baselines/` in the same run; published figures quoted.
Training goes on from an unfinished run in the work folder, and a finished one of the same recipe is
taken as it is; `train_s` is the time that its training took.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result
from benchmarks.support import command_line
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_export.gates import on_device
from pocketrec_training.data.dataset import TEST, load_dataset
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.cases import held_out_cases
from pocketrec_training.recipe.load import load_recipe, recipe_json
from pocketrec_training.run_folder import RunFolder
from pocketrec_training.trained import load_trained

RECIPE = Path(__file__).parents[2] / "recipes" / "ml1m.toml"
VARIANTS = ("fp32", "fp16", "dynamic")
INT8 = "dynamic"
K = 10
Row = dict[str, Cell]

# method, HR@10, NDCG@10, source; the same file and protocol except where the source says otherwise.
PUBLISHED = (
    ("SASRec, BCE with 1 negative", 0.2392, 0.1259, "asash/gSASRec-pytorch"),
    ("BERT4Rec", 0.2821, 0.1516, "asash/bert4rec_repro"),
    ("SASRec, sampled softmax", 0.2853, 0.1603, "generative-recommenders, own preprocessing"),
    ("gSASRec", 0.3003, 0.1726, "asash/gSASRec-pytorch"),
    ("eSASRec", 0.3133, 0.1772, "blondered/transformer_benchmark"),
    ("SASRec+, full cross-entropy", 0.3152, 0.1821, "antklen/sasrec-bert4rec-recsys23"),
    ("HSTU-large", 0.3294, 0.1893, "generative-recommenders, own preprocessing"),
)


def run(options: Options, recipe: Path = RECIPE) -> Result:
    """Train, export, and rank for every test user; the test events are touched here only."""
    work = options.work
    work.mkdir(parents=True, exist_ok=True)
    source: tuple[str | Path, ...] = ("--source", options.data) if options.data else ()
    budget = ("--minutes", str(options.minutes)) if options.minutes else ()
    command_line.call("data", recipe, "--out", work / "data", *source, shows_progress=True)
    if not finished(recipe, work / "run"):
        words = (
            "train",
            recipe,
            "--data",
            work / "data",
            "--out",
            work / "run",
            "--no-final",
            *budget,
        )
        command_line.call(*words, shows_progress=True)
    words = ("evaluate", work / "run", "--data", work / "data", "--out", work / "report")
    command_line.call(*words, shows_progress=True)
    words = ("export", work / "run", "--out", work / "bundle", "--force", "--all-variants")
    command_line.call(*words, shows_progress=True)
    rows, figures = measure(work, options)
    show(rows)
    return Result(name="quality-ml1m", seed=options.seed, rows=rows, figures=figures)


def finished(recipe: Path, run_dir: Path) -> bool:
    """Whether a run of exactly this recipe is there."""
    saved = RunFolder(run_dir).recipe
    return saved.is_file() and saved.read_bytes() == recipe_json(load_recipe(recipe))


def measure(work: Path, options: Options) -> tuple[list[Row], dict[str, float]]:
    """Rank for all test users in Keras and through each variant on the device path."""
    trained = load_trained(work / "run")
    data = load_dataset(trained.recipe, work / "data")
    cases = held_out_cases(data, TEST, "new_to_user")
    report = command_line.read_json(work / "report" / "evaluation.json")
    training = command_line.read_json(work / "run" / "train_report.json")
    rows: list[Row] = [
        {"method": name, "hr10": hr, "ndcg10": ndcg, "low": None, "high": None, "source": source}
        for name, hr, ndcg, source in PUBLISHED
    ]
    for name, found in report["retrieval"].items():
        if name not in ("two_tower", "two_stage"):
            rows.append(_row(name, found["hr@10"], found["ndcg@10"], "this run"))
    keras = report["retrieval"]["two_tower"]
    rows.append(_row("two towers, Keras fp32", keras["hr@10"], keras["ndcg@10"], "this run"))
    bundle = open_bundle(work / "bundle")
    device: dict[str, float] = {}
    for variant in (v for v in VARIANTS if v in trained.recipe.export.variants):
        found = on_device.answer(
            Recommender(bundle, "litert", variant), data, cases, K, f"LiteRT {variant}"
        )
        name = f"on the device, {variant} LiteRT and int8 index"
        _measured(f"{name}: retrieval", found.retrieval, options, rows)
        ndcg = _measured(f"{name}: with ranker", found.slate, options, rows)
        if variant == INT8:
            hr = float((found.slate < K).mean())
            retrieval = metrics.at_k(found.retrieval, K)[f"ndcg@{K}"].mean()
            device = {
                "ndcg10_device": ndcg,
                "hr10_device": hr,
                "ndcg10_device_retrieval": float(retrieval),
            }
    models = [
        entry
        for entry in bundle.manifest.files
        if entry.kind == "model"
        and entry.meta["engine"] == "litert"
        and entry.meta["variant"] == INT8
    ]
    figures = {
        **device,
        "ndcg10_keras": keras["ndcg@10"]["value"],
        "ndcg10_transitions": report["retrieval"]["transitions"]["ndcg@10"]["value"],
        "ndcg10_best_baseline": report["figures"]["ndcg10_best_baseline"],
        "valid_ndcg10": training["valid_ndcg10"],
        "model_bytes": float(sum(entry.bytes for entry in models)),
        "train_s": training["retrieval_s"] + training["ranker_s"],
        "epochs": float(training["epochs"]),
        "users": float(len(cases)),
    }
    return rows, figures


def _measured(name: str, places: NDArray[np.int64], options: Options, rows: list[Row]) -> float:
    found = {k: metrics.interval(v, options.seed) for k, v in metrics.at_k(places, K).items()}
    rows.append(_row(name, found[f"hr@{K}"], found[f"ndcg@{K}"], "this run"))
    return found[f"ndcg@{K}"]["value"]


def _row(name: str, hr: dict[str, float], ndcg: dict[str, float], source: str) -> Row:
    return {
        "method": name,
        "hr10": hr["value"],
        "ndcg10": ndcg["value"],
        "low": ndcg["low"],
        "high": ndcg["high"],
        "source": source,
    }


def show(rows: list[Row]) -> None:
    """Print the table, best last."""
    table = Table(title="MovieLens-1M, leave-one-out, all items ranked", title_justify="left")
    for column in ("method", "HR@10", "NDCG@10", "95% interval", "source"):
        table.add_column(column, justify="left" if column in ("method", "source") else "right")
    for row in sorted(rows, key=lambda r: float(r["ndcg10"] or 0)):
        between = f"{row['low']:.4f} to {row['high']:.4f}" if row["low"] is not None else ""
        table.add_row(
            str(row["method"]),
            f"{row['hr10']:.4f}",
            f"{row['ndcg10']:.4f}",
            between,
            str(row["source"]),
        )
    Console(width=130).print(table)
