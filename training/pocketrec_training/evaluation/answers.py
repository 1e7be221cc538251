"""Let the run and every baseline answer the cases of an evaluation."""

from dataclasses import dataclass, field
from typing import Any

from pocketrec_bundle.errors import InputError
from pocketrec_training.baselines.tuning import TunedBaseline, tune
from pocketrec_training.data.dataset import TEST
from pocketrec_training.evaluation.methods import ShippedMethod, two_stage, two_tower
from pocketrec_training.evaluation.question import Question
from pocketrec_training.evaluation.retrieval import CUTS, SHIPPED, Results
from pocketrec_training.metrics.cases import Cases
from pocketrec_training.metrics.ranks import BlockScorer, RankedTargets, rank_targets
from pocketrec_training.monitoring.progress import Progress
from pocketrec_training.ranker.candidate_lists import CandidateGenerator
from pocketrec_training.trained import TrainedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What came out.

    Attributes:
        results: by setting the cases and each method's ranks.
        fresh: of each method, the ranks for users without history.
        chosen: the parameters of each baseline in each setting, with all that were tried.
        left_out: why a baseline was left out, one sentence each.
    """

    results: Results
    fresh: dict[str, RankedTargets] = field(default_factory=dict)
    chosen: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def answer_all(
    question: Question,
    trained: TrainedRun,
    candidates: CandidateGenerator,
    shipped: ShippedMethod | None = None,
) -> Answers:
    """Answer with both stages, with the towers alone, and with the tuned baselines.

    Args:
        question: what to answer.
        trained: the fit that answers, see `Question.answering`.
        candidates: its retrieval.
        shipped: a bundle to score as well.

    Raises:
        InputError: no baseline answered in a setting, so there is nothing to compare with.
    """
    data, names = question.data, list(question.tuned)
    answers = Answers(results={cases.setting: (cases, {}) for cases in question.settings})
    if shipped is not None:
        for cases in question.settings:
            _answer_shipped(shipped, question, cases, answers)
    with Progress("evaluate", len(names) + 1) as bar:
        for cases in question.settings:
            both = two_stage(trained, data, candidates, cases.setting, question.unseen)
            _answer("two_stage", both, question, cases, answers)
            _answer("two_tower", two_tower(trained, data), question, cases, answers)
        bar.advance(1, "two towers")
        for tuned in tune(
            data,
            question.tuned,
            question.valid,
            refit=question.fold == TEST,
            trying=lambda name, text: bar.advance(1 + names.index(name), f"{name}, {text}"),
        ):
            if isinstance(tuned, str):
                answers.left_out.append(tuned)
            elif tuned.name in question.reported:
                cases = answers.results[tuned.setting][0]
                _answer(tuned.name, tuned.score, question, cases, answers)
                answers.chosen.append(_told(tuned))
            del tuned  # and with it the fitted method, before the next one is fitted
        bar.advance(len(names) + 1)
    for setting, (_, ranked) in answers.results.items():
        if not ranked.keys() & question.reported:
            why = f" ({'; '.join(answers.left_out)})" if answers.left_out else ""
            raise InputError(
                f"methods: none of {', '.join(sorted(question.reported))} can answer the setting "
                f"{setting}{why}. Add another baseline, e.g. popularity."
            )
    return answers


def _answer(
    name: str, score: BlockScorer, question: Question, cases: Cases, answers: Answers
) -> None:
    """Let one method answer the cases of a setting; those without history go with the first."""
    asked, newcomers = [cases], question.newcomers
    first = newcomers is not None and name not in answers.fresh
    if first and newcomers is not None:
        asked.append(newcomers)
    ranked = rank_targets(score, question.data, asked, max(CUTS))
    answers.results[cases.setting][1][name] = ranked[0]
    if first:
        answers.fresh[name] = ranked[1]


def _answer_shipped(
    shipped: ShippedMethod, question: Question, cases: Cases, answers: Answers
) -> None:
    data, k = question.data, max(CUTS)
    answers.results[cases.setting][1][SHIPPED] = shipped.answer(data, cases, k)
    if question.newcomers is not None and SHIPPED not in answers.fresh:
        answers.fresh[SHIPPED] = shipped.answer(data, question.newcomers, k)


def _told(tuned: TunedBaseline) -> dict[str, Any]:
    return {
        "method": tuned.name,
        "setting": tuned.setting,
        "parameters": dict(tuned.parameters),
        "tried": [{"parameters": dict(p), "ndcg@20": value} for p, value in tuned.tried],
        "at_edge": list(tuned.at_edge),
        "tuned_items": tuned.tuned_items,
        "fitted_on": tuned.fitted_on,
    }
