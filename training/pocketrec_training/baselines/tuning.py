"""Choose each baseline's parameters on validation cases, then fit it for the cases to answer."""

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from pocketrec_bundle.floats import Floats32
from pocketrec_training.baselines.ladder import Parameters, SearchResult, climb
from pocketrec_training.baselines.scorer import Asked, Baseline, Scorer
from pocketrec_training.data.dataset import TRAIN, VALID, Dataset
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.cases import Cases, Setting
from pocketrec_training.metrics.ranks import BlockScorer, rank_targets

TUNED_AT = 20
METRIC = f"ndcg@{TUNED_AT}"
WORK, LEAST = 1e13, 3
"""Methods with a matrix of items by items take time that grows with n_items^3: so many of these
units are spent on trying parameter sets, but at least `LEAST` sets are tried."""

FittedOn = Literal["train", "train+valid"]
Chosen = dict[tuple[str, Setting], Parameters]


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedBaseline:
    """A baseline for one setting.

    Attributes:
        tried: NDCG@20 on validation of each parameter set; empty if there was only one.
        at_edge: parameters whose best value is at the edge of the values tried, see `SearchResult`.
        fitted_on: the folds that `score` has counted.
        score: the method in its best setting.
    """

    name: str
    setting: Setting
    parameters: Parameters
    tried: tuple[tuple[Parameters, float], ...]
    at_edge: tuple[str, ...]
    fitted_on: FittedOn
    score: BlockScorer


def tune(
    data: Dataset,
    baselines: Mapping[str, Baseline],
    valid: list[Cases],
    *,
    refit: bool,
    trying: Callable[[str, str], None] = lambda _name, _text: None,
) -> Iterator[TunedBaseline | str]:
    """Tune every baseline in every setting of `valid`; a text says why one was left out.

    Args:
        data: parameters are chosen with methods that count its training fold only.
        baselines: a hybrid stands after its parts.
        valid: cases of the validation fold, one for each setting.
        refit: True to answer test cases: the methods returned count the validation fold too.
            False to answer validation cases.
        trying: called with the method's name and a note before each fit.

    A method without parameters is not scored on validation at all.
    """
    chosen: Chosen = {}
    for name, baseline in baselines.items():
        reason = _left_out(baseline, len(data.items), {part for part, _ in chosen})
        if reason:
            yield f"{name} left out: {reason}"
            continue
        settings = [c for c in valid if c.setting == "all" or not baseline.only_all]
        # Parts are tuned for each setting, so a hybrid is another method in each.
        for group in [[cases] for cases in settings] if baseline.parts else [settings]:
            for tuned in _tune_one(data, baselines, name, group, chosen, refit, trying):
                chosen[name, tuned.setting] = tuned.parameters
                yield tuned


def with_validation(data: Dataset) -> Dataset:
    """Return the dataset with its validation events in the training fold."""
    fold = np.where(data.fold == VALID, np.int8(TRAIN), data.fold)
    return dataclasses.replace(data, fold=fold)


def block_scorer(data: Dataset, scorer: Scorer) -> BlockScorer:
    """Let a baseline score blocks of (user, end)."""
    return lambda block: scorer([(user, data.history(user, end)) for user, end in block])


def _left_out(baseline: Baseline, n_items: int, there: set[str]) -> str:
    if baseline.needs and importlib.util.find_spec(baseline.needs) is None:
        return f"{baseline.needs} is not installed. Install it with: pip install 'pocketrec[train]'"
    if 0 < baseline.most_items < n_items:
        return f"{n_items} items, its matrix of items by items is made up to {baseline.most_items}"
    if missing := [part for part in baseline.parts if part not in there]:
        return f"its part {missing[0]} is left out"
    return ""


def _tune_one(
    data: Dataset,
    baselines: Mapping[str, Baseline],
    name: str,
    settings: list[Cases],
    chosen: Chosen,
    refit: bool,
    trying: Callable[[str, str], None],
) -> Iterator[TunedBaseline]:
    """Search in every setting at once: each parameter set is fitted once for all."""
    if not settings:
        return
    baseline = baselines[name]
    parts = [(baselines[part], chosen[part, settings[0].setting]) for part in baseline.parts]
    kept = [_Remembering(part.fit(data)(**best)) for part, best in parts]
    build = baseline.fit(data, *kept)
    gains: dict[tuple[tuple[str, float], ...], list[float]] = {}

    def gain(parameters: Parameters, setting: int) -> float:
        key = tuple(parameters.items())
        if key not in gains:
            trying(name, f"parameter set {len(gains) + 1}")
            try:
                score = block_scorer(data, build(**parameters))
                ranked = rank_targets(score, data, settings, 0)
            except np.linalg.LinAlgError:  # singular with these parameters: worse than any other
                gains[key] = [-1.0] * len(settings)
                return -1.0
            gains[key] = [
                float(metrics.at_k(found.ranks, TUNED_AT, cases.offsets)[METRIC].mean())
                for cases, found in zip(settings, ranked, strict=True)
            ]
        return gains[key][setting]

    found: list[SearchResult] = []
    for setting in range(len(settings)):
        if baseline.ladders:
            known = [dict(key) for key in gains]  # scored in every setting
            tries = budget(baseline, len(data.items))
            found.append(climb(baseline.ladders, partial(gain, setting=setting), tries, known))
        else:
            found.append(SearchResult(best={}, tried=(), at_edge=()))
    for part in kept:
        part.forget()
    if refit:
        trying(name, "fitted on train + validation")
        del build, kept
        both = with_validation(data)
        build = baseline.fit(both, *(part.fit(both)(**best) for part, best in parts))
    made: dict[tuple[tuple[str, float], ...], BlockScorer] = {}
    for cases, climbed in zip(settings, found, strict=True):
        key = tuple(climbed.best.items())
        if key not in made:
            made[key] = block_scorer(data, build(**climbed.best))
        yield TunedBaseline(
            name=name,
            setting=cases.setting,
            parameters=climbed.best,
            tried=climbed.tried,
            at_edge=climbed.at_edge,
            fitted_on="train+valid" if refit else "train",
            score=made[key],
        )


def budget(baseline: Baseline, n_items: int) -> int:
    """Return how many parameter sets are tried for a catalogue of this size."""
    if not baseline.cubic:
        return baseline.budget
    return min(baseline.budget, max(LEAST, int(WORK / n_items**3)))


class _Remembering:
    """A part of a hybrid that scores each validation block once, whatever the weights tried."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._found: dict[tuple[tuple[int, int], ...], Floats32] | None = {}

    def __call__(self, asked: Asked) -> Floats32:
        """Score, or return what was scored: a user and a length name a history of the dataset."""
        if self._found is None:
            return self._scorer(asked)
        key = tuple((user, len(past)) for user, past in asked)
        if key not in self._found:
            self._found[key] = self._scorer(asked)
        return self._found[key]

    def forget(self) -> None:
        """Free the cache and stop caching."""
        self._found = None
