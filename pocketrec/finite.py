"""A range of numbers as the type of an option."""

import math
from typing import Any

import click


class Finite(click.FloatRange):
    """A range that has neither NaN nor an infinity, both of which pass click's."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is no finite number.", param, ctx)
        return found
