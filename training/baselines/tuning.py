"""Pick each baseline's parameters on validation cases, then build it once more for the test."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training import metrics
from training.baselines.scorer import Baseline, Parameters, Scorer
from training.cases import Cases, Setting
from training.dataset import Dataset
from training.placement import BlockScorer, place_all

TUNED_BY = "ndcg"
TUNED_AT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """A baseline for one setting. tried: NDCG@20 on validation of each of its parameter sets."""

    name: str
    setting: Setting
    parameters: Parameters
    tried: tuple[tuple[Parameters, float], ...]
    score: BlockScorer


def tune(
    data: Dataset, baselines: dict[str, Baseline], valid: list[Cases]
) -> Iterator[Tuned | str]:
    """Tune every baseline in every setting of `valid`; a text says why one was left out.

    A method with a single set of parameters is not scored on validation at all.
    """
    for name, baseline in baselines.items():
        if baseline.needs and importlib.util.find_spec(baseline.needs) is None:
            yield (
                f"{name} left out: {baseline.needs} is not installed. "
                "Install it with: pip install 'pocketrec[train]'"
            )
            continue
        if 0 < baseline.most_items < len(data.items):
            yield (
                f"{name} left out: {len(data.items)} items, its matrix of items by items is "
                f"made up to {baseline.most_items}"
            )
            continue
        settings = [c for c in valid if c.setting == "all" or not baseline.only_all]
        if settings:
            yield from _tune_one(data, name, baseline, settings)


def block_scorer(data: Dataset, scorer: Scorer) -> BlockScorer:
    """Let a baseline score blocks of (user, end)."""
    return lambda block: np.stack([scorer(user, data.history(user, end)) for user, end in block])


def _tune_one(
    data: Dataset, name: str, baseline: Baseline, settings: list[Cases]
) -> Iterator[Tuned]:
    gains = np.zeros((len(baseline.grid), len(settings)))
    built: dict[int, BlockScorer] = {}
    for i, parameters in enumerate(baseline.grid if len(baseline.grid) > 1 else ()):
        score = block_scorer(data, baseline.build(data, **parameters))
        for j, found in enumerate(place_all(score, data, settings, TUNED_AT)):
            gain = metrics.at_k(found.places, TUNED_AT, settings[j].offsets)
            gains[i, j] = gain[f"{TUNED_BY}@{TUNED_AT}"].mean()
    for j, cases in enumerate(settings):
        best = int(gains[:, j].argmax())
        if best not in built:
            built[best] = block_scorer(data, baseline.build(data, **baseline.grid[best]))
        yield Tuned(
            name=name,
            setting=cases.setting,
            parameters=baseline.grid[best],
            tried=tuple(zip(baseline.grid, gains[:, j].tolist(), strict=True))
            if len(baseline.grid) > 1
            else (),
            score=built[best],
        )
