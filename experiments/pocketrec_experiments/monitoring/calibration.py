"""Calibration in the field: click share by tenth of the score."""

import math
from dataclasses import dataclass
from typing import Any

import ibis

BINS = 10
FEWEST = 200
"""Minimum number of impressions for a calibration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenth:
    """Impressions with similar scores.

    Attributes:
        impressions: number of impressions.
        score: their mean score.
        clicks: how many of them were clicked.
        click_share: clicks / impressions.
    """

    impressions: int
    score: float
    clicks: int
    click_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Click share by tenth of the score, lowest scores first.

    Attributes:
        release: whose scores they are.
        tenths: at most ten.
        error: mean difference of score and click share over impressions (expected calibration
            error); None if scores are not probabilities of the same event, i.e. not all in 0..1.
        lift: click share of the highest tenth / click share of the lowest; None without clicks
            there. Above 1 means that scores order items as users do.
    """

    release: str
    tenths: tuple[Tenth, ...]
    error: float | None
    lift: float | None

    def by_chance(self) -> float:
        """Return the error that calibrated scores have on average at this number of impressions.

        A share of n clicks differs by sqrt(2 p (1 - p) / (pi n)) on average (normal approximation).
        """
        total = sum(each.impressions for each in self.tenths)
        off = (
            each.impressions * math.sqrt(2 * p * (1 - p) / (math.pi * each.impressions))
            for each in self.tenths
            for p in [min(1.0, max(0.0, each.score))]
        )
        return sum(off) / max(1, total)


def calibration(clicked: Any, release: str) -> Calibration | None:
    """Compute the calibration of a release; None with fewer than `FEWEST` impressions.

    Only slates of the model count. Sponsored items are left out, because a campaign chose them.

    Args:
        clicked: impressions with `clicked`.
        release: label of the release.
    """
    t = clicked.filter(
        (clicked.release == release)
        & (clicked.source == "model")
        & clicked.sponsored.isnull()
        & clicked.score.notnull()
    )
    ranked = t.mutate(tenth=ibis.ntile(BINS).over(ibis.window(order_by=t.score)))
    sums = ranked.group_by("tenth").aggregate(
        impressions=ranked.count(),
        score=ranked.score.mean(),
        lowest=ranked.score.min(),
        highest=ranked.score.max(),
        clicks=ranked.clicked.sum(),
    )
    rows = sums.order_by("tenth").to_pyarrow().to_pylist()
    total = sum(row["impressions"] for row in rows)
    if total < FEWEST:
        return None
    tenths = tuple(
        Tenth(
            impressions=row["impressions"],
            score=row["score"],
            clicks=row["clicks"],
            click_share=row["clicks"] / row["impressions"],
        )
        for row in rows
    )
    is_probability = all(row["lowest"] >= 0 and row["highest"] <= 1 for row in rows)
    off = sum(each.impressions * abs(each.score - each.click_share) for each in tenths)
    low, high = tenths[0].click_share, tenths[-1].click_share
    return Calibration(
        release=release,
        tenths=tenths,
        error=off / total if is_probability else None,
        lift=high / low if low else None,
    )
