"""Two kinds of plot as inline SVG: lines over two axes, and rows of marks over one."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pocketrec_bundle.encoding.svg_axes import (
    LETTER,
    WIDTH,
    frame,
    legend,
    number,
    shortened,
    text,
    ticks,
)

LEFT, RIGHT, BOTTOM, HEIGHT = 66, 24, 44, 230
ROW = 26
LONGEST_NAME = 24
MARKED_POINTS = 40
"""Lines of more points get no circles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line. style: class of the page, "model", "second", "rival", "other" or "guide"."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One value of a row, with its interval if it has one."""

    value: float
    low: float | None = None
    high: float | None = None
    style: str = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One name with its marks."""

    name: str
    marks: Sequence[Mark]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Texts of a plot. name: unique in the page; title and description are read out."""

    name: str
    title: str
    description: str
    x: str
    y: str = ""


def line_plot(
    labels: Labels, series: Sequence[Series], *, zero: bool = True, square: bool = False
) -> Markup:
    """Draw lines over the range that the values use.

    Args:
        labels: texts of the plot.
        series: lines; those of style "other" are not in the legend.
        zero: whether the y axis begins at 0.
        square: give both axes the same range.
    """
    points = [point for each in series for point in each.points] or [(0.0, 0.0)]
    top_x, top_y = (max(point[axis] for point in points) for axis in (0, 1))
    if square:
        top_x = top_y = max(top_x, top_y)
    low_y = 0.0 if zero else min(y for _, y in points)
    whole = all(float(x).is_integer() for x, _ in points)
    xs, ys = (
        ticks(0.0, top_x, min(5, int(top_x)) if whole and top_x >= 1 else 5),
        ticks(low_y, top_y),
    )
    named = [(each.name, each.style) for each in series if each.style != "other"]
    parts, head = legend(named if len(named) > 1 else [], LEFT)
    head = max(head, 12.0)
    foot = head + HEIGHT

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + x / xs[-1] * (WIDTH - LEFT - RIGHT),
            foot - (y - ys[0]) / (ys[-1] - ys[0]) * HEIGHT,
        )

    for x in xs:
        parts.append(text(place(x, 0)[0], foot + 17, number(x, xs[1] - xs[0]), "middle"))
    for y in ys:
        at = place(0, y)[1]
        parts.append(f'<path class="grid" d="M{LEFT},{at:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(text(LEFT - 6, at + 4, number(y, ys[1] - ys[0]), "end"))
    parts.append(f'<path class="axis" d="M{LEFT},{head:.1f}V{foot:.1f}H{WIDTH - RIGHT}"/>')
    for each in sorted(series, key=lambda one: _DRAWN.index(one.style)):
        parts += _line(each, [place(x, y) for x, y in each.points])
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, foot + 38, labels.x, "middle"))
    parts.append(
        f'<g transform="translate(12,{head + HEIGHT / 2:.1f}) rotate(-90)">'
        + text(0, 0, labels.y, "middle")
        + "</g>"
    )
    return _framed(labels, parts, foot + BOTTOM)


def _framed(labels: Labels, parts: Sequence[str], height: float) -> Markup:
    framed = frame(labels.name, labels.title, labels.description, parts, height)
    return Markup(framed)  # noqa: S704 - every text is escaped


_DRAWN = ("guide", "other", "rival", "second", "model")
"""Later ones lie above."""


def _line(series: Series, placed: list[tuple[float, float]]) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    parts = [f'<polyline class="{series.style}" points="{path}"/>']
    if len(placed) <= MARKED_POINTS and series.style not in ("guide", "other"):
        parts += [
            f'<circle class="{series.style}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in placed
        ]
    return parts


def row_plot(
    labels: Labels,
    rows: Sequence[Row],
    named: Sequence[tuple[str, str]] = (),
    *,
    bars: bool = False,
) -> Markup:
    """Draw a row of marks for each name, over an axis that includes 0.

    Args:
        labels: texts of the plot.
        rows: from top to bottom.
        named: (name, style) entries of the legend.
        bars: draw each mark as a bar from 0, with its interval over it.
    """
    marks = [mark for row in rows for mark in row.marks]
    ends = [each for m in marks for each in (m.low, m.value, m.high) if each is not None]
    xs = ticks(min([*ends, 0.0]), max([*ends, 0.0]), 4)
    names = [shortened(row.name, LONGEST_NAME) for row in rows]
    left = 14 + LETTER * max(map(len, names), default=0)
    parts, head = legend(list(named), 4)
    head = max(head, 6.0)
    foot = head + ROW * len(rows)

    def place(x: float) -> float:
        return left + (x - xs[0]) / (xs[-1] - xs[0]) * (WIDTH - left - RIGHT - 10)

    for x in xs:
        style = "axis" if abs(x) < 1e-12 else "grid"
        parts.append(f'<path class="{style}" d="M{place(x):.1f},{head:.1f}V{foot:.1f}"/>')
        parts.append(text(place(x), foot + 17, number(x, xs[1] - xs[0]), "middle"))
    for at, (row, name) in enumerate(zip(rows, names, strict=True)):
        middle = head + ROW * (at + 0.5)
        parts.append(text(left - 8, middle + 4, name, "end"))
        apart = 6.0 if len(row.marks) > 1 and not bars else 0.0
        for place_in_row, mark in enumerate(row.marks):
            y = middle + apart * (place_in_row - (len(row.marks) - 1) / 2)
            if bars:
                start, end = sorted((place(0), place(mark.value)))
                parts.append(
                    f'<rect class="{mark.style}" x="{start:.1f}" y="{y - 7:.1f}" '
                    f'width="{max(end - start, 0.5):.1f}" height="14"/>'
                )
            if mark.low is not None and mark.high is not None:
                low, high = place(mark.low), place(mark.high)
                style = "over" if bars else mark.style
                parts.append(
                    f'<path class="{style} whisker" d="M{low:.1f},{y - 4:.1f}v8m0,-4'
                    f'H{high:.1f}m0,-4v8"/>'
                )
            if bars:
                continue
            parts.append(
                f'<circle class="{mark.style}" cx="{place(mark.value):.1f}" cy="{y:.1f}" r="4.5"/>'
            )
    parts.append(text((left + WIDTH) / 2, foot + 38, labels.x, "middle"))
    return _framed(labels, parts, foot + BOTTOM)
