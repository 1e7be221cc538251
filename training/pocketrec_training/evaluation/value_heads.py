"""How well heads of values and shares predict, in their units, on the lists that are shown."""

import math
from typing import Any

import numpy as np

from pocketrec_bundle.objectives import Objectives
from pocketrec_training.evaluation.ranking import AskedLists
from pocketrec_training.metrics.values import value_bins, value_metrics


def value_heads(objectives: Objectives | None, asked: AskedLists, seed: int) -> dict[str, Any]:
    """Return the figures of each head that is not binary; empty without such heads.

    Outcomes are capped at the scale of the head, as in training. A rank correlation of constant
    numbers is None.
    """
    found: dict[str, Any] = {}
    real = asked.lists.real
    owners = np.nonzero(real)[0]
    for h, head in enumerate(() if objectives is None else objectives.heads):
        if head.kind == "binary":
            continue
        predicted = asked.outputs[..., h][real].astype(np.float64) * head.scale
        actual = asked.lists.labels[..., h][real].astype(np.float64) * head.scale
        figures = value_metrics(predicted, actual, owners, len(real), seed)
        found[head.name] = {
            "kind": head.kind,
            "unit": head.unit,
            "scale": head.scale,
            "lists": len(real),
            "cases": len(actual),
            "positives": int((actual > 0).sum()),
            "mean_predicted": float(predicted.mean()),
            "mean_actual": float(actual.mean()),
            **{
                name: {key: None if math.isnan(one) else one for key, one in each.items()}
                for name, each in figures.items()
            },
            "bins": value_bins(predicted, actual),
        }
    return found
