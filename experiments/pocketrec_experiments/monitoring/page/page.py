"""Fill the page: no scripts, no other files, light or dark as the system."""

from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from pocketrec_experiments.monitoring.page.pictures import pictures
from pocketrec_experiments.monitoring.page.verdicts import verdicts
from pocketrec_experiments.monitoring.report import MonitorReport
from pocketrec_experiments.monitoring.words import headline, tables

_TEMPLATE = ("pocketrec_experiments.monitoring.page", "monitor.html.j2")
_STYLE = ("pocketrec_experiments.analysis.page", "style.css")


def page(report: MonitorReport) -> str:
    """Return the HTML of a report; it loads nothing and runs nothing."""
    world = Environment(autoescape=True, undefined=StrictUndefined)
    return world.from_string(_text(*_TEMPLATE)).render(
        report=report,
        headline=headline(report),
        verdicts=verdicts(report),
        pictures=pictures(report),
        tables=tables(report),
        style=Markup(_text(*_STYLE)),  # noqa: S704 - a file of this package
    )


def _text(package: str, name: str) -> str:
    return resources.files(package).joinpath("templates", name).read_text("utf-8")
