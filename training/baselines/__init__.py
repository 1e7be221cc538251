"""The simple methods to beat, each in its best setting on validation cases.

In: a dataset whose training fold they count. Out: scores of all items for a history.
Reading order: `scorer.py` (the seam), `counts.py`, `neighbours.py`, `ease.py`, `tifu_knn.py`,
`als.py`, then `tuning.py`, which picks each one's parameters.
Rule: they see the training fold and the one history they are asked about; parameters are chosen
on validation cases only.
"""

from training.baselines.als import als
from training.baselines.counts import personal_frequency, popularity, transitions
from training.baselines.ease import ease
from training.baselines.neighbours import item_knn
from training.baselines.scorer import Baseline, Scorer
from training.baselines.tifu_knn import tifu_knn

MOST_ITEMS = 20_000
"""Above it the methods with a matrix of items by items are left out: 1.6 GB at this size."""

BASELINES: dict[str, Baseline] = {
    "popularity": Baseline(
        build=popularity,
        grid=({}, *({"half_life_days": days} for days in (90.0, 30.0, 7.0, 2.0))),
    ),
    "personal_frequency": Baseline(build=personal_frequency, only_all=True),
    "transitions": Baseline(build=transitions, grid=({}, {"window": 20, "decay": 0.95})),
    "item_knn": Baseline(
        build=item_knn,
        grid=({}, {"neighbours": 200}, {"neighbours": 50}, {"decay": 0.98}),
        most_items=MOST_ITEMS,
    ),
    "ease": Baseline(
        build=ease,
        grid=({"l2": 100.0}, {"l2": 300.0}, {"l2": 1000.0}, {"l2": 3000.0}),
        most_items=MOST_ITEMS,
    ),
    "tifu_knn": Baseline(
        build=tifu_knn,
        grid=(
            {"neighbours": 100},
            {"neighbours": 300},
            {"neighbours": 900},
            {"neighbours": 300, "own_share": 0.9},
            {"neighbours": 300, "own_share": 0.5},
            {"neighbours": 300, "within": 0.9, "between": 0.5},
        ),
        most_items=MOST_ITEMS,
    ),
    "als": Baseline(
        build=als,
        grid=({"factors": 64}, {"factors": 64, "alpha": 10.0}, {"factors": 16}),
        needs="implicit",
    ),
}

__all__ = ["BASELINES", "Baseline", "Scorer"]
