"""A previous evaluation beside this one: its figures, and the difference case by case."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketrec_training.evaluation.baseline_gain import MODEL, TOP
from pocketrec_training.evaluation.compare import read_evaluation
from pocketrec_training.evaluation.retrieval import Results
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.case_file import CaseResults, read_cases
from pocketrec_training.metrics.significance import compare_means


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """What an earlier `evaluate` wrote. details: `evaluation.json`; cases: `cases.npz`."""

    name: str
    details: Mapping[str, Any]
    cases: Mapping[str, CaseResults]


def read_previous(folder: Path, name: str) -> Previous:
    """Read the folder of an evaluation.

    Raises:
        RunInvalidError: a file is missing or damaged.
    """
    return Previous(name=name, details=read_evaluation(folder), cases=read_cases(folder))


def previous_gain(
    previous: Previous, digests: Mapping[str, str], results: Results, setting: str, seed: int
) -> dict[str, Any]:
    """Compare what ships with what the previous run would have shipped.

    Args:
        previous: the earlier evaluation.
        digests: of the cases of this evaluation, by setting.
        results: this evaluation's ranks.
        setting: the setting that a phone shows.
        seed: of the bootstrap.

    Returns:
        name, a (previous) and b (now): mean NDCG@10, low and high: the paired 95% interval of
        b - a. `same_cases` is False, and the interval missing, if the cases differ.
    """
    name = f"ndcg@{TOP}"
    before = previous.cases.get(setting)
    cases, ranked = results[setting]
    now = metrics.at_k(ranked[MODEL].ranks, TOP, cases.offsets)[name]
    told = {"name": previous.name, "setting": setting, "b": float(now.mean())}
    if before is None or MODEL not in before.ranks:
        return {**told, "a": None, "same_cases": False}
    old = before.per_case(MODEL, (TOP,))[name]
    told["a"] = float(old.mean())
    if previous.details["protocol"]["cases_sha256"].get(setting) != digests[setting]:
        return {**told, "same_cases": False}
    found = compare_means({name: old}, {name: now}, seed)[name]
    return {**told, "same_cases": True, "low": found.low, "high": found.high}
