"""The sentence of a verdict fits its word, and each guardrail is judged by its own limit."""

import numpy as np

from pocketrec_experiments.analysis.compare.looks import looks
from pocketrec_experiments.analysis.verdict import judged
from pocketrec_experiments.statistics import Sums
from pocketrec_experiments.statistics.metrics import METRICS


def sums(metric, users, shares):
    """Return the daily sums of users of whom some convert; nobody has a past."""
    names = METRICS[metric].ratio(cuped=True).quantities
    made = []
    for share in shares:
        rows = np.zeros((users, len(names)))
        rows[: round(share * users), 0] = 1
        if METRICS[metric].denominator:
            rows[:, names.index(METRICS[metric].denominator)] = 1
        made.append(Sums.of_rows(names, rows))
    return made


def test_a_reversed_effect_is_described_as_it_crossed(design_of):
    metric = METRICS["conversion"]
    control = sums("conversion", 4000, [0.10, 0.10, 0.10, 0.10])
    treatment = sums("conversion", 4000, [0.11, 0.20, 0.12, 0.099])
    made = looks(control, treatment, metric, design_of(days=4), alpha=0.05)
    found = judged("b", metric, made, {}, planned_days=4, is_over=True)
    assert found.word == "b is better than control"
    assert found.sentence.startswith("Conversion is up 100.0% (10.00% to 20.00%;")
    assert "The bound was first crossed on day 2." in found.sentence
    assert "The latest look disagrees: on day 4 it is down 1.0%" in found.sentence
    agreeing = judged("b", metric, made[:3], {}, planned_days=4, is_over=False)
    assert agreeing.sentence.startswith("Conversion is up 20.0%")
    assert "disagrees" not in agreeing.sentence
