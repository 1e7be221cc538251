"""Choose each baseline's parameters on validation cases, then fit it for the cases to answer."""

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from pocketrec_training.baselines.item_matrix import EXACT_ITEMS
from pocketrec_training.baselines.ladder import Parameters, SearchResult, climb
from pocketrec_training.baselines.parts import BestScorers, PartScorers, Remembering
from pocketrec_training.baselines.scorer import Baseline, Scorer
from pocketrec_training.data.dataset import VALID, Dataset
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.cases import Cases, Setting, held_out_cases, some
from pocketrec_training.metrics.ranks import BlockScorer, rank_targets

TUNED_AT = 20
METRIC = f"ndcg@{TUNED_AT}"
TUNING_ITEMS = 3_000
"""Methods with a matrix of items by items take time that grows with n_items^3. In catalogues above
`EXACT_ITEMS` their parameters are chosen on the cases of so many of the most popular items; those
of neighbours in any larger one."""

FittedOn = Literal["train", "train+valid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedBaseline:
    """A baseline for one setting.

    Attributes:
        tried: NDCG@20 on validation of each parameter set; empty if there was only one.
        at_edge: parameters whose best value is at the edge of the values tried, see `SearchResult`.
        tuned_items: the parameters were chosen on the cases of so many items.
        fitted_on: the folds that `score` has counted.
        score: the method in its best setting.
    """

    name: str
    setting: Setting
    parameters: Parameters
    tried: tuple[tuple[Parameters, float], ...]
    at_edge: tuple[str, ...]
    tuned_items: int
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
    there: set[str] = set()
    parts = PartScorers()
    for name, baseline in baselines.items():
        parts.keep_only(_parts_from(baselines, name))
        reason = _left_out(baseline, len(data.items), there)
        if reason:
            yield f"{name} left out: {reason}"
            continue
        settings = [c for c in valid if c.setting == "all" or not baseline.only_all]
        # Parts are tuned for each setting, so a hybrid is another method in each.
        for group in [[cases] for cases in settings] if baseline.parts else [settings]:
            try:
                for tuned in _tune_one(data, baselines, name, group, parts, refit, trying):
                    there.add(name)
                    yield tuned
                    del tuned  # and with it the fitted method, before the next one is fitted
            except np.linalg.LinAlgError as err:  # chosen on fewer items or events
                there.discard(name)
                yield f"{name} left out: {err}, fitted on all items"


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


def _parts_from(baselines: Mapping[str, Baseline], name: str) -> set[str]:
    """Return the parts of this baseline and of those after it, and itself if it is one."""
    names = list(baselines)
    return {part for each in names[names.index(name) :] for part in baselines[each].parts}


def _tune_one(
    data: Dataset,
    baselines: Mapping[str, Baseline],
    name: str,
    settings: list[Cases],
    parts: PartScorers,
    refit: bool,
    trying: Callable[[str, str], None],
) -> Iterator[TunedBaseline]:
    """Search in every setting at once: each parameter set is fitted once for all."""
    if not settings:
        return
    baseline, first = baselines[name], settings[0].setting
    world, asked = data, settings
    if baseline.cubic and len(data.items) > EXACT_ITEMS:
        world, asked = popular_cases(data, settings)
    build = baseline.fit(world, *(parts.on_validation[part, first] for part in baseline.parts))
    best = BestScorers(keep=parts.wants(name) and world is data)
    gains: dict[tuple[tuple[str, float], ...], list[float]] = {}

    def gain(parameters: Parameters, place: int) -> float:
        key = tuple(parameters.items())
        if key not in gains:
            trying(name, f"parameter set {len(gains) + 1}")
            try:
                scorer = best.watched(build(**parameters))
                ranked = rank_targets(block_scorer(world, scorer), world, asked, 0)
            except np.linalg.LinAlgError:  # singular with these parameters: worse than any other
                gains[key] = [-1.0] * len(asked)
                return -1.0
            gains[key] = [
                float(metrics.at_k(found.ranks, TUNED_AT, cases.offsets)[METRIC].mean())
                for cases, found in zip(asked, ranked, strict=True)
            ]
            told = zip(asked, gains[key], strict=True)
            best.offer(scorer, {cases.setting: value for cases, value in told})
        return gains[key][place]

    found: list[SearchResult] = []
    for place in range(len(settings)):
        if baseline.ladders:
            known = [dict(key) for key in gains]  # scored in every setting
            tries = budget(baseline, len(data.items))
            found.append(climb(baseline.ladders, partial(gain, place=place), tries, known))
        else:
            found.append(SearchResult(best={}, tried=(), at_edge=()))
    if world is not data and (parts.wants(name) or not refit):
        build = baseline.fit(data)
    if parts.wants(name):
        for cases, climbed in zip(settings, found, strict=True):
            scorer = best.of(cases.setting)
            if scorer is None:
                scorer = Remembering(build(**climbed.best))
                rank_targets(block_scorer(data, scorer), data, [cases], 0)
                scorer.freeze()  # a matrix of all items is much larger than its scores
            parts.on_validation[name, cases.setting] = scorer
    if refit:
        trying(name, "fitted on train + validation")
    if refit or baseline.parts:
        del build
        counted = data.with_validation() if refit else data
        build = baseline.fit(counted, *(parts.final[part, first] for part in baseline.parts))
    made: dict[tuple[tuple[str, float], ...], Scorer] = {}
    for cases, climbed in zip(settings, found, strict=True):
        key = tuple(climbed.best.items())
        if key not in made:
            made[key] = build(**climbed.best)
        if parts.wants(name):
            parts.final[name, cases.setting] = made[key]
        yield TunedBaseline(
            name=name,
            setting=cases.setting,
            parameters=climbed.best,
            tried=climbed.tried,
            at_edge=climbed.at_edge,
            tuned_items=len(world.items),
            fitted_on="train+valid" if refit else "train",
            score=block_scorer(data, made[key]),
        )


def budget(baseline: Baseline, n_items: int) -> int:
    """Return how many parameter sets are tried for a catalogue of this size."""
    return (baseline.large_budget if n_items > EXACT_ITEMS else 0) or baseline.budget


def popular_cases(data: Dataset, settings: list[Cases]) -> tuple[Dataset, list[Cases]]:
    """Return the events of the `TUNING_ITEMS` most popular items, and as many of their cases."""
    small = data.of_popular(TUNING_ITEMS)
    cases = [
        some(held_out_cases(small, VALID, each.setting), len(each), TUNING_ITEMS)
        for each in settings
    ]
    return small, cases
