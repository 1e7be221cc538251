"""Which pictures the page shows, with captions that say how to read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pocketrec_training.evaluation.report.plots import (
    Labels,
    Mark,
    Row,
    Series,
    line_plot,
    row_plot,
)
from pocketrec_training.evaluation.report.tables import label

MOST_FEATURES = 15
"""Bars of the picture of importance."""
SHIPS = ("two_stage", "shipped_bundle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A plot under its heading, with the sentence below it."""

    title: str
    caption: str
    drawn: Markup


def pictures(found: Mapping[str, Any], previous: Mapping[str, Any] | None = None) -> list[Picture]:
    """Return the pictures in reading order; those without data are left out."""
    made = [_methods(found["retrieval"], previous)]
    for setting, curves in found.get("recall_curves", {}).items():
        made.append(_recall(setting, curves, found["best_baseline"]))
    made += _learning(found)
    made += [_calibration(head, m) for head, m in found["ranking"].items() if m.get("reliability")]
    made += _importance(found)
    made += _exposure(found)
    return made + _segments(found)


def _style(method: str, rival: str = "") -> str:
    if method in SHIPS:
        return "model"
    if method == "two_tower":
        return "second"
    return "rival" if method == rival else "other"


def _methods(table: Mapping[str, Any], previous: Mapping[str, Any] | None) -> Picture:
    title = "Methods, with intervals"
    before = previous["retrieval"] if previous else {}
    rows = []
    for method, m in sorted(table.items(), key=lambda pair: -pair[1]["ndcg@10"]["value"]):
        marks = [Mark(**m["ndcg@10"], style="rival" if _is_baseline(method) else _style(method))]
        if method in before:
            marks.append(Mark(**before[method]["ndcg@10"], style="previous"))
        rows.append(Row(name=label(method), marks=marks))
    named = [("ships", "model"), ("towers alone", "second"), ("baseline", "rival")]
    first = max(table, key=lambda method: float(table[method]["ndcg@10"]["value"]))
    best = f"The best is {label(first)} with {table[first]['ndcg@10']['value']:.4f}."
    labels = Labels(name="methods", title=title, description=best, x="NDCG@10")
    return Picture(
        title=title,
        caption=f"{best} Lines are 95% bootstrap intervals: where two overlap widely, the "
        "difference may be chance.",
        drawn=row_plot(labels, rows, [*named, *([("previous", "previous")] if before else [])]),
    )


def _is_baseline(method: str) -> bool:
    return method not in (*SHIPS, "two_tower")


def _recall(setting: str, curves: Mapping[str, Any], rival: str) -> Picture:
    title = f"Recall at k, {label(setting)}"
    order = {"model": 0, "second": 1, "rival": 2, "other": 3}
    methods = sorted(curves["methods"], key=lambda method: order[_style(method, rival)])
    series = [
        Series(
            name=label(method),
            # The lists of a phone are shorter than the last k.
            points=list(zip(map(float, curves["k"]), curves["methods"][method], strict=False)),
            style=_style(method, rival),
        )
        for method in methods
    ]
    last = curves["k"][-1]
    top = ", ".join(f"{one.name} {one.points[-1][1]:.3f}" for one in series if one.style != "other")
    labels = Labels(
        name=f"recall-{setting}".replace("_", "-"),
        title=title,
        description=f"Recall@{last}: {top}.",
        x="k, length of the list",
        y="Recall@k",
    )
    return Picture(
        title=title,
        caption="Share of what a user took next that stands in the first k. "
        f"Recall@{last}: {top}. Thin lines: the other baselines.",
        drawn=line_plot(labels, series),
    )


def _learning(found: Mapping[str, Any]) -> list[Picture]:
    curve, stages = found["training"], found.get("stages", {})
    made = []
    if curve:
        values = [point["ndcg10"] for point in curve]
        best = 1 + max(range(len(values)), key=values.__getitem__)
        told = f"Best NDCG@10 {max(values):.4f} after epoch {best}, which is kept."
        made.append(
            _epochs("towers", "Two towers: validation by epoch", told, "NDCG@10", values, zero=True)
        )
        told = f"From {curve[0]['loss']:.3f} to {curve[-1]['loss']:.3f}."
        losses = [point["loss"] for point in curve]
        made.append(_epochs("loss", "Two towers: loss by epoch", told, "loss", losses, zero=False))
    if stages.get("ranker_losses"):
        losses, kept = stages["ranker_losses"], stages.get("ranker_epochs", "all")
        told = f"From {losses[0]:.4f} to {losses[-1]:.4f}; the ranker keeps {kept} epochs."
        made.append(_epochs("ranker", "Ranker: loss by epoch", told, "loss", losses, zero=False))
    return made


def _epochs(
    name: str, title: str, told: str, y: str, values: list[float], *, zero: bool
) -> Picture:
    labels = Labels(name=name, title=title, description=told, x="epoch", y=y)
    series = Series(name=y, points=[(i + 1.0, v) for i, v in enumerate(values)])
    return Picture(title=title, caption=told, drawn=line_plot(labels, [series], zero=zero))


def _calibration(head: str, m: Mapping[str, Any]) -> Picture:
    title = f"Calibration of head {head}"
    bins = [(b["predicted"], b["observed"]) for b in m["reliability"]]
    top = max(max(point) for point in bins)
    told = (
        f"Expected calibration error {m['ece']:.4f}; {m['positive_share']:.1%} of the candidates "
        f"are positive. Predictions reach {bins[-1][0]:.3f}."
    )
    labels = Labels(
        name=f"calibration-{_safe(head)}",
        title=title,
        description=told,
        x="predicted probability",
        y="observed share",
    )
    guide = Series(name="perfect", points=[(0.0, 0.0), (top, top)], style="guide")
    series = [Series(name=head, points=bins), guide]
    return Picture(
        title=title,
        caption=f"{told} Each point is a tenth of the candidates.",
        drawn=line_plot(labels, series, square=True),
    )


def _importance(found: Mapping[str, Any]) -> list[Picture]:
    """Draw the features with the largest losses; the table has all."""
    shown = found["importance"][:MOST_FEATURES]
    if not shown:
        return []
    title = "What the ranker reads"
    rows = [
        Row(
            name=label(one["feature"].rpartition(".")[2]),
            marks=[Mark(value=one["ndcg10_loss"], low=one["low"], high=one["high"])],
        )
        for one in shown
    ]
    first = shown[0]
    told = (
        f"The largest loss is that of {rows[0].name}: {first['ndcg10_loss']:.4f} of NDCG@10, 95% "
        f"interval {first['low']:.4f} to {first['high']:.4f}."
    )
    labels = Labels(name="importance-plot", title=title, description=told, x="loss of NDCG@10")
    left = len(found["importance"]) - len(shown)
    return [
        Picture(
            title=title,
            caption=f"{told} {found['protocol']['importance']}."
            + (f" {left} more are in the table below." if left else ""),
            drawn=row_plot(labels, rows, bars=True),
        )
    ]


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


_EXPOSURE = (
    (
        "exposure_gini@10",
        "Concentration of what is shown",
        "Gini: 0 = all alike, 1 = a few take all",
    ),
    ("coverage@10", "Coverage of the catalogue", "share of items in at least one list"),
    ("mean_popularity@10", "Popularity of what is shown", "mean training events of the items"),
)


def _exposure(found: Mapping[str, Any]) -> list[Picture]:
    setting, table = next(iter(found["beyond_accuracy"].items()))
    made = []
    for key, title, axis in _EXPOSURE:
        rows = [
            Row(
                name=label(method),
                marks=[
                    Mark(value=m[key], style="rival" if _is_baseline(method) else _style(method))
                ],
            )
            for method, m in sorted(table.items(), key=lambda pair: -pair[1][key])
        ]
        ours = next((method for method in SHIPS[::-1] if method in table), None)
        told = f"{label(ours)}: {table[ours][key]:.3g}. " if ours else ""
        labels = Labels(name=_safe(key), title=title, description=f"{told}{axis}.", x=axis)
        made.append(
            Picture(
                title=title,
                caption=f"{told}Lists of ten, setting {label(setting)}.",
                drawn=row_plot(labels, rows, bars=True),
            )
        )
    return made


def _segments(found: Mapping[str, Any]) -> list[Picture]:
    """Draw what ships beside the best baseline, by the user's and by the item's events."""
    made = []
    rival = found["best_baseline"]
    for key, gain, who, unit in (
        ("segments", "ndcg@10", "the user's", "users"),
        ("target_segments", "recall@20", "the item's", "cases"),
    ):
        name = gain.upper() if gain.startswith("ndcg") else gain.capitalize()
        rows = [
            Row(
                name=f"{segment} ({s[unit]:,})",
                marks=[
                    Mark(value=s[gain], style="model"),
                    Mark(value=s[f"best_baseline_{gain}"], style="rival"),
                ],
            )
            for segment, s in found[key].items()
        ]
        if not rows:
            continue
        title = f"{name} by {who} number of events"
        told = f"What ships beside the best baseline, {label(rival)}; in brackets: {unit}."
        labels = Labels(name=key.replace("_", "-"), title=title, description=told, x=name)
        drawn = row_plot(labels, rows, [("ships", "model"), (label(rival), "rival")])
        made.append(Picture(title=title, caption=told, drawn=drawn))
    return made
