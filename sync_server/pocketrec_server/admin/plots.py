"""Plots as inline SVG, rendered on the server. Colours come from the page's style sheet.

The site's Content-Security-Policy forbids style attributes, so only classes are used.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from pocketrec_server.admin.formatting import date

WIDTH, HEIGHT = 480, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 8, 14, 30
_STEPS, _MOST_STEPS = (1, 2, 5, 10), 4

Word = Callable[[float], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A series of daily values.

    Attributes:
        label: name of the series.
        colour: number of its colour in the style sheet: 0 to 4, or 5 for grey.
        values: one value per day.
    """

    label: str
    colour: int
    values: Sequence[float]


def stacked_bars(title: str, days: Sequence[int], series: Sequence[Series], word: Word) -> Markup:
    """Draw one bar per day, with the series stacked.

    Args:
        title: title for screen readers.
        days: days, counted from 1970-01-01.
        series: series from bottom to top.
        word: formats a value.
    """
    sums = [sum(one.values[n] for one in series) for n in range(len(days))]
    marks = ticks(max(sums, default=0))
    top = marks[-1]
    step = (WIDTH - _LEFT - _RIGHT) / max(len(days), 1)
    parts = [Markup('<svg class="plot" viewBox="0 0 {} {}" role="img">').format(WIDTH, HEIGHT)]
    parts.append(Markup("<title>{}</title>").format(title))
    for mark in marks:
        y = _y(mark / top)
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
                _LEFT, WIDTH - _RIGHT, y, y
            )
        )
        parts.append(_text(_LEFT - 6, y + 4, "end", word(mark)))
    for n, day in enumerate(days):
        parts.append(
            _bar(_LEFT + n * step, step, day, [(s, s.values[n]) for s in series], top, word)
        )
    for n, anchor in _dated(len(days)):
        x = _LEFT + (n + {"start": 0, "middle": 0.5, "end": 1}[anchor]) * step
        parts.append(_text(x, HEIGHT - 8, anchor, date(days[n])))
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def share_bar(share: float, kind: str, label: str) -> Markup:
    """Draw a share 0..1 as a bar; `kind` is the CSS class of its colour."""
    return Markup(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img">'
        "<title>{}</title>"
        '<rect class="rail" width="100" height="8"/>'
        '<rect class="{}" width="{:.2f}" height="8"/></svg>'
    ).format(label, kind, 100 * min(max(share, 0), 1))


def ticks(most: float) -> list[int]:
    """Return evenly spaced integer ticks from 0 to at least `most`.

    The step is 1, 2 or 5 times a power of ten, so labels are exact. (Half of 5 devices was once
    labelled "2".)
    """
    power = 1
    while True:
        for step in _STEPS:
            if power * step * _MOST_STEPS >= most:
                n = max(1, math.ceil(most / (power * step)))
                return [power * step * i for i in range(n + 1)]
        power *= 10


def _dated(n_days: int) -> list[tuple[int, str]]:
    """Return the labelled days with their text anchors: the first, the middle and the last."""
    if n_days < 3:
        return [(0, "start"), (n_days - 1, "end")][:n_days]
    middle = [] if n_days < 5 else [(n_days // 2, "middle")]
    return [(0, "start"), *middle, (n_days - 1, "end")]


def _bar(
    x: float, step: float, day: int, parts: list[tuple[Series, float]], top: float, word: Word
) -> Markup:
    values = ", ".join(f"{one.label} {word(value)}" for one, value in parts if value)
    bars, below = [], 0.0
    for one, value in parts:
        if value:
            y = _y((below + value) / top)
            bars.append(
                Markup(
                    '<rect class="s{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
                ).format(one.colour, x + step * 0.1, y, step * 0.8, _y(below / top) - y)
            )
            below += value
    title = Markup("<title>{}: {}</title>").format(date(day), values or "nothing")
    return Markup("<g>{}{}</g>").format(title, Markup("").join(bars))


def _y(share: float) -> float:
    return _TOP + (1 - share) * (HEIGHT - _TOP - _BOTTOM)


def _text(x: float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        x, y, anchor, escape(text)
    )
