"""The simple methods to beat, each in its best setting on validation cases.

In: a dataset whose training fold they count. Out: scores of all items for histories.
Reading order: `ladder.py` (the search), `scorer.py` (the seam), `counts.py`, `item_matrix.py`,
`neighbours.py`, `ease.py`, `slist.py`, `baskets.py`, `tifu_knn.py`, `als.py`, `hybrids.py`, then
`tuning.py` with `parts.py`, which picks each one's parameters and fits it for the cases to answer.
Rule: parameters are chosen on validation cases with methods that count the training fold. To answer
test cases, each is fitted once more on training and validation events.
"""

from pocketrec_training.baselines.als import als
from pocketrec_training.baselines.counts import personal_frequency, popularity, transitions
from pocketrec_training.baselines.ease import ease
from pocketrec_training.baselines.hybrids import ease_popularity, ease_tifu_popularity
from pocketrec_training.baselines.ladder import Ladder
from pocketrec_training.baselines.neighbours import item_knn
from pocketrec_training.baselines.scorer import Baseline, Scorer
from pocketrec_training.baselines.slist import slist
from pocketrec_training.baselines.tifu_knn import tifu_knn

MOST_ITEMS = 20_000
"""Above it the methods with a matrix of items by items are left out: at this size a matrix takes
1.6 GB, and EASE and SLIST hold two of them at their peak."""

_L2 = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)
_DAYS = (1e-4, 1e-3, 0.01, 0.05, 0.25, 0.5, 1.0, 2.0, 4.0, 7.0, 14.0, 30.0, 60.0, 90.0, 180.0)
_HALF_LIVES = (*_DAYS, 365.0, 0.0)
"""Days; 0 = none, the natural end: events of any age count alike. The shortest are for files whose
times only count the events."""
_DECAYS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.0)
_SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_SHRINKS = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4)
_WEIGHTS = (0.0, 0.01, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


def _l2(start: float) -> Ladder:
    return Ladder(rungs=_L2, start=start, open_low=True, open_high=True)


def _half_life(start: float, also: tuple[float, ...]) -> Ladder:
    return Ladder(rungs=_HALF_LIVES, start=start, also=also, open_low=True)


def _weight(start: float) -> Ladder:
    return Ladder(rungs=_WEIGHTS, start=start, open_high=True)


BASELINES: dict[str, Baseline] = {
    "popularity": Baseline(
        fit=popularity, ladders={"half_life_days": _half_life(0.0, _HALF_LIVES)}
    ),
    "personal_frequency": Baseline(fit=personal_frequency, only_all=True),
    "transitions": Baseline(
        fit=transitions,
        ladders={
            "window": Ladder(rungs=(1, 2, 3, 5, 10, 20, 50, 100, 200, 0), start=5, also=(20,)),
            "decay": Ladder(rungs=_DECAYS, start=0.8),
        },
    ),
    "item_knn": Baseline(
        fit=item_knn,
        ladders={
            "neighbours": Ladder(
                rungs=(5, 10, 20, 50, 100, 200, 500, 1000, 0), start=0, also=(200,), open_low=True
            ),
            "decay": Ladder(rungs=_DECAYS, start=1.0, also=(0.9,)),
            "shrink": Ladder(rungs=_SHRINKS, start=0.0, also=(3.0, 100.0), open_high=True),
        },
        most_items=MOST_ITEMS,
    ),
    "tifu_knn": Baseline(
        fit=tifu_knn,
        ladders={
            "own_share": Ladder(rungs=_SHARES, start=0.7),
            "neighbours": Ladder(
                rungs=(10, 20, 50, 100, 300, 900, 2000, 0), start=300, open_low=True
            ),
            "within": Ladder(rungs=_SHARES, start=0.9),
            "between": Ladder(rungs=_SHARES, start=0.7),
            "group": Ladder(rungs=(1, 2, 3, 5, 7, 10, 15, 20, 30), start=7, open_high=True),
        },
        most_items=MOST_ITEMS,
    ),
    "als": Baseline(
        fit=als,
        ladders={
            "factors": Ladder(rungs=(8, 16, 32, 64, 128, 256), start=64, open_high=True),
            "alpha": Ladder(
                rungs=(0.1, 0.3, 1.0, 3.0, 10.0, 30.0), start=1.0, open_low=True, open_high=True
            ),
            "regularization": Ladder(
                rungs=(5e-5, 5e-4, 0.005, 0.05, 0.5, 5.0, 50.0),
                start=0.05,
                open_low=True,
                open_high=True,
            ),
        },
        budget=25,
        large_budget=8,
        needs="implicit",
    ),
    "ease": Baseline(fit=ease, ladders={"l2": _l2(300.0)}, cubic=True, most_items=MOST_ITEMS),
    "ease_popularity": Baseline(
        fit=ease_popularity,
        parts=("ease",),
        ladders={"popular": _weight(0.3), "half_life_days": _half_life(30.0, (7.0,))},
        most_items=MOST_ITEMS,
    ),
    "ease_tifu_popularity": Baseline(
        fit=ease_tifu_popularity,
        parts=("ease", "tifu_knn"),
        ladders={
            "habit": _weight(1.0),
            "popular": _weight(0.1),
            "half_life_days": _half_life(30.0, (7.0,)),
        },
        only_all=True,
        most_items=MOST_ITEMS,
    ),
    "slist": Baseline(
        fit=slist,
        ladders={
            "l2": _l2(100.0),
            "share": Ladder(rungs=_SHARES, start=0.2),
            "decay": Ladder(rungs=_DECAYS, start=0.9),
        },
        budget=30,
        cubic=True,
        most_items=MOST_ITEMS,
    ),
}

__all__ = ["BASELINES", "Baseline", "Ladder", "Scorer"]
