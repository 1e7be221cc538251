"""Axes of the plots: round ticks, number formats, escaped texts, the frame of an SVG."""

import math
from html import escape

from markupsafe import Markup

WIDTH = 420
"""Units of every plot; a screen of 390 pixels shows them at 85%."""
LETTER = 7.0
"""Widest mean width of a letter, for the room that names need."""


def ticks(top: float, n: int = 5, low: float = 0.0) -> list[float]:
    """Return round numbers that enclose `low` to `top`, in steps of 1, 2 or 5 times a power of ten.

    >>> [round(each, 2) for each in ticks(0.093)]
    [0.0, 0.02, 0.04, 0.06, 0.08, 0.1]
    """
    top = top if top > low else low + (0.1 * abs(low) or 1.0)
    raw = (top - low) / n
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(top / step - 1e-9)
    return [step * i for i in range(first, last + 1)]


def number(value: float, step: float) -> str:
    """Write a tick with as many digits as the step between ticks needs."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{digits}f}"


def text(x: float, y: float, words: str, anchor: str, style: str = "") -> str:
    """Return one escaped text; anchor: "start", "middle" or "end"."""
    kind = f' class="{style}"' if style else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def shortened(words: str, letters: int) -> str:
    """Cut a name that is too long for its place."""
    return words if len(words) <= letters else words[: letters - 1] + "…"


def legend(entries: list[tuple[str, str]], left: float) -> tuple[list[str], float]:
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


def svg(name: str, title: str, description: str, parts: list[str], height: float) -> Markup:
    """Frame a plot; title and description are what a screen reader says.

    name: letters and digits, unique in the page.
    """
    head = (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>'
    )
    return Markup(f"{head}{''.join(parts)}</svg>")  # noqa: S704 - every text is escaped above
