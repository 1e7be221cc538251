"""Results by kind of user and by kind of target item."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.cases import Cases
from pocketrec_training.metrics.ranks import RankedTargets

SHORT_HISTORY = 50
LONG_HISTORY = 200
RARE = 5
"""An item with fewer training events than this is rare; one with none is new."""

GAIN, HITS = "ndcg@10", "recall@20"


def by_history(
    cases: Cases, ranked: Mapping[str, RankedTargets], model: str, rival: str
) -> dict[str, dict[str, Any]]:
    """Return NDCG@10 and recall@20 of the model and its best rival for each length of history.

    Segments without a case are left out.
    """
    lengths = cases.ends
    chosen = {
        "no history": lengths == 0,
        f"under {SHORT_HISTORY} events": (lengths > 0) & (lengths < SHORT_HISTORY),
        f"{SHORT_HISTORY} to {LONG_HISTORY} events": (lengths >= SHORT_HISTORY)
        & (lengths <= LONG_HISTORY),
        f"over {LONG_HISTORY} events": lengths > LONG_HISTORY,
    }
    gains = {
        name: {
            GAIN: metrics.at_k(ranked[name].ranks, 10, cases.offsets)[GAIN],
            HITS: metrics.at_k(ranked[name].ranks, 20, cases.offsets)[HITS],
        }
        for name in (model, rival)
    }
    return {
        segment: {
            "users": int(part.sum()),
            GAIN: float(gains[model][GAIN][part].mean()),
            HITS: float(gains[model][HITS][part].mean()),
            "best_baseline": rival,
            f"best_baseline_{GAIN}": float(gains[rival][GAIN][part].mean()),
            f"best_baseline_{HITS}": float(gains[rival][HITS][part].mean()),
        }
        for segment, part in chosen.items()
        if part.any()
    }


def by_target(
    cases: Cases,
    ranked: Mapping[str, RankedTargets],
    popularity: NDArray[Any],
    model: str,
    rival: str,
) -> dict[str, dict[str, Any]]:
    """Return recall@20 of rare and of new target items: hits / targets of that kind, per case.

    Args:
        cases: what was asked.
        ranked: the ranks of each method's targets.
        popularity: training events of each item, float [n_items].
        model: its figure comes first.
        rival: the baseline beside it.
    """
    seen = popularity[cases.targets]
    kinds = {
        "new items (no training event)": seen == 0,
        f"rare items (1 to {RARE - 1} training events)": (seen > 0) & (seen < RARE),
        f"items with {RARE} training events or more": seen >= RARE,
    }
    owner = np.repeat(np.arange(len(cases)), np.diff(cases.offsets))
    found = {}
    for kind, part in kinds.items():
        if not part.any():
            continue
        users, starts = np.unique(owner[part], return_index=True)
        offsets = np.append(starts, int(part.sum()))
        values = {
            name: metrics.at_k(ranked[name].ranks[part], 20, offsets)[HITS]
            for name in (model, rival)
        }
        found[kind] = {
            "cases": len(users),
            "targets": int(part.sum()),
            HITS: float(values[model].mean()),
            "best_baseline": rival,
            f"best_baseline_{HITS}": float(values[rival].mean()),
        }
    return found
