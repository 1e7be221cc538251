"""Plots as inline SVG: axes with ticks and names, a legend, whiskers for intervals. No scripts."""

import math
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

WIDTH, HEIGHT = 460, 280
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 30, 44


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of a plot; style is a class of the page: "model", "second" or "guide"."""

    name: str
    points: list[tuple[float, float]]
    style: str = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """One row of a whisker plot: a value and its 95% interval."""

    name: str
    low: float
    value: float
    high: float
    style: str = "second"


def ticks(top: float, n: int = 5) -> list[float]:
    """Return round numbers from 0 to at least `top`: steps of 1, 2 or 5 times a power of ten."""
    top = top if top > 0 else 1.0
    raw = top / n
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= raw * (1 - 1e-9))
    return [step * i for i in range(math.ceil(top / step - 1e-9) + 1)]


def line_plot(title: str, x_name: str, y_name: str, series: list[Series]) -> Markup:
    """Draw lines over axes that begin at 0; a point each 40 values or fewer."""
    points = [point for each in series for point in each.points]
    xs = ticks(max((x for x, _ in points), default=1.0))
    ys = ticks(max((y for _, y in points), default=1.0))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + x / xs[-1] * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - y / ys[-1] * (HEIGHT - TOP - BOTTOM),
        )

    parts = [_frame(x_name, y_name)]
    for x in xs:
        at = place(x, 0)[0]
        parts.append(_text(at, HEIGHT - BOTTOM + 16, _number(x, xs[-1]), "middle"))
    for y in ys:
        at = place(0, y)[1]
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        )
        parts.append(_text(LEFT - 6, at + 4, _number(y, ys[-1]), "end"))
    for each in series:
        placed = [place(x, y) for x, y in each.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline class="{each.style}" points="{path}"/>')
        if len(placed) <= 40 and each.style != "guide":
            parts += [
                f'<circle class="{each.style}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in placed
            ]
    return _svg(title, [*parts, *_legend(series)], HEIGHT)


def whisker_plot(title: str, x_name: str, rows: list[Interval]) -> Markup:
    """Draw values as points and their intervals as lines, one row each, over an axis from 0."""
    left, height = 110, TOP + 34 * len(rows) + BOTTOM
    xs = ticks(max((row.high for row in rows), default=1.0))

    def place(x: float) -> float:
        return left + x / xs[-1] * (WIDTH - left - RIGHT - 8)

    parts = []
    for x in xs:
        at, foot = place(x), height - BOTTOM
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{foot}"/>')
        parts.append(_text(at, foot + 16, _number(x, xs[-1]), "middle"))
    parts.append(_text((left + WIDTH) / 2, height - 8, x_name, "middle"))
    for i, row in enumerate(rows):
        y = TOP + 17 + 34 * i
        low, value, high = (place(each) for each in (row.low, row.value, row.high))
        parts.append(_text(left - 8, y + 4, row.name, "end"))
        parts.append(
            f'<line class="{row.style}" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>'
        )
        parts += [
            f'<line class="{row.style}" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 5}" y2="{y + 5}"/>'
            for x in (low, high)
        ]
        parts.append(f'<circle class="{row.style}" cx="{value:.1f}" cy="{y}" r="5"/>')
    return _svg(title, parts, height)


def _frame(x_name: str, y_name: str) -> str:
    foot, middle = HEIGHT - BOTTOM, (TOP + HEIGHT - BOTTOM) / 2
    return (
        f'<path class="axis" d="M{LEFT},{TOP}V{foot}H{WIDTH - RIGHT}"/>'
        + _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_name, "middle")
        + f'<text transform="translate(14,{middle}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_name)}</text>"
    )


def _legend(series: list[Series]) -> list[str]:
    parts, x = [], float(LEFT)
    for each in series:
        parts.append(f'<polyline class="{each.style}" points="{x},14 {x + 20},14"/>')
        parts.append(_text(x + 26, 18, each.name, "start"))
        x += 50 + 7 * len(each.name)
    return parts


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _number(value: float, top: float) -> str:
    return f"{value:.{max(0, 1 - math.floor(math.log10(top)))}f}" if top < 10 else f"{value:g}"


def _svg(title: str, parts: list[str], height: int) -> Markup:
    box = f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}"'
    return Markup(f"<svg {box}>{''.join(parts)}</svg>")  # noqa: S704 - every text is escaped above
