"""Measure a run on held-out events, beside simple baselines on the same cases.

Retrieval: the first held-out event of each user, ranked among all items that the user had not met
before it. Ranking: the same events against sampled items that retrieval would offer.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.files import canonical_json, write_atomic
from training import metrics, report
from training.baselines import BASELINES
from training.dataset import TEST, VALID, Dataset, load_dataset
from training.errors import RunInvalid
from training.importance import feature_importance
from training.progress import Progress
from training.ranker_fit import learning_cases, score
from training.retrieval import user_vectors
from training.slates import Candidates
from training.trained import Trained, load_trained

CUTS = (5, 10, 20)
SHORT_HISTORY = 50
IMPORTANCE_CASES = 200
"""Validation lists, not learned from, over which features are shuffled; 30 passes over them."""


def evaluate(run_dir: Path, data_dir: Path, out: Path, split: str = "test") -> dict[str, Any]:
    """Evaluate and write `evaluation.json` and `evaluation.html` to `out`; returns the former.

    Raises:
        RunInvalid: the run is incomplete, or no event is held out.
    """
    trained = load_trained(run_dir)
    data = load_dataset(trained.recipe, data_dir)
    cases = data.held_out(TEST if split == "test" else VALID)
    if not cases:
        raise RunInvalid(f"{data_dir}: no {split} events are held out.")
    seed = trained.recipe.seed
    candidates = Candidates(
        trained.spec,
        data,
        trained.user_tower,
        trained.item_vectors,
        baskets=trained.recipe.split.kind != "leave_last",
    )
    vectors = user_vectors(trained.user_tower, trained.item_vectors, trained.spec, data, cases)
    scores = {"two_tower": _unseen(vectors @ trained.item_vectors.T, data, cases)}
    with Progress("evaluate", len(BASELINES) + 1) as bar:
        for done, (name, build) in enumerate(BASELINES.items(), 1):
            scorer = build(data)
            table = np.stack([scorer(data.history(user, end).rows) for user, end in cases])
            scores[name] = _unseen(table, data, cases)
            bar.advance(done, name)
        ranked = {"two_stage": _two_stage(trained, candidates, vectors, cases, scores["two_tower"])}
        bar.advance(len(BASELINES) + 1, "two stages")
    targets = np.array([data.rows[data.offsets[u] + end] for u, end in cases])
    places = {name: _places(table, targets) for name, table in (ranked | scores).items()}
    retrieval = {
        name: _retrieval(places[name], table, seed) for name, table in (ranked | scores).items()
    }
    ranking = _ranking(trained, candidates, cases)
    held = candidates.slates(learning_cases(trained.recipe, candidates)[1][:IMPORTANCE_CASES])
    importance = feature_importance(trained.ranker, candidates, held, seed)
    found = {
        "protocol": {
            "split": split,
            "split_kind": trained.recipe.split.kind,
            "cases": len(cases),
            "candidates": "all items the user had not met before",
            "ranking": f"the {trained.spec.candidates} unmet items that retrieval returns for each "
            "case, as on the device; positive is what the user met (head like: and liked) next",
            "seed": seed,
        },
        "retrieval": retrieval,
        "segments": _segments(places["two_tower"], cases),
        "ranking": ranking,
        "importance": importance,
        "training": json.loads((run_dir / "train_report.json").read_bytes())["curve"],
        "figures": {
            "recall20": retrieval["two_tower"]["recall@20"]["value"],
            "ndcg10": retrieval["two_tower"]["ndcg@10"]["value"],
            "ndcg10_two_stage": retrieval["two_stage"]["ndcg@10"]["value"],
            "ndcg10_transitions": retrieval["transitions"]["ndcg@10"]["value"],
            "auc": next(iter(ranking.values()))["roc_auc"],
        },
    }
    write_atomic(out / "evaluation.json", canonical_json(found))
    write_atomic(out / "evaluation.html", report.render(trained.recipe.name, found).encode())
    return found


def _unseen(scores: NDArray[Any], data: Dataset, cases: list[tuple[int, int]]) -> NDArray[Any]:
    scores = np.array(scores, np.float64)
    for row, (user, end) in zip(scores, cases, strict=True):
        row[data.history(user, end).rows] = -np.inf
    return scores


def _places(scores: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.int64]:
    """Rank of each target; ties count against the method, so that a flat score gains nothing."""
    wanted = scores[np.arange(len(targets)), targets][:, None]
    met = ~np.isfinite(wanted[:, 0])
    places: NDArray[np.int64] = (scores >= wanted).sum(1) - 1
    return np.where(met, scores.shape[1], places)


def _retrieval(places: NDArray[np.int64], scores: NDArray[Any], seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for k in CUTS:
        for name, values in metrics.at_k(places, k).items():
            found[name] = metrics.interval(values, seed)
        top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        found[f"coverage@{k}"] = len(np.unique(top)) / scores.shape[1]
    return found


def _two_stage(
    trained: Trained,
    candidates: Candidates,
    vectors: NDArray[np.float32],
    cases: list[tuple[int, int]],
    scores: NDArray[Any],
) -> NDArray[Any]:
    """Re-order the first B items of retrieval by the ranker; the others keep their places below."""
    spec = trained.spec
    weights = np.array(spec.head_weights)
    ranked = scores - 1e6
    for at, case in enumerate(cases):
        k = min(spec.candidates, int(np.isfinite(scores[at]).sum()))
        rows = np.argsort(-scores[at], kind="stable")[:k]
        inputs = candidates.inputs_for(case, vectors[at], rows)
        ranked[at, rows] = np.asarray(trained.ranker.predict_on_batch(inputs)) @ weights
    return np.where(np.isfinite(scores), ranked, -np.inf)


def _ranking(
    trained: Trained, candidates: Candidates, cases: list[tuple[int, int]]
) -> dict[str, Any]:
    slates = candidates.slates(cases)
    probabilities = score(trained.ranker, candidates, slates)
    found: dict[str, Any] = {}
    for h, head in enumerate(trained.spec.heads):
        labels, values = slates.labels[..., h][slates.real], probabilities[..., h][slates.real]
        if not 0 < labels.sum() < len(labels):
            continue  # one class only: nothing to tell apart
        found[head] = {
            "cases": len(labels),
            "positive_share": float(labels.mean()),
            "roc_auc": metrics.roc_auc(labels, values),
            "pr_auc": metrics.pr_auc(labels, values),
            "f1": metrics.f1(labels, values),
            "log_loss": metrics.log_loss(labels, values),
            "ece": metrics.ece(labels, values),
            "calibration": metrics.calibration(labels, values),
        }
    return found


def _segments(places: NDArray[np.int64], cases: list[tuple[int, int]]) -> dict[str, Any]:
    lengths = np.array([end for _, end in cases])
    found = {}
    for name, chosen in (
        (f"under {SHORT_HISTORY} events", lengths < SHORT_HISTORY),
        (f"{SHORT_HISTORY} to 200 events", (lengths >= SHORT_HISTORY) & (lengths <= 200)),
        ("over 200 events", lengths > 200),
    ):
        if chosen.any():
            gain = metrics.at_k(places[chosen], 10)["ndcg@10"]
            found[name] = {"users": int(chosen.sum()), "ndcg@10": float(gain.mean())}
    return found
