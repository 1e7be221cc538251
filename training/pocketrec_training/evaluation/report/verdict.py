"""The first lines of the page: is the run good, what ended its training, does the ranker help."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pocketrec_training.data.splits.check import no_times_told
from pocketrec_training.evaluation.report.tables import label

Kind = Literal["good", "unsure", "bad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One line. kind: colours it, and `word` says the same to those who see no colour."""

    kind: Kind
    word: str
    text: str


def verdicts(found: Mapping[str, Any]) -> list[Verdict]:
    """Return the lines, the comparison with the best baseline first."""
    lines = [_against_baseline(found["baseline_gain"])]
    if told := no_times_told(found["protocol"]["split_kind"]):
        lines.append(Verdict(kind="unsure", word="No times", text=told[0].upper() + told[1:]))
    stages = found.get("stages", {})
    if "retrieval_stopped_by" in stages:
        lines.append(_training(stages))
    if "ranker_gain" in stages:
        lines.append(_ranker(stages["ranker_gain"]))
    if "previous_gain" in found:
        lines.append(_previous(found["previous_gain"]))
    if "shipped_gain" in found:
        lines.append(_shipped(found["shipped_gain"]))
    return lines


def compared(old: float, new: float, low: float, high: float) -> str:
    """Return both means, the difference in percent and its interval, in words."""
    share = f" ({(new - old) / old:+.1%})" if old > 0 else ""
    return (
        f"NDCG@10 {new:.4f} against {old:.4f}, difference {new - old:+.4f}{share}, 95% interval "
        f"{low:+.4f} to {high:+.4f}"
    )


def _against_baseline(gain: Mapping[str, Any]) -> Verdict:
    told = compared(gain["rival_ndcg10"], gain["model_ndcg10"], gain["low"], gain["high"])
    rival = f"the best simple baseline, {label(gain['rival'])}"
    users = f"{gain['cases']:,} {gain['split']} users, setting {label(gain['setting'])}"
    if gain["low"] > 0:
        return Verdict(
            kind="good",
            word="Better",
            text=f"The run beats {rival}, beyond chance: {told}, over {users}.",
        )
    if gain["high"] < 0:
        return Verdict(
            kind="bad",
            word="Worse",
            text=f"The run loses to {rival}, beyond chance: {told}, over {users}.",
        )
    return Verdict(
        kind="unsure",
        word="Not decided",
        text=f"The run and {rival}, may be equally good: {told}, which includes 0, over {users}.",
    )


_STOPPED = {
    "epochs": "completed its planned epochs ({planned})",
    "patience": "stopped after {ran} of {planned} epochs, when validation no longer rose",
    "minutes": "was cut short after {ran} of {planned} epochs by its limit of minutes",
}


def _training(stages: Mapping[str, Any]) -> Verdict:
    towers, ranker = stages["retrieval_stopped_by"], stages["ranker_stopped_by"]
    told = _STOPPED[towers].format(ran=stages["epochs"], planned=stages["epochs_planned"])
    ran = len(stages["ranker_losses"])
    second = _STOPPED[ranker].format(ran=ran, planned=stages["ranker_epochs_planned"])
    cut = "minutes" in (towers, ranker)
    return Verdict(
        kind="unsure" if cut else "good",
        word="Cut short" if cut else "Complete",
        text=f"Training of the two towers {told}; that of the ranker {second}.",
    )


_RANKER: dict[str, tuple[Kind, str, str]] = {
    "helps": ("good", "Helps", "The ranker helps"),
    "no clear gain": ("unsure", "Not decided", "The ranker may or may not help"),
    "not decided": ("unsure", "Too few users", "Too few users to decide whether the ranker helps"),
    "hurts": ("bad", "Hurts", "The ranker hurts, so the release keeps {start}'s order"),
    "learned nothing": (
        "bad",
        "No ranker",
        "The ranker learned nothing, so the release keeps {start}'s order",
    ),
}


def _ranker(gain: Mapping[str, Any]) -> Verdict:
    kind, word, text = _RANKER[gain["verdict"]]
    # The interval is of the difference to what the ranker started from.
    blend = gain.get("blend")
    start, before = ("retrieval", gain["retrieval"]) if blend is None else ("the blend", blend)
    told = compared(before, gain["ranker"], gain["low"], gain["high"])
    users = f"{gain['users']:,} validation users it did not learn from"
    kept = gain["verdict"] == "not decided" and blend is not None and gain["ranker"] < blend
    end = f"; the release keeps {start}'s order" if kept else ""
    return Verdict(
        kind=kind, word=word, text=f"{text.format(start=start)}: {told}, over {users}{end}."
    )


def _previous(gain: Mapping[str, Any]) -> Verdict:
    before = f"the previous run, {gain['name']}"
    if not gain["same_cases"]:
        old = "not measured" if gain["a"] is None else f"{gain['a']:.4f}"
        return Verdict(
            kind="unsure",
            word="Other cases",
            text=f"NDCG@10 {gain['b']:.4f}; that of {before}, was {old}. The two were measured on "
            "other cases, so the difference may come from these.",
        )
    told = compared(gain["a"], gain["b"], gain["low"], gain["high"])
    if gain["low"] <= 0 <= gain["high"]:
        text = f"This run and {before}, may be equally good: {told}, which includes 0."
        return Verdict(kind="unsure", word="No clear change", text=text)
    better = gain["low"] > 0
    return Verdict(
        kind="good" if better else "bad",
        word="Improved" if better else "Worse than before",
        text=f"This run {'beats' if better else 'loses to'} {before}, beyond chance: {told}.",
    )


def _shipped(gain: Mapping[str, Any]) -> Verdict:
    told = compared(gain["a"], gain["b"], gain["low"], gain["high"])
    worse = gain["high"] < 0
    return Verdict(
        kind="bad" if worse else "good",
        word="Below" if worse else "As good",
        text=f"The bundle on a phone's code, against the same method in Keras: {told}.",
    )
