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
    made += [_users(found), _items(found)]
    made += [_item_hits(found, setting) for setting in found.get("item_hits", {})]
    made += [_values(unit, each) for unit, each in found.get("value_ndcg", {}).items()]
    made += [_baselines(found), _ranking(found), _value_heads(found), _importance(found)]
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


def _item_hits(found: Mapping[str, Any], setting: str) -> Table:
    groups = found["item_hits"][setting]
    rival = label(groups["0"]["best_baseline"])
    return table(
        f"item-hits-{setting}".replace("_", "-"),
        f"Hits in the first 20, {label(setting)}",
        "Held-out items of all cases and how many of them stand in the first 20, by the item's "
        f"number of training events ({found['protocol']['item_hits']}). The difference in hits has "
        "its paired 95% interval.",
        [
            Column(name="training events"),
            Column(name="cases"),
            Column(name="items"),
            Column(name="hits"),
            Column(name=f"{rival} hits"),
            Column(name="difference", signed=True, digits=0),
            Column(name="95% from", signed=True, digits=0),
            Column(name="95% to", signed=True, digits=0),
        ],
        [
            [
                kind,
                s["cases"],
                s["targets"],
                s["hits@20"],
                s["best_baseline_hits@20"],
                float(s["hits@20"] - s["best_baseline_hits@20"]),
                s["low"],
                s["high"],
            ]
            for kind, s in groups.items()
        ],
    )


def _values(unit: str, settings: Mapping[str, Any]) -> Table:
    cases = ", ".join(f"{label(s)} {m['cases']:,} cases" for s, m in settings.items())
    types = ", ".join(next(iter(settings.values()))["event_types"])
    columns = [Column(name="method")]
    for setting in settings:
        columns += [
            Column(name=f"{label(setting)} NDCG@20", better="high"),
            Column(name="95% from"),
            Column(name="95% to"),
        ]
    methods = list(dict.fromkeys(m for each in settings.values() for m in each["ndcg@20"]))
    values = []
    for method in methods:
        row: list[Any] = [label(method)]
        for each in settings.values():
            m = each["ndcg@20"].get(method, {})
            row += [m.get("value"), m.get("low"), m.get("high")]
        values.append(row)
    return table(
        f"value-{unit}".replace(" ", "-").lower(),
        f"NDCG@20 weighted by {unit}",
        f"The gain of a held-out item is the {unit} of its events ({types}); {cases} with a value.",
        columns,
        values,
        MODELS,
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
    figures = (("ROC-AUC", "roc_auc"), ("PR-AUC", "pr_auc"), ("log loss", "log_loss"), ("F1", "f1"))
    columns = [Column(name=each) for each in ("head", "lists", "candidates", "positive")]
    for name, _ in figures:
        columns += [Column(name=each) for each in (name, "95% from", "95% to")]
    columns += [Column(name="threshold"), Column(name="ECE")]
    values = []
    for head, m in found["ranking"].items():
        row = [head, m["lists"], m["cases"], m["positives"]]
        for _, key in figures:
            between = m["intervals"].get(key, {})
            row += [m[key], between.get("low"), between.get("high")]
        values.append([*row, m["threshold"], m["ece"]])
    told = found["protocol"]
    return table(
        "ranking",
        "Heads of the ranker",
        f"Candidates: {told['ranking']}. Ranker: {told['ranker']}. F1 is that of candidates with a "
        f"probability of the threshold or more; the threshold has {told['threshold']}. PR-AUC of a "
        "random order is the share of positive candidates. Intervals redraw whole lists.",
        columns,
        values,
    )


def _value_heads(found: Mapping[str, Any]) -> Table:
    figures = {
        "RMSE": "rmse",
        "bias": "bias",
        "Spearman": "spearman",
        "Spearman above 0": "spearman_positive",
    }
    columns = [Column(name="head"), Column(name="unit", words=True)]
    columns += [Column(name=each) for each in ("candidates", "above 0", "predicted", "observed")]
    for name in figures:
        columns += [Column(name=each) for each in (name, "95% from", "95% to")]
    values = []
    for head, m in found.get("value_heads", {}).items():
        row = [head, m["unit"] or m["kind"], m["cases"], m["positives"]]
        row += [m["mean_predicted"], m["mean_actual"]]
        for key in figures.values():
            row += [m[key]["value"], m[key]["low"], m[key]["high"]]
        values.append(row)
    return table(
        "value-heads",
        "Heads of values",
        "In the unit of the head; outcomes are capped as in training. Bias: mean predicted - mean "
        "observed. Spearman: rank correlation over all candidates, and over those with a value "
        "above 0. Intervals redraw whole lists.",
        columns,
        values,
    )


def _importance(found: Mapping[str, Any]) -> Table:
    return table(
        "importance",
        "What the ranker reads",
        f"{found['protocol']['importance']}.",
        [
            Column(name="feature"),
            Column(name="of", words=True),
            Column(name="NDCG@10 lost"),
            Column(name="95% from"),
            Column(name="95% to"),
            Column(name="ROC-AUC lost"),
            Column(name="log loss gained"),
        ],
        [
            [
                *feature_words(one["feature"]),
                one["ndcg10_loss"],
                one["low"],
                one["high"],
                one["auc_loss"],
                one["log_loss_gain"],
            ]
            for one in found["importance"]
        ],
    )


_INPUTS = {"context": "user", "numeric": "item", "pair": "user and item"}


def feature_words(name: str) -> tuple[str, str]:
    """Return the name of a feature as the page shows it, and what it is of.

    >>> feature_words("pair.times_had"), feature_words("item_vectors")
    (('times had', 'user and item'), ('item vectors', 'a group of columns'))
    """
    group, _, column = name.partition(".")
    return (label(column), _INPUTS.get(group, group)) if column else (label(group), GROUP)


GROUP = "a group of columns"
