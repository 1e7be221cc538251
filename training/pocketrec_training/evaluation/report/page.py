"""Fill the page: verdict, pictures, example users, tables."""

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from pocketrec_training.evaluation.report.page_tables import tables
from pocketrec_training.evaluation.report.pictures import pictures
from pocketrec_training.evaluation.report.tables import label
from pocketrec_training.evaluation.report.verdict import verdicts

_PLACE = resources.files("pocketrec_training.evaluation.report").joinpath("templates")


def render(name: str, found: Mapping[str, Any], previous: Mapping[str, Any] | None = None) -> str:
    """Fill the page for the result of `evaluate`.

    Args:
        name: of the recipe.
        found: what `evaluation.json` holds.
        previous: the same of an earlier evaluation, to show beside it.
    """
    style, script = _text("style.css"), _text("sort.js")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    world = Environment(autoescape=True, undefined=StrictUndefined)
    world.filters["label"] = label
    return world.from_string(_text("evaluation.html.j2")).render(
        name=name,
        found=found,
        notes=[note for note in found["notes"] if note not in found["stages"].get("told", ())],
        previous=previous,
        verdicts=verdicts(found),
        pictures=pictures(found, previous),
        examples=found.get("examples"),
        tables=tables(found, previous),
        # Files of this folder, not text of the data.
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_hash=Markup(allowed),  # noqa: S704
    )


def _text(name: str) -> str:
    return _PLACE.joinpath(name).read_text("utf-8")
