"""Results by the user's number of events and by the target item's number of training events."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats64
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.cases import Cases
from pocketrec_training.metrics.ranks import RankedTargets
from pocketrec_training.metrics.significance import paired_bootstrap

BY_USER = (1, 5, 10, 20, 50, 200)
BY_ITEM = (1, 5, 20, 100, 500)
"""Where a new segment begins, in events; below the first are those without any."""

GAIN, HITS = "ndcg@10", "recall@20"


def by_history(
    cases: Cases, ranked: Mapping[str, RankedTargets], model: str, rival: str, seed: int = 7
) -> dict[str, dict[str, Any]]:
    """Return NDCG@10 and recall@20 of the model and its best rival for each length of history.

    `low` and `high` are the paired 95% interval of the difference in NDCG@10. Segments without a
    case are left out.
    """
    gains = {
        name: metrics.at_k(ranked[name].ranks, 10, cases.offsets)
        | metrics.at_k(ranked[name].ranks, 20, cases.offsets)
        for name in (model, rival)
    }
    return {
        name: {
            "users": int(part.sum()),
            **_both({m: gains[m][GAIN][part] for m in gains}, GAIN, model, rival),
            **_both({m: gains[m][HITS][part] for m in gains}, HITS, model, rival),
            "best_baseline": rival,
            **_interval(gains[model][GAIN][part], gains[rival][GAIN][part], seed),
        }
        for name, part in _parts(cases.ends, BY_USER, "no history", "events")
    }


def by_target(
    cases: Cases,
    ranked: Mapping[str, RankedTargets],
    popularity: NDArray[Any],
    model: str,
    rival: str,
    seed: int = 7,
) -> dict[str, dict[str, Any]]:
    """Return recall@20 of target items by their events: hits / targets of that kind, per case.

    Args:
        cases: what was asked.
        ranked: the ranks of each method's targets.
        popularity: training events of each item, float [n_items].
        model: its figure comes first.
        rival: the baseline beside it.
        seed: of the interval of the difference, `low` and `high`.
    """
    seen = popularity[cases.targets]
    owner = np.repeat(np.arange(len(cases)), np.diff(cases.offsets))
    found = {}
    for name, part in _parts(seen, BY_ITEM, "new items", "events"):
        users, starts = np.unique(owner[part], return_index=True)
        offsets = np.append(starts, int(part.sum()))
        values = {m: metrics.at_k(ranked[m].ranks[part], 20, offsets)[HITS] for m in (model, rival)}
        found[name] = {
            "cases": len(users),
            "targets": int(part.sum()),
            **_both(values, HITS, model, rival),
            "best_baseline": rival,
            **_interval(values[model], values[rival], seed),
        }
    return found


def _parts(
    counts: NDArray[Any], starts: Sequence[int], none: str, unit: str
) -> list[tuple[str, NDArray[np.bool_]]]:
    """Cut by number of events; a part without a member is left out."""
    ends = [*starts[1:], 0]
    parts = [(none, counts < starts[0])]
    for start, end in zip(starts, ends, strict=True):
        name = f"{start} to {end - 1} {unit}" if end else f"{start} {unit} or more"
        parts.append((name, (counts >= start) & ((counts < end) if end else True)))
    return [(name, part) for name, part in parts if part.any()]


def _both(values: Mapping[str, Floats64], name: str, model: str, rival: str) -> dict[str, float]:
    return {
        name: float(values[model].mean()),
        f"best_baseline_{name}": float(values[rival].mean()),
    }


def _interval(model: Floats64, rival: Floats64, seed: int) -> dict[str, float]:
    low, high = paired_bootstrap((model - rival)[:, None], seed)
    return {"low": float(low[0]), "high": float(high[0])}
