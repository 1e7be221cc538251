"""Choose the item neighbours of a release on validation cases (`neighbours.kind = "auto"`).

Which linear item model is best depends on the data: the next item where order matters, sets of
items where it does not, cosines where people take nearly the same few items. Each is tried as it
would ship, with a few weights an item, and asked as a device asks it. In a large catalogue the
settings of each kind are chosen on the most popular items, and the kind on all: the cut to a few
weights costs one kind more than another there.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.sparse import csr_matrix

from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.neighbours import Neighbours
from pocketrec_training.baselines.ladder import Ladder, Parameters, climb
from pocketrec_training.baselines.scorer import faded
from pocketrec_training.baselines.tuning import METRIC, TUNED_AT, TUNING_ITEMS, popular_cases
from pocketrec_training.data.dataset import VALID, Dataset
from pocketrec_training.data.features.declared import fit_features
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.cases import Cases, Setting, evaluation_settings, some
from pocketrec_training.metrics.ranks import rank_targets
from pocketrec_training.monitoring.progress import Progress
from pocketrec_training.neighbours.fit import MOST_ITEMS, mix_of, neighbours_by
from pocketrec_training.recipe.schema import NeighboursConfig, Recipe, uses_time

CASES, TRIES = 500, 12
"""Validation cases that decide, and parameter sets of each kind that are tried at most."""
_L2 = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 200.0, 300.0, 1e3, 3e3, 1e4)
_DECAYS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
_SHRINKS = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3)
_DROPOUTS = (0.0, 0.2, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95)
Kind = Literal["next", "together", "cosine"]
KINDS: dict[Kind, dict[str, Ladder]] = {
    "next": {
        "l2": Ladder(rungs=_L2, start=200.0, also=(10.0,), open_low=True, open_high=True),
        "decay": Ladder(rungs=_DECAYS, start=0.8),
    },
    "together": {
        "l2": Ladder(rungs=_L2, start=300.0, also=(10.0,), open_low=True, open_high=True),
        "dropout": Ladder(rungs=_DROPOUTS, start=0.0, also=(0.5, 0.8)),
        "decay": Ladder(rungs=_DECAYS, start=0.99),
    },
    "cosine": {
        "shrink": Ladder(rungs=_SHRINKS, start=0.0, also=(3.0, 100.0), open_high=True),
        "decay": Ladder(rungs=_DECAYS, start=0.99),
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourChoice:
    """What was chosen.

    Attributes:
        config: the settings to fit with; `kind` is not "auto".
        tried: NDCG@20 of the best of each kind.
        cases: validation cases that decided.
    """

    config: NeighboursConfig
    tried: dict[str, float]
    cases: int

    def sentence(self) -> str:
        """Return one line for the terminal and the report."""
        if not self.tried:
            return f"neighbours: {self.config.kind}, as no validation case can decide"
        others = ", ".join(f"{kind} {value:.4f}" for kind, value in self.tried.items())
        chosen = self.config
        assert chosen.kind != "auto"
        settings = ", ".join(f"{key} {getattr(chosen, key):g}" for key in KINDS[chosen.kind])
        return (
            f"neighbours: {chosen.kind} ({settings}), "
            f"the best of {others}: NDCG@{TUNED_AT} on {self.cases} validation cases"
        )


def choose_neighbours(recipe: Recipe, data: Dataset) -> NeighbourChoice | None:
    """Resolve `neighbours.kind = "auto"`; None if the recipe names a kind or wants no neighbours.

    A catalogue beyond `MOST_ITEMS`, which none of the models can hold, gets no neighbours.
    """
    config = recipe.neighbours
    if config.kind != "auto":
        return None
    settled = replace(config, kind="next" if uses_time(recipe) else "together")
    if not min(config.per_item, len(data.items) - 1) or len(data.items) > MOST_ITEMS:
        return NeighbourChoice(config=replace(settled, per_item=0), tried={}, cases=0)
    shown: Setting = "all" if recipe.rerank.repeats else "new_to_user"
    settings = {cases.setting: cases for cases in evaluation_settings(data, VALID)}
    if not settings:
        return NeighbourChoice(config=settled, tried={}, cases=0)
    setting = shown if shown in settings else next(iter(settings))
    cases = some(settings[setting], CASES, recipe.seed)
    world, asked, last = data, cases, recipe.retrieval.max_history
    if len(data.items) > TUNING_ITEMS:
        world, (asked,) = popular_cases(data, [cases])
    if not len(asked):
        return NeighbourChoice(config=settled, tried={}, cases=0)
    declared = fit_features(recipe, data.items)
    mix, asked_mix = (mix_of(config, each, declared) for each in (data, world))
    found: dict[Kind, tuple[float, NeighboursConfig]] = {}
    kinds = {
        kind: ladders for kind, ladders in KINDS.items() if kind != "next" or uses_time(recipe)
    }
    with Progress("neighbours", len(kinds)) as bar:
        for kind, ladders in kinds.items():
            config = replace(settled, kind=kind)
            best = climb(ladders, _gain(config, last, world, asked, asked_mix), TRIES)
            value = max(value for _, value in best.tried)
            if world is not data:
                value = _gain(config, last, data, cases, mix)(best.best)
            found[kind] = value, _with(config, best.best)
            bar.advance(len(found), f"{kind}: NDCG@{TUNED_AT} {value:.4f}")
    _, chosen = max(found.values(), key=lambda one: one[0])
    tried: dict[str, float] = {kind: value for kind, (value, _) in found.items()}
    return NeighbourChoice(config=chosen, tried=tried, cases=len(cases))


def _with(config: NeighboursConfig, parameters: Parameters) -> NeighboursConfig:
    return replace(
        config,
        l2=parameters.get("l2", config.l2),
        dropout=parameters.get("dropout", config.dropout),
        shrink=parameters.get("shrink", config.shrink),
        decay=parameters.get("decay", config.decay),
    )


def _gain(
    config: NeighboursConfig, last: int, data: Dataset, cases: Cases, mix: csr_matrix | None
) -> Callable[[Parameters], float]:
    fitted: dict[tuple[float, ...], csr_matrix] = {}

    def gain(parameters: Parameters) -> float:
        made = _with(config, parameters)
        # Only "next" fits with the decay; the others are fitted once for all of them.
        key = (made.l2, made.dropout, made.shrink, made.decay if made.kind == "next" else 0.0)
        if key not in fitted:
            fitted.clear()
            fitted[key] = weights_of(neighbours_by(made, data, mix))

        def score(block: list[tuple[int, int]]) -> Floats32:
            asked = [(user, data.history(user, end)) for user, end in block]
            table = faded(asked, len(data.items), made.decay, last)
            return np.asarray((table @ fitted[key]).toarray(), np.float32)

        (ranked,) = rank_targets(score, data, [cases], 0)
        return float(metrics.at_k(ranked.ranks, TUNED_AT, cases.offsets)[METRIC].mean())

    return gain


def weights_of(neighbours: Neighbours) -> csr_matrix:
    """Return the weights that ship as a sparse matrix, float32 [N, N]."""
    n, k = neighbours.rows.shape
    weights = neighbours.weights * neighbours.scales[:, None]
    ends = np.arange(0, n * k + 1, k)
    return csr_matrix((weights.ravel(), neighbours.rows.ravel(), ends), (n, n))
