"""From one row a device to the sums of each arm: bots left out, revenue cut.

The rules are those of the report on raw events (`analysis/totals.py`); a test compares both.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pocketrec_experiments.statistics.metrics import METRICS, PAST
from pocketrec_experiments.statistics.sums import Array, Sums

WINSORISE = 0.99
"""Quantile of the buyers' revenue above which a user's revenue is cut."""
BOT_EVENTS = 1000
"""A user with more events on one day is a bot, if also `BOT_RATIO` holds."""
BOT_RATIO = 10.0
"""Times the 99% quantile of the users' busiest days."""

Table = dict[str, Array]
"""A column of floats for each quantity; one place is one device."""
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """Devices without bots, their revenue cut.

    Attributes:
        table: the quantities of all devices; revenue is cut.
        kept: which devices are no bots.
        revenue_cap: revenue of a device is cut to this; None: nothing to cut.
    """

    table: Table
    kept: Mask
    revenue_cap: float | None


def cleaned(table: Table, busiest_day: Array) -> Cleaned:
    """Find bots and cut the revenue.

    Args:
        table: quantities of all devices.
        busiest_day: events of each device on its busiest day since the exposure.
    """
    active = busiest_day[busiest_day > 0]
    usual = float(np.quantile(active, 0.99)) if len(active) else 0.0
    kept = busiest_day <= max(float(BOT_EVENTS), BOT_RATIO * usual)
    cut = dict(table)
    caps = {name: _cap(table[name][kept]) for name in ("revenue", PAST + "revenue")}
    for name, cap in caps.items():
        if cap is not None:
            cut[name] = np.clip(table[name], -cap, cap)
    return Cleaned(table=cut, kept=kept, revenue_cap=caps["revenue"])


def metric_sums(table: Table, chosen: Mask, *, with_past: bool = True) -> dict[str, Sums]:
    """Return the sums of each metric of the report over the chosen devices."""
    made = {}
    for name, metric in METRICS.items():
        names = metric.ratio(cuped=with_past).quantities
        rows = np.column_stack([table[each][chosen] for each in names])
        made[name] = Sums.of_rows(names, rows)
    return made


def bounded(table: Table, limits: Mapping[str, float]) -> Table:
    """Return the quantities cut to fixed limits, on both sides of 0."""
    return {name: np.clip(table[name], -limit, limit) for name, limit in limits.items()}


def _cap(revenue: Array) -> float | None:
    """Return the revenue that the device below the highest (1 - quantile) of the buyers has."""
    buyers = np.sort(revenue[revenue > 0])[::-1]
    if len(buyers) < 2:
        return None
    return float(buyers[max(1, math.floor((1 - WINSORISE) * len(buyers) + 1e-9))])
