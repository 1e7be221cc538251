"""Two kinds of chart as inline SVG: lines with bands over days, and intervals in rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pocketrec_bundle.encoding.svg_axes import (
    LETTER,
    WIDTH,
    legend,
    number,
    shortened,
    text,
    ticks,
)
from pocketrec_experiments.analysis.page.axes import Labels, svg

LEFT, RIGHT, BOTTOM, HEIGHT = 66, 24, 44, 210
ROW = 26
LONGEST_NAME = 30
TICK_LETTER = 7.5
"""Pixels of a letter of a tick, with room to the next tick."""
MARKED_POINTS = 40
"""Lines of more points get no circles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line. style: class of the page, "model", "second", "rival", "other" or "guide"."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """An area between two lines: x, low, high."""

    points: Sequence[tuple[float, float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """One row: a value with its interval. style: "good", "bad" or "unsure"."""

    name: str
    value: float
    low: float
    high: float
    style: str


def line_chart(
    labels: Labels,
    lines: Sequence[Line],
    band: Band | None = None,
    *,
    limits: tuple[float, float] | None = None,
    zero: bool = False,
) -> Markup:
    """Draw lines over whole days.

    Args:
        labels: texts of the chart.
        lines: those of style "guide" are not in the legend.
        band: area below the lines.
        limits: range of the y axis; what is outside is drawn at its edge.
        zero: draw the line of 0.
    """
    points = [point for line in lines for point in line.points] or [(1.0, 0.0)]
    areas = [] if band is None else [y for _, low, high in band.points for y in (low, high)]
    low, high = limits or _range([y for _, y in points] + areas, zero=zero)
    ys, last = ticks(low, high), max(x for x, _ in points)
    first = min(x for x, _ in points)
    xs = [x for x in ticks(first, last, min(6, int(last - first) or 1)) if first <= x <= last]
    named = [(line.name, line.style) for line in lines if line.style != "guide"]
    parts, head = legend(named if len(named) > 1 else [], LEFT)
    head = max(head, 12.0)
    foot = head + HEIGHT
    span = max(last - first, 1e-9)

    def place(x: float, y: float) -> tuple[float, float]:
        inside = min(max(y, ys[0]), ys[-1])
        return (
            LEFT + (x - first) / span * (WIDTH - LEFT - RIGHT),
            foot - (inside - ys[0]) / (ys[-1] - ys[0]) * HEIGHT,
        )

    if band is not None and band.points:
        edge = [place(x, high) for x, _, high in band.points]
        edge += [place(x, low) for x, low, _ in reversed(band.points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in edge)
        parts.append(f'<polygon class="band" points="{path}"/>')
    for x in xs:
        parts.append(text(place(x, 0)[0], foot + 17, f"{x:.0f}", "middle"))
    for y in ys:
        at = place(first, y)[1]
        style = "axis" if zero and abs(y) < 1e-12 else "grid"
        parts.append(f'<path class="{style}" d="M{LEFT},{at:.1f}H{WIDTH - RIGHT}"/>')
        written = number(y, ys[1] - ys[0], percent=labels.percent)
        parts.append(text(LEFT - 6, at + 4, written, "end"))
    parts.append(f'<path class="axis" d="M{LEFT},{head:.1f}V{foot:.1f}H{WIDTH - RIGHT}"/>')
    for line in sorted(lines, key=lambda each: each.style == "model"):
        parts += _line(line, [place(x, y) for x, y in line.points])
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, foot + 38, labels.x, "middle"))
    parts.append(
        f'<g transform="translate(12,{head + HEIGHT / 2:.1f}) rotate(-90)">'
        + text(0, 0, labels.y, "middle")
        + "</g>"
    )
    return svg(labels, parts, foot + BOTTOM)


def _range(values: Sequence[float], *, zero: bool) -> tuple[float, float]:
    more = [0.0] if zero else []
    return min([*values, *more]), max([*values, *more])


def _line(line: Line, placed: Sequence[tuple[float, float]]) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    parts = [f'<polyline class="{line.style}" points="{path}"/>']
    if len(placed) <= MARKED_POINTS and line.style != "guide":
        parts += [
            f'<circle class="{line.style}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in placed
        ]
    return parts


def interval_chart(labels: Labels, rows: Sequence[Interval]) -> Markup:
    """Draw a row for each value, over an axis that includes 0."""
    ends = [end for row in rows for end in (row.low, row.value, row.high)]
    xs = ticks(min([*ends, 0.0]), max([*ends, 0.0]), 4)
    names = [shortened(row.name, LONGEST_NAME) for row in rows]
    left = 14 + LETTER * max(map(len, names), default=0)
    head = 6.0
    foot = head + ROW * len(rows)

    def place(x: float) -> float:
        return left + (x - xs[0]) / (xs[-1] - xs[0]) * (WIDTH - left - RIGHT - 10)

    parts = []
    written = [number(x, xs[1] - xs[0], percent=labels.percent) for x in xs]
    room = (place(xs[1]) - place(xs[0])) / TICK_LETTER
    every = max(1, math.ceil((max(map(len, written)) + 1) / room))
    origin = min(range(len(xs)), key=lambda at: abs(xs[at]))
    for at, x in enumerate(xs):
        style = "axis" if abs(x) < 1e-12 else "grid"
        parts.append(f'<path class="{style}" d="M{place(x):.1f},{head:.1f}V{foot:.1f}"/>')
        if (at - origin) % every == 0:
            parts.append(text(place(x), foot + 17, written[at], "middle"))
    for at, (row, name) in enumerate(zip(rows, names, strict=True)):
        y = head + ROW * (at + 0.5)
        parts.append(text(left - 8, y + 4, name, "end"))
        parts.append(
            f'<path class="{row.style} whisker" d="M{place(row.low):.1f},{y - 4:.1f}v8m0,-4'
            f'H{place(row.high):.1f}m0,-4v8"/>'
        )
        parts.append(
            f'<circle class="{row.style}" cx="{place(row.value):.1f}" cy="{y:.1f}" r="4.5"/>'
        )
    parts.append(text((left + WIDTH) / 2, foot + 38, labels.x, "middle"))
    return svg(labels, parts, foot + BOTTOM)
