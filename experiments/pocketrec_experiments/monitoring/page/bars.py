"""A chart of two shares for each bin, as inline SVG."""

from collections.abc import Sequence
from html import escape

from markupsafe import Markup

from pocketrec_bundle.encoding.svg_axes import LETTER, WIDTH, number, shortened, text, ticks
from pocketrec_experiments.analysis.page.axes import Labels, svg

LEFT, RIGHT, BOTTOM, HEIGHT = 66, 8, 44, 170
LONGEST_NAME = 14
GAP = 2.0
"""Units between the bars of two bins, if the bins are wide enough."""
_KINDS = (("rival", "training"), ("model", "field"))


def bars(labels: Labels, bins: Sequence[tuple[str, float, float]]) -> Markup:
    """Draw the bars of training data and field side by side.

    Args:
        labels: texts of the chart.
        bins: name, share in training and share in the field, 0..1; at least one.
    """
    ys = ticks(0.0, max(max(before, now) for _, before, now in bins) or 1.0)
    head, width = 26.0, (WIDTH - LEFT - RIGHT) / len(bins)
    foot = head + HEIGHT
    gap = min(GAP, width / 4)
    parts = []
    for at, (style, name) in enumerate(_KINDS):
        x = LEFT + 110.0 * at
        parts.append(f'<rect class="{style}" x="{x:.0f}" y="6" width="12" height="10"/>')
        parts.append(text(x + 18, 15, name, "start"))
    for y in ys:
        at_y = foot - y / ys[-1] * HEIGHT
        parts.append(f'<path class="grid" d="M{LEFT},{at_y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(text(LEFT - 6, at_y + 4, number(y, ys[1] - ys[0], percent=True), "end"))
    for n, (name, *shares) in enumerate(bins):
        for side, ((style, kind), value) in enumerate(zip(_KINDS, shares, strict=True)):
            high = value / ys[-1] * HEIGHT
            x = LEFT + n * width + gap / 2 + side * (width - gap) / 2
            parts.append(
                f'<rect class="{style}" x="{x:.1f}" y="{foot - high:.1f}" '
                f'width="{(width - gap) / 2:.1f}" height="{high:.1f}">'
                f"<title>{escape(f'{name}: {kind} {value:.1%}')}</title></rect>"
            )
    parts.append(f'<path class="axis" d="M{LEFT},{head}V{foot}H{WIDTH - RIGHT}"/>')
    parts += _names([name for name, _, _ in bins], width, foot + 17)
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, foot + 38, labels.x, "middle"))
    return svg(labels, parts, foot + BOTTOM)


def _names(names: Sequence[str], width: float, y: float) -> list[str]:
    """Return the names below the bins; if they do not fit, that of the first and the last bin."""
    short = [shortened(name, LONGEST_NAME) for name in names]
    if LETTER * max(map(len, short)) <= width:
        places = [LEFT + (n + 0.5) * width for n in range(len(short))]
        return [text(x, y, name, "middle") for x, name in zip(places, short, strict=True)]
    ends = [shortened(name, 2 * LONGEST_NAME) for name in (names[0], names[-1])]
    return [text(LEFT, y, ends[0], "start"), text(WIDTH - RIGHT, y, ends[1], "end")]
