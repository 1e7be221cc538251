"""Which tables the page shows, from what `evaluation.json` holds."""

from collections.abc import Mapping
from typing import Any

from pocketrec_training.evaluation.report.tables import (
    MODELS,
    Column,
    Table,
    label,
    retrieval_table,
    table,
)


def tables(found: Mapping[str, Any], previous: Mapping[str, Any] | None = None) -> list[Table]:
    """Return the tables in reading order; those without rows are left out."""
    before = previous or {}
    made = [
        retrieval_table(
            "retrieval",
            "Retrieval, full ranking",
            f"{found['protocol']['cases']:,} cases; candidates: {found['protocol']['candidates']}.",
            found["retrieval"],
            before.get("retrieval", {}),
        )
    ]
    if "retrieval_all" in found:
        every = found["protocol"]["settings"]["all"]
        note = f"{every['cases']:,} cases; candidates: {every['candidates']}."
        made.append(
            retrieval_table(
                "retrieval-all",
                "Repeats included",
                note,
                found["retrieval_all"],
                before.get("retrieval_all", {}),
            )
        )
    made += [_beyond(setting, each) for setting, each in found["beyond_accuracy"].items()]
    made += [_users(found), _items(found), _baselines(found), _ranking(found), _importance(found)]
    return [each for each in made if each.rows]


def _beyond(setting: str, methods: Mapping[str, Any]) -> Table:
    keys = {
        "coverage@10": Column(name="coverage", better="high", digits=3),
        "novelty_bits@10": Column(name="novelty, bits", better="high", digits=2),
        "diversity@10": Column(name="diversity", better="high", digits=3),
        "category_diversity@10": Column(name="diversity by category", better="high", digits=3),
        "mean_popularity@10": Column(name="popularity", digits=1),
        "exposure_gini@10": Column(name="Gini", better="low", digits=3),
    }
    return table(
        f"beyond-{setting}".replace("_", "-"),
        f"Beyond accuracy, {label(setting)}",
        "Lists of ten. Popularity: mean training events of what is shown; diversity: 1 - mean "
        "cosine within a list; Gini of exposure: 0 = all items alike.",
        [Column(name="method"), *keys.values()],
        [[label(method), *(m.get(key) for key in keys)] for method, m in methods.items()],
        MODELS,
    )


def _users(found: Mapping[str, Any]) -> Table:
    rival = label(found["best_baseline"])
    return table(
        "segments-users",
        "By the user's number of events",
        "What ships, beside the best baseline; the difference with its paired 95% interval.",
        [
            Column(name="events"),
            Column(name="users"),
            Column(name="NDCG@10"),
            Column(name=f"{rival} NDCG@10"),
            Column(name="difference", signed=True),
            Column(name="95% from", signed=True),
            Column(name="95% to", signed=True),
            Column(name="Recall@20"),
            Column(name=f"{rival} Recall@20"),
        ],
        [
            [
                segment,
                s["users"],
                s["ndcg@10"],
                s["best_baseline_ndcg@10"],
                s["ndcg@10"] - s["best_baseline_ndcg@10"],
                s.get("low"),
                s.get("high"),
                s["recall@20"],
                s["best_baseline_recall@20"],
            ]
            for segment, s in found["segments"].items()
        ],
    )


def _items(found: Mapping[str, Any]) -> Table:
    rival = label(found["best_baseline"])
    return table(
        "segments-items",
        "By the item's number of training events",
        "Recall@20 of held-out items of each kind: hits / items of that kind, mean over users.",
        [
            Column(name="training events"),
            Column(name="users"),
            Column(name="items"),
            Column(name="Recall@20"),
            Column(name=f"{rival} Recall@20"),
            Column(name="difference", signed=True),
            Column(name="95% from", signed=True),
            Column(name="95% to", signed=True),
        ],
        [
            [
                kind,
                s["cases"],
                s["targets"],
                s["recall@20"],
                s["best_baseline_recall@20"],
                s["recall@20"] - s["best_baseline_recall@20"],
                s.get("low"),
                s.get("high"),
            ]
            for kind, s in found["target_segments"].items()
        ],
    )


def _baselines(found: Mapping[str, Any]) -> Table:
    told = found["baselines"]
    left_out = "".join(f" {each}." for each in told["left_out"])
    return table(
        "baselines",
        "Baselines",
        f"Parameters chosen by {told['tuned_on']}, fitted on the training period; for the test "
        "each method is then fitted on training and validation period. At the edge: values beyond "
        f"those tried might be better.{left_out}",
        [
            Column(name=each, words=True)
            for each in ("method", "setting", "fitted on", "parameters", "at the edge")
        ],
        [
            [
                label(b["method"]),
                label(b["setting"]),
                b["fitted_on"],
                ", ".join(f"{k} {v:g}" for k, v in b["parameters"].items()) or "as published",
                ", ".join(b["at_edge"]) or None,
            ]
            for b in told["chosen"]
        ],
    )


def _ranking(found: Mapping[str, Any]) -> Table:
    keys = ("roc_auc", "pr_auc", "f1", "log_loss", "ece", "cases")
    return table(
        "ranking",
        "Ranking",
        f"{found['protocol']['ranking']}.",
        [
            Column(name=each)
            for each in ("head", "ROC-AUC", "PR-AUC", "F1", "log loss", "ECE", "candidates")
        ],
        [[head, *(m[key] for key in keys)] for head, m in found["ranking"].items()],
    )


def _importance(found: Mapping[str, Any]) -> Table:
    return table(
        "importance",
        "What the ranker reads",
        "Loss when a feature is shuffled, on validation lists; features that say the same share "
        "it.",
        [Column(name="feature"), Column(name="ROC-AUC lost"), Column(name="NDCG@10 lost")],
        [[one["feature"], one["auc_loss"], one["ndcg10_loss"]] for one in found["importance"]],
    )
