"""Fit objectives to the training events before anything else is trained, and report on them."""

from dataclasses import dataclass

import numpy as np

from pocketrec_bundle.objectives import HeadMeaning, Objectives
from pocketrec_training.data.dataset import TRAIN, VALID, Dataset
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.ranker.outcomes import divisor
from pocketrec_training.recipe.objective import Objective
from pocketrec_training.recipe.objective_checks import formula_of
from pocketrec_training.recipe.schema import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveFacts:
    """What the training events have for one objective; saved in `train_report.json`.

    Attributes:
        name: of the objective.
        events: of its types, in the training fold.
        positives: those that count above 0.
        unknown: those without a value, or without the column that a share divides by; they count 0.
        below_0: those with a value below 0, such as a return's; they count 0.
        scale: largest value of the head, in `unit`.
        unit: of the values.
        capped: values above the largest one, which count as it.
        lost: share of the sum of all values that capping removed, 0..1.
    """

    name: str
    events: int
    positives: int
    unknown: int = 0
    below_0: int = 0
    scale: float = 1.0
    unit: str = ""
    capped: int = 0
    lost: float = 0.0

    def sentence(self) -> str:
        """Return one line for the terminal and the report."""
        said = f"objective {self.name}: {self.positives:,} of {self.events:,} training events count"
        if self.unknown:
            said += f"; {self.unknown:,} have no value and count 0"
        if self.below_0:
            said += f"; {self.below_0:,} are below 0 and count 0"
        if self.capped:
            unit = f" ({self.unit})" if self.unit else ""
            said += (
                f"; {self.capped:,} above {self.scale:g}{unit} count as that, which removes "
                f"{self.lost:.1%} of the sum"
            )
        return said


def fit_objectives(
    recipe: Recipe, data: Dataset, where: str
) -> tuple[Objectives | None, tuple[ObjectiveFacts, ...]]:
    """Return the heads of the recipe with their scales, and facts about them.

    None without objectives and without a formula: then the final score is as before format 3.

    Args:
        recipe: with its objectives.
        data: sequences with their folds.
        where: folder of the tables, for messages.

    Raises:
        RunInvalidError: an objective's events do not occur, or none of them counts, in the
            training events or in those that the ranker learns from.
    """
    if not recipe.objectives and not recipe.ranker.formula:
        return None, ()
    if not recipe.objectives:
        return Objectives(heads=_usual_heads(recipe), formula=formula_of(recipe)), ()
    facts = tuple(_facts(one, recipe, data, where) for one in recipe.objectives)
    heads = tuple(
        HeadMeaning(
            name=one.name,
            kind=one.kind,
            events=one.events,
            window_s=one.window_s,
            calibration=one.calibration,
            scale=fact.scale,
            unit=fact.unit,
        )
        for one, fact in zip(recipe.objectives, facts, strict=True)
    )
    return Objectives(heads=heads, formula=formula_of(recipe)), facts


def _usual_heads(recipe: Recipe) -> tuple[HeadMeaning, ...]:
    of_head = {"engage": recipe.events.types, "like": ("like",)}
    return tuple(
        HeadMeaning(
            name=head,
            kind="binary",
            events=of_head[head],
            window_s=0,
            calibration=recipe.ranker.calibration,
        )
        for head in recipe.ranker.heads
    )


def _facts(one: Objective, recipe: Recipe, data: Dataset, where: str) -> ObjectiveFacts:
    types = recipe.events.types
    of_types = np.isin(data.events, [types.index(name) for name in one.events])
    named = ", ".join(one.events)
    if not of_types.any():
        have = ", ".join(types[code] for code in np.unique(data.events))
        raise RunInvalidError(
            f"{where}: objectives.{one.name}: no event is of type {named}; the tables have {have}. "
            "Mend columns.event or the objective's events, or remove the objective."
        )
    learns = TRAIN if recipe.ranker.examples == "train" else VALID
    for fold, told in {TRAIN: "training", learns: "validation"}.items():
        at = of_types & (data.fold == fold)
        if not (_worth(one, data)[at] > 0).any():
            what = "value above 0" if one.kind != "binary" else "event"
            raise RunInvalidError(
                f"{where}: objectives.{one.name}: the {told} events have no positive example: "
                f"{at.sum():,} of type {named}, and none has a {what}. Hold out more events "
                "(split), bring such events, or remove the objective."
            )
    chosen = of_types & (data.fold == TRAIN)
    worth = _worth(one, data)[chosen]
    if one.kind == "binary":
        return ObjectiveFacts(name=one.name, events=len(worth), positives=len(worth))
    positive = worth[worth > 0]
    scale = float(np.quantile(positive, one.winsor)) if one.kind == "value" else 1.0
    above = positive[positive > scale]
    about = recipe.events.values.get(one.events[0])
    unit = f"{about.value} {about.currency}".strip() if about and one.kind == "value" else ""
    return ObjectiveFacts(
        name=one.name,
        events=len(worth),
        positives=len(positive),
        unknown=int(np.isnan(worth).sum()),
        below_0=int((worth < 0).sum()),
        scale=scale,
        unit=unit,
        capped=len(above),
        lost=float((above - scale).sum() / positive.sum()),
    )


def _worth(one: Objective, data: Dataset) -> np.ndarray:
    """Return what each event counts before capping, float64 [n_events]; NaN = unknown."""
    if one.kind == "binary":
        return np.ones(len(data.events))
    assert data.values is not None
    if not one.of:
        return data.values
    return data.values / divisor(one.of, data.items)[data.rows]
