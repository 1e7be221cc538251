"""The first line of the report: which arm is better, in words, or why there is no verdict yet."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis.arms import ArmFigures
from pocketrec_experiments.analysis.compare.looks import GuardLook, Look, first_crossing
from pocketrec_experiments.analysis.design import Design
from pocketrec_experiments.statistics import SampleRatio
from pocketrec_experiments.statistics.metrics import METRICS, Metric

BETTER, WORSE, BROKEN = "better", "worse", "guardrail"
RUNNING, NO_DIFFERENCE, ENDED, HALTED = "running", "no difference", "ended", "halted"
MISMATCH, TOO_FEW = "mismatch", "too few users"
LOOKS = " The interval holds although you look every day."


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to do about a treatment, or about the whole experiment.

    Attributes:
        kind: one of the constants of this module, for programs.
        word: a few words, for people.
        sentence: the reason with its figures.
        arm: the treatment; None: all of the experiment.
    """

    kind: str
    word: str
    sentence: str
    arm: str | None = None

    @property
    def tone(self) -> str:
        """Return "good", "unsure" or "bad", for colours."""
        if self.kind == BETTER:
            return "good"
        return "bad" if self.kind in (WORSE, BROKEN, HALTED, MISMATCH) else "unsure"


def no_verdict(ratio: SampleRatio, arms: Sequence[ArmFigures], least: int) -> Verdict | None:
    """Return why no arm can be judged; None if they can."""
    numbers = ", ".join(f"{arm.name} {arm.exposed:,}" for arm in arms)
    if empty := [arm.name for arm in arms if not arm.exposed]:
        return Verdict(
            kind=TOO_FEW,
            word="No verdict",
            sentence=f"Arm {', '.join(empty)} has no users ({numbers}). Check that its release"
            " or flag reaches devices, and that they upload events.",
        )
    if ratio.is_off:
        wanted = ", ".join(f"{each:,.0f}" for each in ratio.expected)
        return Verdict(
            kind=MISMATCH,
            word="No verdict",
            sentence=f"The users do not fit the shares: {numbers}; expected {wanted} (p ="
            f" {ratio.p:.2g}). An arm loses users, for example by crashes before the first upload."
            " Find the reason first; the figures below compare different people.",
        )
    if few := [f"{arm.name} {arm.users:,}" for arm in arms if arm.users < least]:
        return Verdict(
            kind=TOO_FEW,
            word="No verdict yet",
            sentence=f"Fewer than {least} users in an arm: {', '.join(few)}.",
        )
    return None


def judged(
    arm: str,
    metric: Metric,
    made: Sequence[Look],
    guards: dict[str, list[GuardLook]],
    *,
    planned_days: int,
    is_over: bool,
) -> Verdict:
    """Judge one treatment by its guardrails, then by the deciding metric."""
    for seen in guards.values():
        broken = next((look for look in seen if look.is_crossed), None)
        if broken is not None:
            watched = METRICS[broken.metric]
            return Verdict(
                kind=BROKEN,
                word=f"Stop {arm}",
                sentence=f"{watched.title} is beyond its limit since day {broken.day}:"
                f" {shown(watched, broken.margin.treatment)} against"
                f" {shown(watched, broken.margin.control)} in control; tolerated:"
                f" {shown(watched, broken.margin.limit)}.",
                arm=arm,
            )
    if not made:
        return Verdict(
            kind=TOO_FEW,
            word="No verdict yet",
            sentence=f"{metric.title} has no events in one of the arms.",
            arm=arm,
        )
    last, crossing = made[-1], first_crossing(made)
    if crossing is not None:
        rose = crossing.effect.difference > 0
        good = rose == (metric.is_higher_better is not False)
        words = f"{arm} is {'better' if good else 'worse'} than control"
        later = "" if crossing is last else f" The bound was first crossed on day {crossing.day}."
        agrees = (last.effect.difference > 0) == rose
        described = last if agrees else crossing
        if not agrees:
            later += f" The latest look disagrees: on day {last.day} it {_change(metric, last)}."
        return Verdict(
            kind=BETTER if good else WORSE,
            word=words,
            sentence=f"{metric.title} {_change(metric, described)}.{later}",
            arm=arm,
        )
    if is_over:
        return Verdict(
            kind=NO_DIFFERENCE,
            word=f"No clear difference between {arm} and control",
            sentence=f"{metric.title} {_change(metric, last)} after all {planned_days} days.",
            arm=arm,
        )
    return Verdict(
        kind=RUNNING,
        word="Keep running",
        sentence=f"{arm}: {metric.title.lower()} {_change(metric, last)} after day {last.day} of"
        f" {planned_days}.{LOOKS}",
        arm=arm,
    )


def with_state(verdict: Verdict, design: Design) -> Verdict:
    """Add to a verdict that arms are halted, and that the experiment was stopped or shipped."""
    verdict = _with_halts(verdict, design)
    if design.is_open:
        return verdict
    end = "The experiment ended"
    if design.ended_utc is not None:
        end += f" on day {(design.ended_utc - 1 - design.from_utc) // DAY_S + 1}"
    end += f": {design.state}{f' {design.winner}' if design.winner else ''}."
    if design.ended_utc is None:
        end += " Days after the end may mix arms; give the end with --until."
    if verdict.kind != RUNNING:
        return replace(verdict, sentence=f"{verdict.sentence} {end}")
    sentence = verdict.sentence.removesuffix(LOOKS)
    return replace(
        verdict, kind=ENDED, word="Ended without a verdict", sentence=f"{sentence} {end}"
    )


def _with_halts(verdict: Verdict, design: Design) -> Verdict:
    halted = {
        arm: why for arm, why in design.halted.items() if verdict.arm is None or arm == verdict.arm
    }
    for arm, why in halted.items():
        sentence = f"{verdict.sentence.removesuffix(LOOKS)} Arm {arm} is halted: {why}."
        verdict = replace(verdict, sentence=sentence)
        if verdict.kind in (RUNNING, NO_DIFFERENCE):
            verdict = replace(verdict, kind=HALTED, word=f"{arm} is halted")
    return verdict


def shown(metric: Metric, value: float) -> str:
    """Write a value of a metric for people."""
    if metric.form == "share":
        return f"{value:.2%}"
    if metric.form == "seconds":
        return f"{value:,.0f} s"
    return f"{value:,.1f} ms" if metric.form == "ms" else f"{value:,.3g}"


def _change(metric: Metric, look: Look) -> str:
    e = look.effect
    way = "is up" if e.difference > 0 else "is down"
    interval = f"interval {e.relative_low:+.1%} to {e.relative_high:+.1%}"
    if not abs(e.relative_high) < 10:
        interval = f"interval {shown(metric, e.low)} to {shown(metric, e.high)}"
    return (
        f"{way} {abs(e.relative):.1%} ({shown(metric, e.control)} to"
        f" {shown(metric, e.treatment)}; {interval})"
    )
