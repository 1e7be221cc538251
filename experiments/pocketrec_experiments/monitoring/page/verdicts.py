"""The verdicts of the field report: drift, slates without a model, calibration.

The limits are those of the alerts that `pocketrec monitoring` writes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pocketrec_experiments.monitoring.drift import LARGE, MISSING, MODERATE
from pocketrec_experiments.monitoring.report import MonitorReport
from pocketrec_experiments.monitoring.words import share, title_of

FALLBACK_SHARE = 0.05
CALIBRATION_ERROR = 0.1
UNKNOWN_SHARE = 0.1
FEWEST_SLATES = 100
"""Minimum slates of a release before its fallbacks are a verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One verdict: tone "good", "unsure" or "bad", a few words, a sentence with the figures."""

    tone: str
    word: str
    sentence: str


def verdicts(report: MonitorReport) -> list[Verdict]:
    """Return the verdicts: drift first, then the others, the worst first."""
    order = ("bad", "unsure", "good")
    others = [*_unknown_items(report), *_fallbacks(report), *_calibration(report)]
    return [_drift(report), *sorted(others, key=lambda each: order.index(each.tone))]


def verdict(report: MonitorReport) -> str:
    """Return the first verdict's sentence: which distributions have changed."""
    return _drift(report).sentence


def _drift(report: MonitorReport) -> Verdict:
    changed = [each for each in report.drifts if each.state in (MODERATE, LARGE)]
    if not report.drifts:
        sentence = "Drift is unknown: the release has no reference distributions."
        return Verdict(tone="unsure", word="Drift unknown", sentence=sentence)
    if all(each.state == MISSING for each in report.drifts):
        sentence = "Drift is unknown: each distribution has too few values, see the notes."
        return Verdict(tone="unsure", word="Drift unknown", sentence=sentence)
    if not changed:
        sentence = "No distribution has drifted from the training data."
        return Verdict(tone="good", word="No drift", sentence=sentence)
    named = ", ".join(f"{each.what} ({each.state}, PSI {each.psi:.2f})" for each in changed)
    is_large = any(each.state == LARGE for each in changed)
    return Verdict(
        tone="bad" if is_large else "unsure",
        word="Large drift" if is_large else "Moderate drift",
        sentence=f"Drifted from the training data: {named}.",
    )


def _unknown_items(report: MonitorReport) -> Iterator[Verdict]:
    unknown = report.unknown_items_share
    if unknown is not None and unknown > UNKNOWN_SHARE:
        sentence = f"{share(unknown)} of the interactions are with items that the bundle lacks."
        yield Verdict(tone="bad", word="Unknown items", sentence=sentence)


def _fallbacks(report: MonitorReport) -> Iterator[Verdict]:
    enough = [each for each in report.releases if each.slates >= FEWEST_SLATES]
    if not enough:
        return
    bad = [each for each in enough if (each.fallback_share or 0.0) > FALLBACK_SHARE]
    shown = bad or [max(enough, key=lambda each: each.fallback_share or 0.0)]
    named = ", ".join(f"{title_of(each)} {share(each.fallback_share)}" for each in shown)
    limit = f"{FALLBACK_SHARE:.0%}"
    if bad:
        sentence = f"Slates without a model: {named}. The limit is {limit}."
        yield Verdict(tone="bad", word="Fallbacks", sentence=sentence)
    else:
        sentence = f"Slates without a model: at most {named}. The limit is {limit}."
        yield Verdict(tone="good", word="Few fallbacks", sentence=sentence)


def _calibration(report: MonitorReport) -> Iterator[Verdict]:
    found = report.calibration
    if found is None or found.error is None:
        return
    above = found.error - found.by_chance()
    limit = f"The limit is {CALIBRATION_ERROR:g} more than chance."
    sentence = f"Scores and click shares differ by {found.error:.3f} on average. {limit}"
    if above > CALIBRATION_ERROR:
        yield Verdict(tone="bad", word="Miscalibrated", sentence=sentence)
    else:
        yield Verdict(tone="good", word="Calibrated", sentence=sentence)
