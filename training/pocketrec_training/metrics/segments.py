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

FEW_EVENTS = {"0": (0, 1), "1-4": (1, 5), "5-19": (5, 20), "20+": (20, None)}
"""Groups of `hits_by_events`: from so many training events of the item to fewer than so many."""
HITS_AT = 20

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


def hits_by_events(
    cases: Cases,
    ranked: Mapping[str, RankedTargets],
    seen: NDArray[Any],
    model: str,
    rival: str,
    seed: int = 7,
) -> dict[str, dict[str, Any]]:
    """Count hits of target items by the items' training events, in all groups of `FEW_EVENTS`.

    Returns:
        Of each group the cases with such a target, the targets, those among the first 20
        (`hits@20`, `best_baseline_hits@20`), and `low` to `high`: the 95% interval of the
        difference in hits, cases redrawn.

    Args:
        cases: what was asked.
        ranked: the ranks of each method's targets.
        seen: training events of each item, float [n_items].
        model: its hits come first.
        rival: the baseline beside it.
        seed: of the interval.
    """
    counts = seen[cases.targets]
    owners = np.repeat(np.arange(len(cases)), np.diff(cases.offsets))
    found = {}
    for name, (start, end) in FEW_EVENTS.items():
        part = (counts >= start) & (counts < (np.inf if end is None else end))
        hits, others = (part & (ranked[method].ranks < HITS_AT) for method in (model, rival))
        more = np.bincount(owners, hits * 1.0 - others, len(cases)).astype(np.float64)
        low, high = paired_bootstrap(more[:, None], seed)
        found[name] = {
            "cases": len(np.unique(owners[part])),
            "targets": int(part.sum()),
            f"hits@{HITS_AT}": int(hits.sum()),
            f"best_baseline_hits@{HITS_AT}": int(others.sum()),
            "best_baseline": rival,
            "low": float(low[0]) * len(cases),
            "high": float(high[0]) * len(cases),
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
