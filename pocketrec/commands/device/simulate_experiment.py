"""`pocketrec device simulate --experiment`: the truth of an experiment beside its report."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketrec_bundle.errors import InputError

if TYPE_CHECKING:
    from pocketrec_bundle.settings.experiment import Experiment
    from pocketrec_bundle.settings.experiment_arms import FlagValue
    from pocketrec_edge.simulator.arm_truth import ArmTruth
    from pocketrec_edge.simulator.session_result import SessionResult
    from pocketrec_experiments.analysis import ExperimentReport

METRIC = "ctr"
"""Metric that decides: the user model knows its truth."""
OPENS_PER_DAY = 2.0
SYNC_EVERY_MIN = 24 * 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmLine:
    """Truth and estimate of one arm.

    Attributes:
        arm: name.
        devices: phones that saw a slate of the arm.
        left: of these phones, those that left the arm before the end, as after a halt.
        halted: why the arm is halted; None: it is not.
        shown: impressions.
        clicks: of these impressions.
        true_ctr: mean click probability of the impressions by the user model.
        stated_lift: of the command line.
        true_lift: relative change of `true_ctr` against control; None: control, or unknown.
        lift: the report's estimate of the same; None: control, or the report has none.
        low: lower end of the report's interval.
        high: upper end.
        is_covered: whether the interval includes `true_lift`; None without one of them.
    """

    arm: str
    devices: int
    left: int
    halted: str | None
    shown: int
    clicks: int
    true_ctr: float | None
    stated_lift: float
    true_lift: float | None
    lift: float | None
    low: float | None
    high: float | None
    is_covered: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentResult:
    """What an experiment on simulated phones found.

    Attributes:
        experiment: id.
        metric: that decides.
        days: with data, of the report.
        arms: control first.
        better: arm with the highest true click-through rate.
        named: arm that the report calls better than control; None: none yet.
        verdict: kind of the report's verdict.
        words: the verdict in words.
        notes: of the report.
        looks: at guardrails, as `pocketrec experiment status --json` has them, of all days.
    """

    experiment: str
    metric: str
    days: int
    arms: list[ArmLine]
    better: str | None
    named: str | None
    verdict: str
    words: str
    notes: list[str]
    looks: list[dict[str, Any]]


def find_experiment(repo: Path, channel: str, name: str) -> "Experiment":
    """Return the experiment to simulate.

    Raises:
        InputError: it is not there, is not running, or mixes its arms in each slate.
        RepositoryInvalidError: the repository is missing or damaged.
    """
    from pocketrec_bundle.settings.experiment import RUNNING
    from pocketrec_server.experiments.changes import find
    from pocketrec_server.experiments.signing import read_experiments

    found = find(read_experiments(repo, channel), name)
    if found.state != RUNNING:
        raise InputError(f"{name}: is {found.state}; simulated phones need a running experiment.")
    if found.interleave:
        raise InputError(
            f"{name}: mixes both arms in each slate, so no phone has an arm whose truth is known."
        )
    return found


def check_server(server: str, repo: Path) -> None:
    """Check that a server answers, and serves the repository.

    Raises:
        InputError: it does not.
    """
    import urllib3

    from pocketrec_edge.sync.http import Network

    root = repo / "metadata" / "1.root.json"
    try:
        reply = Network().exchange("GET", f"{server}/metadata/{root.name}", {})
    except urllib3.exceptions.HTTPError as err:
        raise InputError(
            f"{server}: does not answer ({err}). Start it: `pocketrec serve --repo {repo}`."
        ) from err
    if reply.status != 200 or reply.data != root.read_bytes():
        raise InputError(
            f"{server}: does not serve {repo} (its {root.name} differs, status {reply.status}). "
            "Give the repository that it serves as --repo."
        )


def check_entered(results: "Sequence[SessionResult]", experiment: "Experiment") -> None:
    """Check that a phone entered the experiment.

    Raises:
        InputError: none did.
    """
    if any(result.arm is not None for result in results):
        return
    faults = sorted({fault for result in results for fault in result.faults})
    raise InputError(
        f"{experiment.id}: none of {len(results):,} phones entered it; {experiment.percent:g}% are "
        "enrolled at its start. Check its `percent` and `eligible`, and whether its arms are "
        "halted: `pocketrec experiment status`."
        + (f" A fault of a phone: {faults[0]}" if faults else "")
    )


def read_lifts(texts: Iterable[str], experiment: "Experiment") -> dict[str, float]:
    """Return the relative change of the click probability by arm, from texts such as "b=0.2".

    Raises:
        InputError: a text has another form, or names no arm.
    """
    lifts = {}
    for text in texts:
        arm, _, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not -1 <= value <= 100:
            raise InputError(f"--lift {text}: expected ARM=LIFT, a lift of -1 to 100, as b=0.2.")
        if experiment.arm(arm) is None:
            names = ", ".join(each.name for each in experiment.arms)
            raise InputError(f"--lift {text}: {experiment.id} has no arm {arm!r}; it has {names}.")
        lifts[arm] = value
    return lifts


def flag_defaults(experiment: "Experiment") -> "dict[str, FlagValue]":
    """Return the flags of the arms with defaults of the app: control's, or false, 0 or ""."""
    defaults: dict[str, FlagValue] = {}
    for arm in experiment.arms:
        for name, value in arm.flags.items():
            defaults.setdefault(name, value if arm is experiment.control else type(value)())
    return defaults


def measure(repo: Path, channel: str, experiment: "Experiment", folder: Path) -> "ExperimentReport":
    """Export the events of the server and analyse the experiment.

    Args:
        repo: the repository that the server serves; its database has the events.
        channel: of the experiment.
        experiment: to analyse.
        folder: for the exported events.

    Raises:
        EventsInvalidError: no phone was exposed.
        RepositoryInvalidError: the repository is missing or damaged.
    """
    from pocketrec.commands.server.database_options import opened
    from pocketrec_experiments.analysis import Design, Settings, experiment_report
    from pocketrec_server.events.export import export_events
    from pocketrec_server.experiments.halted_arms import read_halted_arms
    from pocketrec_server.experiments.signing import read_experiments

    with opened(repo, "") as engine:
        export_events(engine, folder)
    halts = read_halted_arms(repo, channel)
    design = Design.of(read_experiments(repo, channel), experiment.id, halts=halts)
    return experiment_report(design=design, events=folder, settings=Settings(metric=METRIC))


def compare(
    results: "Sequence[SessionResult]",
    experiment: "Experiment",
    lifts: dict[str, float],
    report: "ExperimentReport",
    looks: list[dict[str, Any]],
) -> ExperimentResult:
    """Put the truth beside the report.

    Args:
        results: of all phones.
        experiment: that they were in.
        lifts: relative change of the click probability by arm.
        report: of the experiment.
        looks: at its guardrails.
    """
    from pocketrec_edge.simulator.arm_truth import arm_truths
    from pocketrec_experiments.analysis.verdict import BETTER

    truths = arm_truths(results, [arm.name for arm in experiment.arms])
    known = [truth for truth in truths if truth.ctr is not None]
    better = max(known, key=lambda truth: truth.ctr or 0.0).arm if known else None
    return ExperimentResult(
        experiment=report.design.id,
        metric=METRIC,
        days=report.days,
        arms=[_line(truth, truths[0], lifts.get(truth.arm, 0.0), report) for truth in truths],
        better=better,
        named=report.verdict.arm if report.verdict.kind == BETTER else None,
        verdict=report.verdict.kind,
        words=f"{report.verdict.word}. {report.verdict.sentence}",
        notes=report.notes,
        looks=looks,
    )


def _line(
    truth: "ArmTruth", control: "ArmTruth", stated: float, report: "ExperimentReport"
) -> ArmLine:
    from pocketrec_edge.simulator.arm_truth import lift

    true_lift = None if truth.arm == control.arm else lift(truth, control)
    made = next((each.looks for each in report.comparisons if each.arm == truth.arm), [])
    value = low = high = None
    if made and math.isfinite(made[-1].effect.relative_low):
        found = made[-1].effect
        value, low, high = found.relative, found.relative_low, found.relative_high
    is_covered = None
    if true_lift is not None and low is not None and high is not None:
        is_covered = low <= true_lift <= high
    return ArmLine(
        arm=truth.arm,
        devices=truth.devices,
        left=truth.left,
        halted=report.design.halted.get(truth.arm),
        shown=truth.shown,
        clicks=truth.clicks,
        true_ctr=truth.ctr,
        stated_lift=stated,
        true_lift=true_lift,
        lift=value,
        low=low,
        high=high,
        is_covered=is_covered,
    )


def show(result: ExperimentResult) -> None:
    """Print the truth and the report, an arm a line."""
    click.echo(f"{result.experiment}: click-through rate after {result.days} days")
    for line in result.arms:
        click.echo(f"  {line.arm}: {_facts(line)}")
    for look in result.looks:
        click.echo(f"guardrail: {look['text']}{'; halted' if look['broken'] else ''}")
    click.echo(f"report: {result.words}")
    for note in result.notes:
        click.echo(f"note: {note}")


def _facts(line: ArmLine) -> str:
    facts = [f"{line.devices:,} devices, {line.shown:,} impressions, {line.clicks:,} clicks"]
    if line.left:
        facts.append(f"{line.left:,} devices left the arm")
    if line.true_ctr is not None:
        facts.append(f"truth {line.true_ctr:.2%}")
    if line.true_lift is not None:
        facts.append(f"true change {line.true_lift:+.1%}")
    if line.lift is not None:
        facts.append(f"report {line.lift:+.1%} ({line.low:+.1%} to {line.high:+.1%})")
    return "; ".join(facts)
