"""Axes of a report's charts: round ticks, number formats, escaped texts, the frame of an SVG."""

import math
from collections.abc import Sequence
from html import escape

WIDTH = 420
"""Units of every chart; a screen of 390 pixels shows them at 85%."""
LETTER = 7.0
"""Widest mean width of a letter, for the room that names need."""


def ticks(low: float, high: float, n: int = 5) -> list[float]:
    """Return round numbers that enclose `low` to `high`, in steps of 1, 2 or 5 times 10^k.

    >>> [round(each, 2) for each in ticks(-0.013, 0.03)]
    [-0.02, -0.01, 0.0, 0.01, 0.02, 0.03]
    """
    high = high if high > low else low + (0.1 * abs(low) or 1.0)
    raw = (high - low) / n
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * i for i in range(first, last + 1)]


def number(value: float, step: float, *, percent: bool = False) -> str:
    """Write a tick with as many digits as the step between ticks needs."""
    if percent:
        value, step = 100 * value, 100 * step
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value + 0.0:,.{digits}f}{'%' if percent else ''}"


def text(x: float, y: float, words: str, anchor: str, style: str = "") -> str:
    """Return one escaped text; anchor: "start", "middle" or "end"; style: a class of the page."""
    kind = f' class="{style}"' if style else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def shortened(words: str, letters: int) -> str:
    """Cut a name that is too long for its place."""
    return words if len(words) <= letters else words[: letters - 1] + "…"


def legend(entries: Sequence[tuple[str, str]], left: float) -> tuple[list[str], float]:
    """Draw (name, style) entries in lines that fit; also return the height they take."""
    parts: list[str] = []
    x, y = left, 14.0
    for name, style in entries:
        wide = 34 + LETTER * len(name)
        if x > left and x + wide > WIDTH:
            x, y = left, y + 18
        parts.append(f'<path class="{style}" d="M{x:.1f},{y - 4:.1f}h18"/>')
        parts.append(text(x + 24, y, name, "start"))
        x += wide
    return parts, y + 8 if entries else 0.0


def frame(name: str, title: str, description: str, parts: Sequence[str], height: float) -> str:
    """Frame a chart; title and description are what a screen reader says.

    Args:
        name: letters and digits, unique in the page.
        title: of the chart; escaped here.
        description: of what it shows; escaped here.
        parts: SVG elements, their texts escaped.
        height: units; the width is `WIDTH`.
    """
    head = (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>'
    )
    return f"{head}{''.join(parts)}</svg>"
