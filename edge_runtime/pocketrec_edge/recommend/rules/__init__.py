"""The rules of `rules.json`, each a pure function over arrays in the order of a list.

In: scored candidates, the request's context, the list of rules. Out: a slate, each rule's effect on
its items, and the probability of each item at its rank (propensity).
Reading order: context.py, results.py, apply_rules.py; then the rules: relevance.py, removal.py,
titles.py, selection.py, caps.py, sponsored.py, exploration.py, thompson.py; interleaving.py merges
two slates. `reference.py` has the rules again in plain loops, which tests compare.
"""

from pocketrec_edge.recommend.rules.apply_rules import apply, place_probabilities
from pocketrec_edge.recommend.rules.context import RequestContext, RuleCandidates
from pocketrec_edge.recommend.rules.results import PlaceProbabilities, RerankResult

__all__ = [
    "PlaceProbabilities",
    "RequestContext",
    "RerankResult",
    "RuleCandidates",
    "apply",
    "place_probabilities",
]
