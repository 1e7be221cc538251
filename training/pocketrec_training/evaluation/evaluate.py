"""Offline evaluation: the trained models beside tuned baselines on held-out events.

Retrieval: all items are ranked for each case's set of held-out items, in one or two settings for
repeats (`pocketrec_training.metrics.cases`). Ranking: one held-out event of each user against
sampled items that retrieval would offer.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from pocketrec_bundle.disk.files import canonical_json, write_atomic
from pocketrec_training.baselines import BASELINES
from pocketrec_training.baselines.tuning import TunedBaseline, tune
from pocketrec_training.data.dataset import TEST, VALID, Dataset, load_dataset
from pocketrec_training.data.split_check import tie_warning
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.evaluation import report
from pocketrec_training.evaluation.baseline_gain import BaselineGain, baseline_gain, write_gain
from pocketrec_training.evaluation.importance import feature_importance
from pocketrec_training.evaluation.methods import two_stage, two_tower
from pocketrec_training.evaluation.result import Evaluation, evaluation_of
from pocketrec_training.evaluation.same_data import check_same_data
from pocketrec_training.metrics import beyond_accuracy, segments
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.case_file import write_cases
from pocketrec_training.metrics.cases import (
    Cases,
    Setting,
    evaluation_settings,
    held_out_cases,
    some,
)
from pocketrec_training.metrics.ranks import BlockScorer, RankedTargets, rank_targets
from pocketrec_training.progress import Progress
from pocketrec_training.ranker.candidate_lists import CandidateGenerator
from pocketrec_training.ranker.cross_fit import CrossFit, load_cross_fit
from pocketrec_training.ranker.epochs import score
from pocketrec_training.ranker.fit import learning_cases
from pocketrec_training.run_folder import RunFolder
from pocketrec_training.stopping import cap_warning, stopped_told
from pocketrec_training.trained import TrainedRun, load_trained

CUTS = (5, 10, 20)
SLATE = 10
"""Length of the lists that coverage, novelty and the like are measured on."""
TUNING_CASES = 1_000
"""Validation cases that baselines are tuned on, drawn where there are more."""

Results = dict[str, tuple[Cases, dict[str, RankedTargets]]]
"""By setting: the cases, and what each method did with them."""
IMPORTANCE_CASES = 200
"""Validation lists, not learned from, over which features are shuffled; 30 passes over them."""


def evaluate(
    *, run: Path, data: Path, out: Path, split: Literal["test", "valid"] = "test"
) -> Evaluation:
    """Evaluate and write `evaluation.json`, `evaluation.html` and `cases.npz` to `out`.

    After the test split, `baseline_gain.json` in the run folder tells `pocketrec export` how the
    run stands to the best baseline.

    Args:
        run: a finished run.
        data: folder that `pocketrec data` wrote, the one that the run was trained on.
        out: folder of the report; files of an earlier report are replaced.
        split: whose events are measured: "test" or "valid".

    Raises:
        RunInvalidError: the run is incomplete, the tables are not its own, or no event is held out.

    Example:
        >>> found = evaluate(run=Path("run"), data=Path("data"), out=Path("report"))
        >>> found.of("two_stage").cases, found.report.name, found.details["protocol"]["split"]
        (40, 'evaluation.html', 'test')
    """
    # BLAS's threads wait for each other's cores beside other work: 9 s of processor time, not 3.5.
    with threadpool_limits(1, "blas"):
        return _evaluate(run, data, out, split)


def _evaluate(run_dir: Path, data_dir: Path, out: Path, split: str) -> Evaluation:
    trained = load_trained(run_dir)
    data = load_dataset(trained.recipe, data_dir)
    check_same_data(trained, run_dir, data, data_dir)
    fold = TEST if split == "test" else VALID
    settings = evaluation_settings(data, fold)
    if not settings:
        hint = " Measure the validation events with --split valid." if fold == TEST else ""
        raise RunInvalidError(
            f"{data_dir}: the split leaves no {split} case (split.kind = "
            f'"{trained.recipe.split.kind}", split.{split}_share = '
            f"{getattr(trained.recipe.split, f'{split}_share'):g}).{hint}"
        )
    cross_fit = load_cross_fit(run_dir)
    unseen = cross_fit if fold == VALID else None
    training = RunFolder(run_dir).read_report()
    if fold == VALID and "ranker_gain" not in training:
        raise RunInvalidError(
            f"{run_dir}: trained by an older version, whose ranker learned from the validation "
            "events. Train again, or evaluate the test split."
        )
    newcomers = _newcomers(data, fold)
    seed = trained.recipe.seed
    results: Results = {cases.setting: (cases, {}) for cases in settings}
    fresh: dict[str, RankedTargets] = {}
    candidates = trained.candidates(data)
    valid = [some(held_out_cases(data, VALID, c.setting), TUNING_CASES, seed) for c in settings]
    if not all(len(cases) for cases in valid):
        raise RunInvalidError(
            f"{data_dir}: the split leaves no validation case in a setting that has {split} cases "
            f"({', '.join(cases.setting for cases in settings)}), so no baseline can be tuned "
            "there. Hold out more for validation, or bring more data."
        )
    baselines: list[dict[str, Any]] = []
    left_out: list[str] = []
    with Progress("evaluate", len(BASELINES) + 1) as bar:
        for cases in settings:
            for name, method in (
                ("two_stage", two_stage(trained, data, candidates, cases.setting, unseen)),
                ("two_tower", two_tower(trained, data)),
            ):
                _answer(name, method, data, cases, newcomers, results, fresh)
        bar.advance(1, "two towers")
        names = list(BASELINES)
        for tuned in tune(
            data,
            BASELINES,
            valid,
            refit=split == "test",
            trying=lambda name, text: bar.advance(1 + names.index(name), f"{name}, {text}"),
        ):
            if isinstance(tuned, str):
                left_out.append(tuned)
                continue
            cases = results[tuned.setting][0]
            _answer(tuned.name, tuned.score, data, cases, newcomers, results, fresh)
            baselines.append(_told(tuned))
        bar.advance(len(BASELINES) + 1)
    write_cases(out, data, results)
    found = _found(trained, data, results, split)
    found["protocol"]["ranker"] = _ranker_told(trained, fold, cross_fit)
    found["segments"] |= _newcomer_segment(found["best_baseline"], newcomers, fresh)
    found["baselines"] = {
        "tuned_on": f"NDCG@20 of {len(valid[0])} validation cases",
        "chosen": baselines,
        "left_out": left_out,
    }
    found["ranking"] = ranking = _ranking(trained, candidates, data.held_out(fold), unseen)
    held = candidates.lists_for(learning_cases(trained.recipe, candidates)[1][:IMPORTANCE_CASES])
    asked = cross_fit.rankers[0] if cross_fit is not None else trained.ranker
    told_apart = held.real.any() and held.labels[..., 0][held.real].sum() > 0
    found["importance"] = feature_importance(asked, candidates, held, seed) if told_apart else []
    found["training"] = training["curve"]
    found["notes"] = _notes(trained, data, training)
    if ranking:  # no head, where retrieval found none of the targets
        found["figures"]["auc"] = next(iter(ranking.values()))["roc_auc"]
    gain = _gain(trained, results, split)
    found["baseline_gain"] = {**asdict(gain), "sentence": gain.sentence()}
    write_atomic(out / "evaluation.json", canonical_json(found))
    write_atomic(out / "evaluation.html", report.render(trained.recipe.name, found).encode())
    if fold == TEST:
        write_gain(run_dir, gain)
    return evaluation_of(found, gain, out / "evaluation.html")


def _ranker_told(trained: TrainedRun, fold: int, cross_fit: CrossFit | None) -> str:
    """Say which ranker answered."""
    if fold == TEST:
        return "the one that ships"
    if cross_fit is not None:
        return "fitted without the user who is asked about, as often as there are folds"
    if trained.recipe.ranker.examples == "train":
        return "the one that ships; these events chose its epoch and its calibration"
    return "the one that ships, which keeps retrieval's order; these events set its calibration"


def _gain(trained: TrainedRun, results: Results, split: str) -> BaselineGain:
    """Compare with the best baseline in the setting that a phone shows."""
    shown: Setting = "all" if trained.recipe.rerank.repeats else "new_to_user"
    cases, ranked = results[shown if shown in results else next(iter(results))]
    return baseline_gain(cases, ranked, BASELINES, split, trained.recipe.seed)


def _notes(trained: TrainedRun, data: Dataset, training: dict[str, Any]) -> list[str]:
    """Say how the run was trained, where it was cut short, and what the split cannot tell."""
    lines = (
        cap_warning(training),
        tie_warning(trained.recipe, data),
        training.get("ranker_gain_sentence", ""),
        stopped_told(training),
    )
    return [line for line in lines if line]


def _newcomers(data: Dataset, fold: int) -> Cases | None:
    """Cases of users without any history, if the split leaves some."""
    every = held_out_cases(data, fold, "new_to_user", newcomers=True)
    fresh = every.take(np.flatnonzero(every.ends == 0))
    return fresh if len(fresh) else None


def _answer(
    name: str,
    score: BlockScorer,
    data: Dataset,
    cases: Cases,
    newcomers: Cases | None,
    results: Results,
    fresh: dict[str, RankedTargets],
) -> None:
    """Let one method answer the cases of a setting; those without history go with the first."""
    first = newcomers is not None and name not in fresh
    asked = [cases, newcomers] if first and newcomers is not None else [cases]
    ranked = rank_targets(score, data, asked, max(CUTS))
    results[cases.setting][1][name] = ranked[0]
    if first:
        fresh[name] = ranked[1]


def _found(trained: TrainedRun, data: Dataset, results: Results, split: str) -> dict[str, Any]:
    seed = trained.recipe.seed
    tables = {
        setting: {name: _retrieval(cases, p, len(data.items), seed) for name, p in ranked.items()}
        for setting, (cases, ranked) in results.items()
    }
    main = next(iter(results))
    cases, ranked = results[main]
    rival = _best_baseline(tables[main])
    retrieval = tables[main]
    categories = beyond_accuracy.category_vectors(data.items.categories)
    counts = data.popularity()
    return {
        "protocol": {
            "split": split,
            "split_kind": trained.recipe.split.kind,
            "cases": len(cases),
            "candidates": _candidates_told(main),
            "settings": {
                setting: {
                    "cases": len(each),
                    "targets": len(each.targets),
                    "candidates": _candidates_told(setting),
                }
                for setting, (each, _) in results.items()
            },
            "cases_sha256": {s: each.digest(data) for s, (each, _) in results.items()},
            "recall": "hits / held-out items of the case",
            "ranking": f"the {trained.spec.candidates} unmet items that retrieval returns for each "
            "case, as on the device; positive is what the user met (head like: and liked) next",
            "seed": seed,
        },
        "retrieval": retrieval,
        "best_baseline": rival,
        **{f"retrieval_{s}": table for s, table in tables.items() if s != main},
        "beyond_accuracy": {
            setting: {
                name: beyond_accuracy.measure(
                    p.top[:, :SLATE], data, trained.item_vectors, categories
                )
                for name, p in answers.items()
            }
            for setting, (_, answers) in results.items()
        },
        "segments": segments.by_history(cases, ranked, "two_stage", rival),
        "target_segments": segments.by_target(cases, ranked, counts, "two_stage", rival),
        "figures": {
            "recall20": retrieval["two_tower"]["recall@20"]["value"],
            "ndcg10": retrieval["two_tower"]["ndcg@10"]["value"],
            "ndcg10_two_stage": retrieval["two_stage"]["ndcg@10"]["value"],
            "ndcg10_transitions": retrieval["transitions"]["ndcg@10"]["value"],
            "ndcg10_best_baseline": retrieval[rival]["ndcg@10"]["value"],
        },
    }


def _candidates_told(setting: str) -> str:
    return {
        "new_to_user": "all items the user had not met before",
        "all": "all items, those the user knows included",
    }[setting]


def _retrieval(cases: Cases, ranked: RankedTargets, n_items: int, seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for k in CUTS:
        for name, values in metrics.at_k(ranked.ranks, k, cases.offsets).items():
            found[name] = metrics.interval(values, seed)
        found[f"coverage@{k}"] = beyond_accuracy.coverage(ranked.top[:, :k], n_items)
    return found


def _best_baseline(table: Mapping[str, Any]) -> str:
    """The baseline to beat: best by NDCG@10 of those in the table."""
    return max(
        (name for name in table if name in BASELINES), key=lambda n: table[n]["ndcg@10"]["value"]
    )


def _newcomer_segment(
    rival: str, newcomers: Cases | None, fresh: Mapping[str, RankedTargets]
) -> dict[str, Any]:
    if newcomers is None:
        return {}
    return segments.by_history(newcomers, fresh, "two_stage", rival)


def _told(tuned: TunedBaseline) -> dict[str, Any]:
    return {
        "method": tuned.name,
        "setting": tuned.setting,
        "parameters": dict(tuned.parameters),
        "tried": [{"parameters": dict(p), "ndcg@20": value} for p, value in tuned.tried],
        "at_edge": list(tuned.at_edge),
        "fitted_on": tuned.fitted_on,
    }


def _ranking(
    trained: TrainedRun,
    candidates: CandidateGenerator,
    cases: list[tuple[int, int]],
    cross_fit: CrossFit | None,
) -> dict[str, Any]:
    lists = candidates.lists_for(cases)
    if cross_fit is None:
        probabilities = score(trained.ranker, candidates, lists)
    else:
        probabilities = np.zeros((*lists.rows.shape, len(trained.spec.heads)), np.float32)
        ids = candidates.data.user_ids
        folds = np.array([cross_fit.fold(ids[user]) for user, _ in cases])
        for fold, ranker in enumerate(cross_fit.rankers):
            at = np.flatnonzero(folds == fold)
            probabilities[at] = score(ranker, candidates, lists.take(at))
    found: dict[str, Any] = {}
    for h, head in enumerate(trained.spec.heads):
        labels, values = lists.labels[..., h][lists.real], probabilities[..., h][lists.real]
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
