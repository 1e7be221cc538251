"""NDCG@20 with amounts of money or seconds as gains, if the recipe says that values are these."""

from typing import Any

import numpy as np

from pocketrec_bundle.floats import Floats64
from pocketrec_training.data.dataset import Dataset
from pocketrec_training.evaluation.question import Question
from pocketrec_training.evaluation.retrieval import Results
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.cases import Cases
from pocketrec_training.recipe.event_values import weights

CUT = 20


def value_figures(question: Question, results: Results) -> dict[str, Any]:
    """Return, by unit and setting, each method's NDCG@20 weighted by value.

    A target is worth the sum of the case's held-out values of it in this unit; a value below 0,
    such as a return's, counts 0. Cases without value are left out, and so is a setting without
    such cases. Empty if `[events.NAME]` of the recipe has no amount or seconds.
    """
    found: dict[str, Any] = {}
    events = question.trained.recipe.events
    for unit, types in weights(events).items():
        codes = [events.types.index(name) for name in types]
        for setting, (cases, ranked) in results.items():
            gains = target_values(question.data, cases, question.fold, codes)
            worth = np.add.reduceat(gains, cases.offsets[:-1]) > 0
            if not worth.any():
                continue
            values = {
                method: metrics.value_ndcg(each.ranks, gains, cases.offsets, CUT)[worth]
                for method, each in ranked.items()
            }
            found.setdefault(unit, {})[setting] = {
                "event_types": list(types),
                "cases": int(worth.sum()),
                "total": float(gains.sum()),
                f"ndcg@{CUT}": metrics.intervals(values, question.seed),
            }
    return found


def target_values(data: Dataset, cases: Cases, fold: int, codes: list[int]) -> Floats64:
    """Return the value of each target, float64, parallel to `Cases.targets`.

    Args:
        data: with values.
        cases: of one fold.
        fold: VALID or TEST.
        codes: event types that count.
    """
    assert data.values is not None
    gains = np.zeros(len(cases.targets))
    counted = np.isin(data.events, codes) & (data.fold == fold) & (data.values > 0)
    for at, user in enumerate(cases.users.tolist()):
        part = slice(int(data.offsets[user]), int(data.offsets[user + 1]))
        rows, values = data.rows[part][counted[part]], data.values[part][counted[part]]
        targets = cases.targets_of(at)
        places = np.searchsorted(targets, rows)
        known = (places < len(targets)) & (targets[np.minimum(places, len(targets) - 1)] == rows)
        gains[cases.offsets[at] : cases.offsets[at + 1]] = np.bincount(
            places[known], values[known], len(targets)
        )
    return gains
