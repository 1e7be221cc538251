"""Plots as inline SVG, made on the server: colours come from the page's style sheet.

No style attribute is used, since the site's Content-Security-Policy allows none.
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
    """A value a day, in a colour of the style sheet: 0 to 4, or 5, a grey."""

    label: str
    colour: int
    values: Sequence[float]


def stacked_bars(title: str, days: Sequence[int], series: Sequence[Series], word: Word) -> Markup:
    """Draw a bar a day, the series on top of each other.

    Args:
        title: read out where the plot is not seen.
        days: counted from 1970-01-01.
        series: the lowest first.
        word: says a value.
    """
    sums = [sum(one.values[at] for one in series) for at in range(len(days))]
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
    for at, day in enumerate(days):
        parts.append(
            _bar(_LEFT + at * step, step, day, [(s, s.values[at]) for s in series], top, word)
        )
    for at, anchor in _dated(len(days)):
        x = _LEFT + (at + {"start": 0, "middle": 0.5, "end": 1}[anchor]) * step
        parts.append(_text(x, HEIGHT - 8, anchor, date(days[at])))
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def share_bar(share: float, kind: str, label: str) -> Markup:
    """Draw a share 0..1 as a bar; `kind` is the class of its colour."""
    return Markup(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img">'
        "<title>{}</title>"
        '<rect class="rail" width="100" height="8"/>'
        '<rect class="{}" width="{:.2f}" height="8"/></svg>'
    ).format(label, kind, 100 * min(max(share, 0), 1))


def ticks(most: float) -> list[int]:
    """Values to mark on an axis from 0 to `most` or a little more: whole and evenly spaced.

    The step is 1, 2 or 5 times a power of ten, so a mark has no more digits than its label shows:
    half of 5 devices was once marked "2".
    """
    power = 1
    while True:
        for step in _STEPS:
            if power * step * _MOST_STEPS >= most:
                n = max(1, math.ceil(most / (power * step)))
                return [power * step * at for at in range(n + 1)]
        power *= 10


def _dated(n_days: int) -> list[tuple[int, str]]:
    """Days that the axis names, each with its anchor: the first, the middle and the last."""
    if n_days < 3:
        return [(0, "start"), (n_days - 1, "end")][:n_days]
    middle = [] if n_days < 5 else [(n_days // 2, "middle")]
    return [(0, "start"), *middle, (n_days - 1, "end")]


def _bar(
    x: float, step: float, day: int, parts: list[tuple[Series, float]], top: float, word: Word
) -> Markup:
    told = ", ".join(f"{one.label} {word(value)}" for one, value in parts if value)
    found, below = [], 0.0
    for one, value in parts:
        if value:
            y = _y((below + value) / top)
            found.append(
                Markup(
                    '<rect class="s{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
                ).format(one.colour, x + step * 0.1, y, step * 0.8, _y(below / top) - y)
            )
            below += value
    title = Markup("<title>{}: {}</title>").format(date(day), told or "nothing")
    return Markup("<g>{}{}</g>").format(title, Markup("").join(found))


def _y(share: float) -> float:
    return _TOP + (1 - share) * (HEIGHT - _TOP - _BOTTOM)


def _text(x: float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        x, y, anchor, escape(text)
    )
