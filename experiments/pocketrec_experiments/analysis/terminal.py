"""The report in a terminal: verdict, table of metrics, notes."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pocketrec_experiments.analysis.report import Comparison, ExperimentReport
from pocketrec_experiments.analysis.verdict import shown
from pocketrec_experiments.statistics.metrics import METRICS

_COLOURS = {"good": "green", "unsure": "yellow", "bad": "red"}


def show(report: ExperimentReport, *, width: int | None = None) -> None:
    """Print a report. width: columns; None: those of the terminal."""
    console = Console(width=width, highlight=False)
    others = [each.verdict for each in report.comparisons if each.verdict != report.verdict]
    for verdict in (report.verdict, *others):
        line = Text(f"{verdict.word}. ", style=f"bold {_COLOURS[verdict.tone]}")
        console.print(line.append(verdict.sentence, style="not bold default"))
    console.print(Text(report.source_line))
    console.print(_arms(report))
    for each in report.comparisons:
        console.print(_outcomes(each))
    for note in report.notes:
        console.print(Text(note, style="dim"))


def _arms(report: ExperimentReport) -> Table:
    table = Table(title=f"day {report.days} of {report.planned_days}", title_justify="left")
    for name in ("arm", "share", "users", "impressions", "clicks", "buyers", "revenue"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    for arm in report.arms:
        counts = (arm.users, arm.impressions, arm.clicks, arm.buyers)
        cells = [f"{n:,}" for n in counts]
        table.add_row(Text(arm.name), f"{arm.share:.1%}", *cells, f"{arm.revenue:,.2f}")
    return table


def _outcomes(one: Comparison) -> Table:
    table = Table(title=Text(f"{one.arm} against control, one look"), title_justify="left")
    for name in ("metric", "control", one.arm, "change", "95% interval", "adjusted p"):
        table.add_column(Text(name), justify="left" if name == "metric" else "right")
    for o in one.outcomes:
        metric = METRICS[o.metric]
        change, interval = "", ""
        if o.relative is not None:
            change = f"{o.relative:+.1%}"
        if o.relative_low is not None and o.relative_high is not None:
            interval = f"{o.relative_low:+.1%} to {o.relative_high:+.1%}"
        values = shown(metric, o.control), shown(metric, o.treatment)
        table.add_row(metric.title, *values, change, interval, f"{o.p_holm:.3g}")
    return table
