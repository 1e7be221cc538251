"""What another policy would have earned, from the logs of the policy that ran.

In: logged slates with propensities, and the target policy's probability of each item at each place.
Out: the target's reward a request (IPS, SNIPS, doubly robust) with intervals, or a refusal.
Reading order: logged.py, weights.py, examination.py, estimators.py, value.py; tables.py reads
exports; interleaving.py compares two rankings that were merged into one slate.
"""

from pocketrec_experiments.off_policy.estimators import (
    Estimate,
    doubly_robust,
    effective_sample_size,
    ips,
    snips,
)
from pocketrec_experiments.off_policy.logged import LoggedSlates, SlatePolicy, WeightedLog
from pocketrec_experiments.off_policy.value import Limits, PolicyValue, evaluate
from pocketrec_experiments.off_policy.weights import item_position, position_based

__all__ = [
    "Estimate",
    "Limits",
    "LoggedSlates",
    "PolicyValue",
    "SlatePolicy",
    "WeightedLog",
    "doubly_robust",
    "effective_sample_size",
    "evaluate",
    "ips",
    "item_position",
    "position_based",
    "snips",
]
