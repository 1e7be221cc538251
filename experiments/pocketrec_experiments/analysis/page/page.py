"""Fill the page: verdict, pictures, tables."""

from datetime import UTC, datetime
from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from pocketrec_experiments.analysis.page.pictures import pictures
from pocketrec_experiments.analysis.page.tables import tables
from pocketrec_experiments.analysis.report import ExperimentReport
from pocketrec_experiments.statistics.metrics import METRICS

_PLACE = resources.files("pocketrec_experiments.analysis.page").joinpath("templates")


def render(report: ExperimentReport) -> str:
    """Return the HTML of a report; it loads nothing and runs nothing."""
    world = Environment(autoescape=True, undefined=StrictUndefined)
    others = [each.verdict for each in report.comparisons if each.verdict != report.verdict]
    return world.from_string(_text("report.html.j2")).render(
        report=report,
        verdicts=[report.verdict, *others],
        metric=METRICS[report.settings.metric],
        begins=_day(report.design.from_utc),
        ends=_day(report.design.until_utc),
        pictures=pictures(report),
        tables=tables(report),
        style=Markup(_text("style.css")),  # noqa: S704 - a file of this folder
    )


def _day(utc: int) -> str:
    return datetime.fromtimestamp(utc, UTC).strftime("%Y-%m-%d")


def _text(name: str) -> str:
    return _PLACE.joinpath(name).read_text("utf-8")
