"""Offline evaluation: the trained models beside tuned baselines on held-out events.

Retrieval: all items are ranked for each case's set of held-out items, in one or two settings for
repeats (`pocketrec_training.metrics.cases`). Ranking: one held-out event of each user against
sampled items that retrieval would offer.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from threadpoolctl import threadpool_limits

from pocketrec_bundle.disk.files import canonical_json, write_atomic
from pocketrec_training.data.dataset import TEST, VALID
from pocketrec_training.data.splits.check import tie_warning
from pocketrec_training.evaluation.answers import Answers, answer_all
from pocketrec_training.evaluation.baseline_gain import (
    BaselineGain,
    baseline_gain,
    shipped_gain,
    write_gain,
)
from pocketrec_training.evaluation.examples import example_users
from pocketrec_training.evaluation.importance import measured_importance
from pocketrec_training.evaluation.methods import ShippedMethod
from pocketrec_training.evaluation.previous import Previous, previous_gain, read_previous
from pocketrec_training.evaluation.quality import write_quality
from pocketrec_training.evaluation.question import Question, read_question
from pocketrec_training.evaluation.ranking import asked_lists, ranking_figures
from pocketrec_training.evaluation.report import render
from pocketrec_training.evaluation.result import Evaluation, evaluation_of
from pocketrec_training.evaluation.retrieval import newcomer_segment, retrieval_figures, what_ships
from pocketrec_training.evaluation.validation_lists import ValidationLists, validation_lists
from pocketrec_training.evaluation.value_heads import value_heads
from pocketrec_training.evaluation.value_ndcg import value_figures
from pocketrec_training.metrics.case_file import write_cases
from pocketrec_training.metrics.cases import Setting
from pocketrec_training.monitoring.progress import logged_to
from pocketrec_training.monitoring.stopping import cap_warning, stopped_told
from pocketrec_training.ranker.candidate_lists import CandidateGenerator
from pocketrec_training.run_folder import RunFolder

STAGES = (
    "epochs",
    "epochs_planned",
    "retrieval_stopped_by",
    "ranker_losses",
    "ranker_epochs",
    "ranker_epochs_planned",
    "ranker_stopped_by",
    "ranker_gain",
)
"""What of the training's report the evaluation repeats."""


def evaluate(
    *,
    run: Path,
    data: Path,
    out: Path,
    split: Literal["test", "valid"] = "test",
    methods: Sequence[str] | None = None,
    users: int = 0,
    previous: Path | None = None,
    shipped: ShippedMethod | None = None,
) -> Evaluation:
    """Evaluate and write `evaluation.json`, `evaluation.html` and `cases.npz` to `out`.

    Progress is also written to `evaluate.log` there.

    After the test split with all baselines, `baseline_gain.json` in the run folder tells
    `pocketrec export` how the run stands to the best of them, and `quality.json` has the figures
    that the model card repeats.

    Args:
        run: a finished run.
        data: folder that `pocketrec data` wrote, the one that the run was trained on.
        out: folder of the report; files of an earlier report are replaced.
        split: whose events are measured: "test" or "valid".
        methods: names of the baselines to compare with; None: all.
        users: number of users to measure, drawn by the recipe's seed; 0: all.
        previous: an earlier evaluation's folder, to show beside this one; or an earlier run of the
            same tables, which is then evaluated first, without most baselines.
        shipped: a bundle to score as well, `ShippedBundle` of `pocketrec_export.gates.shipped`.

    Raises:
        InputError: `methods` has an unknown name, or none that can answer a setting; or the bundle
            is of other data.
        RunInvalidError: the run is incomplete, the tables are not its own, or no event is held out.

    Example:
        >>> found = evaluate(run=Path("run"), data=Path("data"), out=Path("report"))
        >>> found.of("two_stage").cases, found.report.name, found.details["protocol"]["split"]
        (40, 'evaluation.html', 'test')
    """
    # BLAS's threads wait for each other's cores beside other work: 9 s of processor time, not 3.5.
    with threadpool_limits(1, "blas"), logged_to(out / "evaluate.log"):
        before = None if previous is None else _previous(previous, data, split, users)
        question = read_question(run, data, split, methods, users)
        trained, counted = question.answering()
        candidates = trained.candidates(counted)
        if shipped is not None:
            shipped.check(question.data)
        answers = answer_all(question, trained, candidates, shipped)
        write_cases(out, question.data, answers.results)
        gain = _gain(question, answers)
        found = _found(question, answers, candidates, gain)
    if shipped is not None:
        cases, ranked = answers.results[gain.setting]
        found["shipped_gain"] = shipped_gain(cases, ranked, question.seed)
        found["shipped"] = facts = shipped.facts()
        found["notes"] += facts["notes"]
    if before is not None:
        digests = found["protocol"]["cases_sha256"]
        found["previous_gain"] = previous_gain(
            before, digests, answers.results, gain.setting, question.seed
        )
    page = out / "evaluation.html"
    write_atomic(out / "evaluation.json", canonical_json(found))
    write_atomic(
        page,
        render(question.trained.recipe.name, found, before.details if before else None).encode(),
    )
    if question.fold == TEST and question.all_methods:
        write_gain(run, gain)
        write_quality(run, found)
    return evaluation_of(found, gain, page)


def _previous(folder: Path, data: Path, split: Literal["test", "valid"], users: int) -> Previous:
    """Read an evaluation; evaluate a run first."""
    if not RunFolder(folder).report.exists() or (folder / "evaluation.json").exists():
        return read_previous(folder, str(folder))
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        evaluate(run=folder, data=data, out=out, split=split, methods=["popularity"], users=users)
        return read_previous(out, str(folder))


def _found(
    question: Question, answers: Answers, candidates: CandidateGenerator, gain: BaselineGain
) -> dict[str, Any]:
    """Return what `evaluation.json` holds."""
    trained, data, seed = question.trained, question.data, question.seed
    seen = candidates.data.popularity()
    found = retrieval_figures(trained, data, seen, answers.results, question.split)
    if values := value_figures(question, answers.results):
        found["value_ndcg"] = values
    found["protocol"] |= {"ranker": _ranker_told(question), "sample": _sample(question)}
    found["segments"] |= newcomer_segment(found["best_baseline"], question.newcomers, answers.fresh)
    found["baselines"] = {
        "tuned_on": f"NDCG@20 of {len(question.valid[0])} validation cases",
        "chosen": answers.chosen,
        "left_out": answers.left_out,
    }
    validation = validation_lists(question)
    asked = asked_lists(question, candidates)
    found["ranking"], left_out = ranking_figures(question, candidates, validation, asked)
    if predicted := value_heads(trained.objectives, asked, seed):
        found["value_heads"] = predicted
    found["importance"], shuffled = measured_importance(question, validation)
    found["protocol"] |= {
        "threshold": _threshold_told(question, validation),
        "importance": shuffled,
    }
    found["training"] = question.training.get("curve", [])
    found["stages"] = {k: question.training[k] for k in STAGES if k in question.training}
    found["stages"]["told"] = _told_of_training(question)
    cases, ranked = next(iter(answers.results.values()))
    ours = ranked[what_ships(ranked)]
    found["examples"] = example_users(data, cases, ours, trained.spec.event_types, seed)
    found["notes"] = _notes(question) + left_out
    if found["ranking"]:  # no head, where retrieval found none of the targets
        found["figures"]["auc"] = next(iter(found["ranking"].values()))["roc_auc"]
    found["baseline_gain"] = {**asdict(gain), "sentence": gain.sentence()}
    return found


def _threshold_told(question: Question, validation: ValidationLists) -> str:
    """Say how the thresholds of F1 were chosen."""
    others = "; each user has the threshold of other users" if question.fold == VALID else ""
    return f"the highest F1 on {validation.told}{others}"


def _ranker_told(question: Question) -> str:
    """Say which ranker answered."""
    if question.fold == TEST:
        return "the one that ships"
    if question.cross_fit is not None:
        return "fitted without the user who is asked about, as often as there are folds"
    if question.trained.recipe.ranker.examples == "train":
        return "the one that ships; these events chose its epoch and its calibration"
    return "the one that ships, which keeps retrieval's order; these events set its calibration"


def _gain(question: Question, answers: Answers) -> BaselineGain:
    """Compare with the best baseline in the setting that a phone shows."""
    trained, results = question.trained, answers.results
    shown: Setting = "all" if trained.recipe.rerank.repeats else "new_to_user"
    cases, ranked = results[shown if shown in results else next(iter(results))]
    return baseline_gain(cases, ranked, question.reported, question.split, question.seed)


def _sample(question: Question) -> dict[str, int] | None:
    """Return how many users were drawn of how many; None: all are asked."""
    if question.users == question.of_users:
        return None
    return {"users": question.users, "of": question.of_users, "seed": question.seed}


def _told_of_training(question: Question) -> list[str]:
    """Return the notes that the page's verdict says in its own words."""
    lines = (question.training.get("ranker_gain_sentence", ""), stopped_told(question.training))
    return [line for line in lines if line]


def _notes(question: Question) -> list[str]:
    """Say how the run was trained, where it was cut short, and what the figures cannot tell."""
    drawn = _sample(question)
    lines = (
        cap_warning(question.training),
        tie_warning(question.trained.recipe, question.data),
        *_told_of_training(question),
        drawn
        and f"measured on a sample of {drawn['users']:,} of {drawn['of']:,} users, drawn by seed "
        f"{drawn['seed']}",
        not question.all_methods
        and "compared with chosen baselines only; another one may be better, so this result does "
        "not count for export.require_gain",
    )
    return [line for line in lines if line]
