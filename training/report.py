"""The evaluation as one self-contained HTML page: tables, and plots as inline SVG."""

from importlib import resources
from typing import Any

from jinja2 import Environment, select_autoescape

WIDTH, HEIGHT = 420, 180


def render(name: str, found: dict[str, Any]) -> str:
    """Fill the page for the result of `evaluate`."""
    text = resources.files("training").joinpath("templates/evaluation.html.j2").read_text("utf-8")
    page = Environment(autoescape=select_autoescape(default=True)).from_string(text)
    best = max(m["ndcg@10"]["high"] for m in found["retrieval"].values())
    curve = [point["ndcg10"] for point in found["training"]]
    return page.render(
        name=name,
        found=found,
        best=best or 1.0,
        curve=_polyline([(i, v) for i, v in enumerate(curve)]),
        curve_best=max(curve, default=0.0),
        calibration={
            head: _polyline([(b["predicted"], b["observed"]) for b in m["calibration"]], unit=True)
            for head, m in found["ranking"].items()
        },
        width=WIDTH,
        height=HEIGHT,
    )


def _polyline(points: list[tuple[float, float]], *, unit: bool = False) -> str:
    """Scale points to the plot's box; `unit` keeps both axes 0..1."""
    if not points:
        return ""
    right = 1.0 if unit else max(max(x for x, _ in points), 1e-9)
    top = 1.0 if unit else max(max(y for _, y in points), 1e-9)
    return " ".join(f"{x / right * WIDTH:.1f},{HEIGHT - y / top * HEIGHT:.1f}" for x, y in points)
