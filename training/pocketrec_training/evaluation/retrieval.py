"""Figures of retrieval: each method in each setting, beyond accuracy, by user and by item."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_training.baselines import BASELINES
from pocketrec_training.data.dataset import Dataset
from pocketrec_training.metrics import beyond_accuracy, segments
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.cases import Cases
from pocketrec_training.metrics.ranks import RankedTargets
from pocketrec_training.trained import TrainedRun

CUTS = (5, 10, 20)
CURVE = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50)
"""Lengths of the list at which the recall curves have a point."""
SHIPPED = "shipped_bundle"
"""A bundle on a phone's code, whose lists end at the longest of `CUTS`."""
SLATE = 10
"""Length of the lists that coverage, novelty and the like are measured on."""

Results = dict[str, tuple[Cases, dict[str, RankedTargets]]]
"""By setting: the cases, and what each method did with them."""


def retrieval_figures(
    trained: TrainedRun, data: Dataset, seen: NDArray[Any], results: Results, split: str
) -> dict[str, Any]:
    """Return tables, curves and segments of all methods; the first setting is the main one.

    Args:
        trained: the run.
        data: its sequences.
        seen: events of each item that the fit which answers has learned from, float [n_items].
        results: cases and ranks by setting.
        split: "test" or "valid".
    """
    seed = trained.recipe.seed
    tables = {
        setting: {name: _retrieval(cases, p, len(data.items), seed) for name, p in ranked.items()}
        for setting, (cases, ranked) in results.items()
    }
    main, total = next(iter(results)), seen.sum(dtype=np.float64)
    cases, ranked = results[main]
    rival, ours = _best_baseline(tables[main]), what_ships(ranked)
    retrieval = tables[main]
    categories = beyond_accuracy.category_vectors(data.items.categories)
    return {
        "protocol": {
            "split": split,
            "split_kind": trained.recipe.split.kind,
            "cases": len(cases),
            "candidates": _candidates_told(main),
            "settings": {
                setting: {
                    "cases": len(each),
                    "targets": len(each.targets),
                    "candidates": _candidates_told(setting),
                }
                for setting, (each, _) in results.items()
            },
            "cases_sha256": {s: each.digest(data) for s, (each, _) in results.items()},
            "recall": "hits / held-out items of the case",
            "item_hits": f"the fit that answers has learned from {int(total):,} events",
            "ranking": f"the {trained.spec.candidates} unmet items that retrieval returns for each "
            "case, as on the device; positive is what the user met (head like: and liked) next",
            "seed": seed,
        },
        "retrieval": retrieval,
        "best_baseline": rival,
        **{f"retrieval_{s}": table for s, table in tables.items() if s != main},
        "beyond_accuracy": {
            setting: {
                name: beyond_accuracy.measure(
                    p.top[:, :SLATE], data, trained.item_vectors, categories
                )
                for name, p in answers.items()
            }
            for setting, (_, answers) in results.items()
        },
        "recall_curves": {
            setting: {
                "k": list(CURVE),
                "methods": {name: _curve(name, each, p) for name, p in answers.items()},
            }
            for setting, (each, answers) in results.items()
        },
        "segments": segments.by_history(cases, ranked, ours, rival, seed),
        "target_segments": segments.by_target(cases, ranked, seen, ours, rival, seed),
        "item_hits": {
            setting: segments.hits_by_events(
                each, answers, seen, ours, _best_baseline(tables[setting]), seed
            )
            for setting, (each, answers) in results.items()
        },
        "figures": {
            "recall20": retrieval["two_tower"]["recall@20"]["value"],
            "ndcg10": retrieval["two_tower"]["ndcg@10"]["value"],
            "ndcg10_two_stage": retrieval["two_stage"]["ndcg@10"]["value"],
            **{
                f"ndcg10_{name}": retrieval[name]["ndcg@10"]["value"]
                for name in ("transitions",)
                if name in retrieval
            },
            "ndcg10_best_baseline": retrieval[rival]["ndcg@10"]["value"],
        },
    }


def _candidates_told(setting: str) -> str:
    return {
        "new_to_user": "all items the user had not met before",
        "all": "all items, those the user knows included",
    }[setting]


def _retrieval(cases: Cases, ranked: RankedTargets, n_items: int, seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for k in CUTS:
        found |= metrics.intervals(metrics.at_k(ranked.ranks, k, cases.offsets), seed)
        found[f"coverage@{k}"] = beyond_accuracy.coverage(ranked.top[:, :k], n_items)
    return found


def _curve(name: str, cases: Cases, ranked: RankedTargets) -> list[float]:
    """Return the mean recall at each of `CURVE`, as far as the method's lists reach."""
    return [
        float(metrics.at_k(ranked.ranks, k, cases.offsets)[f"recall@{k}"].mean())
        for k in CURVE
        if name != SHIPPED or k <= max(CUTS)
    ]


def what_ships(ranked: Mapping[str, RankedTargets]) -> str:
    """Return the method whose answers users get: the bundle if it was scored, else both stages."""
    return SHIPPED if SHIPPED in ranked else "two_stage"


def _best_baseline(table: Mapping[str, Any]) -> str:
    """The baseline to beat: best by NDCG@10 of those in the table."""
    return max(
        (name for name in table if name in BASELINES), key=lambda n: table[n]["ndcg@10"]["value"]
    )


def newcomer_segment(
    rival: str, newcomers: Cases | None, fresh: Mapping[str, RankedTargets]
) -> dict[str, Any]:
    """Return the segment of users without history; empty if all have a history."""
    if newcomers is None:
        return {}
    return segments.by_history(newcomers, fresh, what_ships(fresh), rival)
