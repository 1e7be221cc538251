"""The rules of `rules.json`, each a pure function over arrays in the order of a list.

In: candidates with scores, the list of rules. Out: a slate, what touched each item, and how
probable each item was at its place. Read in this order: moment.py, ruled.py, relevance.py,
removal.py, titles.py, selection.py, caps.py, sponsored.py, exploration.py, thompson.py.
`reference.py` has the same in plain loops, which tests compare.
"""

from pocketrec_edge.recommend.rules.moment import Candidates, Moment
from pocketrec_edge.recommend.rules.ruled import Ruled, apply

__all__ = ["Candidates", "Moment", "Ruled", "apply"]
