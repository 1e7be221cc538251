"""Texts and frame of the charts."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pocketrec_bundle.encoding.svg_axes import frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Texts of a chart. name: unique in the page; title and description are read out.

    percent: write the values of the quantity as percentages.
    """

    name: str
    title: str
    description: str
    x: str
    y: str = ""
    percent: bool = False


def svg(labels: Labels, parts: Sequence[str], height: float) -> Markup:
    """Frame a chart; title and description are what a screen reader says."""
    framed = frame(labels.name, labels.title, labels.description, parts, height)
    return Markup(framed)  # noqa: S704 - every text is escaped
