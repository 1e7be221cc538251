"""The evaluation as one self-contained HTML page: tables, and plots as inline SVG."""

from importlib import resources
from typing import Any

from jinja2 import Environment, select_autoescape
from markupsafe import Markup

from pocketrec_training.evaluation.plots import Interval, Series, line_plot, whisker_plot


def render(name: str, found: dict[str, Any]) -> str:
    """Fill the page for the result of `evaluate`."""
    text = (
        resources.files("pocketrec_training.evaluation")
        .joinpath("templates/evaluation.html.j2")
        .read_text("utf-8")
    )
    page = Environment(autoescape=select_autoescape(default=True)).from_string(text)
    return page.render(name=name, found=found, plots=_plots(found))


def _plots(found: dict[str, Any]) -> list[tuple[str, Markup]]:
    """Caption and drawing of each plot."""
    rows = [
        Interval(
            name=method.replace("_", " "),
            low=m["ndcg@10"]["low"],
            value=m["ndcg@10"]["value"],
            high=m["ndcg@10"]["high"],
            style="model" if method.startswith("two") else "second",
        )
        for method, m in found["retrieval"].items()
    ]
    made = [
        (
            "NDCG@10 of the models (blue) and the baselines (grey), with 95% bootstrap intervals. "
            "Where intervals overlap widely, the difference may be chance.",
            whisker_plot("NDCG@10 by method", "NDCG@10", rows),
        )
    ]
    curve = [point["ndcg10"] for point in found["training"]]
    if curve:
        series = Series(name="validation", points=[(i + 1.0, v) for i, v in enumerate(curve)])
        best = 1 + max(range(len(curve)), key=curve.__getitem__)
        told = (
            f"Two-tower training: best NDCG@10 {max(curve):.4f} after epoch {best}, which is kept."
        )
        made.append((told, line_plot("training curve", "epoch", "NDCG@10", [series])))
    perfect = Series(name="perfectly calibrated", points=[(0, 0), (1, 1)], style="guide")
    for head, m in found["ranking"].items():
        bins = [(b["predicted"], b["observed"]) for b in m["calibration"]]
        drawn = line_plot(
            f"calibration of head {head}",
            "predicted probability",
            "observed share",
            [Series(name=f"head {head}", points=bins), perfect],
        )
        made.append((f"Calibration of head {head}; expected error {m['ece']:.4f}.", drawn))
    return made
