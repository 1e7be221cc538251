"""Statistics of experiments from sums, with numpy and the standard library.

In: sums over the users of each arm. Out: effects with intervals, and sequential bounds.
Read in this order: sums.py, effects.py, margin.py, ratio_mismatch.py, sequential.py,
multiplicity.py, power.py, metrics.py. Rule of the folder: no table and no file is read here, so the
server computes the same figures.
"""

from pocketrec_experiments.statistics.effects import Effect, Ratio, effect
from pocketrec_experiments.statistics.margin import Margin, margin
from pocketrec_experiments.statistics.multiplicity import benjamini_hochberg, holm
from pocketrec_experiments.statistics.power import Plan, plan
from pocketrec_experiments.statistics.ratio_mismatch import SampleRatio, sample_ratio
from pocketrec_experiments.statistics.sequential import Bounds, sequential_bounds
from pocketrec_experiments.statistics.sums import Sums

__all__ = [
    "Bounds",
    "Effect",
    "Margin",
    "Plan",
    "Ratio",
    "SampleRatio",
    "Sums",
    "benjamini_hochberg",
    "effect",
    "holm",
    "margin",
    "plan",
    "sample_ratio",
    "sequential_bounds",
]
