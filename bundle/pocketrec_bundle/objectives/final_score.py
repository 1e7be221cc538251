"""The final score of candidates: a weighted sum of heads, or the formula of the release."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.floats import Floats32, Floats64
from pocketrec_bundle.objectives.evaluate import evaluate
from pocketrec_bundle.objectives.formula import Number, nodes, to_text
from pocketrec_bundle.objectives.heads import Objectives


@dataclass(frozen=True, slots=True)
class Scored:
    """Final scores, float32 [n]; faulty: bool [n], where 0 stands for a number that is not finite.

    A faulty number may be a part of the formula only, so its score need not be 0.
    """

    scores: Floats32
    faulty: NDArray[np.bool_]


def head_values(objectives: Objectives | None, outputs: NDArray[Any]) -> Floats64:
    """Return the values of heads in their units, float64 [n, H], of the ranker's outputs [n, H]."""
    values: Floats64 = np.asarray(outputs, np.float64)
    if objectives is None:
        return values
    scaled: Floats64 = values * np.array([head.scale for head in objectives.heads])
    return scaled


def final_scores(
    spec: FeatureSpec,
    objectives: Objectives | None,
    outputs: Floats32,
    numeric: Floats32,
    weights: Sequence[float] | None = None,
) -> Scored:
    """Compute the final scores of n candidates.

    Args:
        spec: names of heads and numeric columns.
        objectives: of the release; None: `FeatureSpec.final_scores` in float32, as before
            format 3.
        outputs: float32 [n, H], of the ranker.
        numeric: float32 [n, M], item columns; below 0 is unknown and counts 0.
        weights: in place of the spec's `head_weights`; not with a formula.
    """
    n, used = len(outputs), spec.head_weights if weights is None else tuple(weights)
    faulty = np.zeros(n, np.bool_)
    if objectives is None:
        return Scored(replace(spec, head_weights=used).final_scores(outputs), faulty)
    values = head_values(objectives, outputs)
    if objectives.formula is None:
        total = np.zeros(n)
        for h, weight in enumerate(used):
            total = total + values[:, h] * weight
        return Scored(total.astype(np.float32), faulty)
    assert weights is None, "an arm's head weights do not fit a formula"
    heads = {head.name: values[:, h] for h, head in enumerate(objectives.heads)}
    found, faulty = evaluate(objectives.formula, n, heads, _columns(spec, numeric))
    return Scored(found.astype(np.float32), faulty)


def _columns(spec: FeatureSpec, numeric: Floats32) -> dict[str, Floats64]:
    """Return the numeric columns by name, float64 [n], 0 where unknown."""
    return {
        name: np.where(numeric[:, m] < 0, 0.0, numeric[:, m].astype(np.float64))
        for m, name in enumerate(spec.numeric)
    }


def formula_of(objectives: Objectives | None) -> str | None:
    """Return the formula as text; None without one."""
    if objectives is None or objectives.formula is None:
        return None
    return to_text(objectives.formula)


def parts_of(
    spec: FeatureSpec, objectives: Objectives, outputs: Floats32, numeric: Floats32
) -> dict[str, float]:
    """Return the values that make the final score of one candidate, by name.

    These are the heads in their units, all of them, and the numeric columns of the formula.

    Args:
        spec: names of heads and numeric columns.
        objectives: of the release.
        outputs: float32 [1, H], of the ranker.
        numeric: float32 [1, M], item columns.
    """
    values = head_values(objectives, outputs)[0].tolist()
    found = {head.name: value for head, value in zip(objectives.heads, values, strict=True)}
    if objectives.formula is not None:
        columns = _columns(spec, numeric)
        names = [node.name for node in nodes(objectives.formula) if isinstance(node, Number)]
        found |= {name: float(columns[name][0]) for name in dict.fromkeys(names)}
    return found
