"""The model card's sections of quality: heads of the ranker, hits by training events."""

from collections.abc import Mapping

from pocketrec_training.evaluation.quality import Quality
from pocketrec_training.metrics.segments import FEW_EVENTS


def sections(quality: Quality | None) -> str:
    """Return the sections as Markdown; empty for a run that was not evaluated."""
    if quality is None:
        return ""
    hits = (_hits(quality, setting) for setting in quality.item_hits)
    return "".join((_heads(quality), _value_heads(quality), *hits))


def _heads(quality: Quality) -> str:
    if not quality.heads:
        return ""
    rows = "\n".join(
        f"| {head} | {m['lists']} | {m['cases']} | {m['positives']} "
        + "".join(f"| {_measured(m, key)} " for key in ("roc_auc", "pr_auc", "log_loss", "f1"))
        + f"| {_number(m['threshold'])} | {_number(m['ece'])} |"
        for head, m in quality.heads.items()
    )
    return f"""## Heads of the ranker
Of the evaluation fit, on lists that retrieval returned for {quality.split} cases. Ranker: \
{quality.ranker}. The threshold of F1 has {quality.threshold}. In brackets: 95% intervals.

| head | lists | candidates | positive | ROC-AUC | PR-AUC | log loss | F1 | threshold | ECE |
|---|---|---|---|---|---|---|---|---|---|
{rows}

"""


def _value_heads(quality: Quality) -> str:
    if not quality.value_heads:
        return ""
    rows = "\n".join(
        f"| {head} | {m['unit'] or m['kind']} | {m['cases']} | {m['positives']} "
        f"| {m['mean_predicted']:.4f} | {m['mean_actual']:.4f} "
        + "".join(f"| {_between(m[key])} " for key in ("rmse", "spearman", "spearman_positive"))
        + "|"
        for head, m in quality.value_heads.items()
    )
    return f"""## Heads of values
Of the evaluation fit, on the same lists. Values and RMSE are in the unit; outcomes are capped as \
in training. In brackets: 95% intervals.

| head | unit | candidates | above 0 | predicted | observed | RMSE | Spearman | Spearman above 0 |
|---|---|---|---|---|---|---|---|---|
{rows}

"""


def _between(estimate: Mapping[str, float | None]) -> str:
    value, low, high = (_number(estimate[key]) for key in ("value", "low", "high"))
    return value if estimate["value"] is None else f"{value} ({low} to {high})"


def _hits(quality: Quality, setting: str) -> str:
    groups = quality.item_hits[setting]
    rows = "\n".join(
        f"| {events} | {m['cases']} | {m['targets']} | {m['hits@20']} "
        f"| {m['best_baseline_hits@20']} |"
        for events, m in ((name, groups[name]) for name in FEW_EVENTS if name in groups)
    )
    return f"""## Hits in the first 20 by the item's training events, {setting.replace("_", " ")}
Held-out items of {quality.split} cases, of the evaluation fit.

| training events | cases | items | hits | hits of {groups["0"]["best_baseline"]} |
|---|---|---|---|---|
{rows}

"""


def _measured(head: dict[str, object], key: str) -> str:
    between = head["intervals"]
    assert isinstance(between, dict)
    if key not in between:
        return _number(head[key])
    ends = f"{_number(between[key]['low'])} to {_number(between[key]['high'])}"
    return f"{_number(head[key])} ({ends})"


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-"
