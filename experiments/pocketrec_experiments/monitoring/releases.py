"""Figures of each release: slates by source, latency, faults, and items shown."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import ibis

from pocketrec_experiments.monitoring.windowed import Windowed

FALLBACKS = ("fallback", "none")
"""Sources without a model."""
MOST_CODES = 30
"""Fault codes with a count, the most frequent ones; devices can report any text."""
_QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFigures:
    """Figures of one release in the window.

    Attributes:
        release: first 16 digits of the manifest's hash; "unknown" for old clients.
        name: of the release; None if no repository was given, or it does not know the release.
        channels: channels of the repository that have the release now.
        users: users with a slate of it.
        installed_share: share of the users, by their last slate, 0..1.
        slates: number of slates.
        sources: slates by source.
        latency_ms: p50, p95, p99 of the time to a slate; empty without reported times.
        faults: slates with each fault, by code.
        impressions: items shown.
        clicks: impressions with an interaction, see `clicks.py`.
        items: different items shown.
        coverage: `items` as a share of the catalogue; None if it is another release's catalogue.
        data_age_s: seconds from the newest training event to the end of the window; None: unknown.
    """

    release: str
    name: str | None = None
    channels: tuple[str, ...] = ()
    users: int = 0
    installed_share: float = 0.0
    slates: int = 0
    sources: dict[str, int] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    impressions: int = 0
    clicks: int = 0
    items: int = 0
    coverage: float | None = None
    data_age_s: int | None = None

    @property
    def fallback_share(self) -> float | None:
        """Slates without a model as a share of all; None without slates."""
        if not self.slates:
            return None
        return sum(self.sources.get(source, 0) for source in FALLBACKS) / self.slates

    @property
    def click_share(self) -> float | None:
        """Share of impressions with an interaction (click-through rate); None without any."""
        return self.clicks / self.impressions if self.impressions else None


def counted(events: Windowed, clicked: Any) -> dict[str, dict[str, Any]]:
    """Compute the figures that come from events: release -> arguments of `ReleaseFigures`.

    Args:
        events: of the window.
        clicked: impressions with the column `clicked`, see `clicks.clicked_impressions`.
    """
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    t = events.requests
    times = t.filter(t.ms.notnull() & (t.ms >= 0))
    quantiles = {name: times.ms.quantile(q) for name, q in _QUANTILES}
    for row in _rows(t.group_by("release").aggregate(users=t.user_id.nunique(), slates=t.count())):
        found[row.pop("release")] |= row
    for row in _rows(t.group_by("release", "source").aggregate(n=t.count())):
        found[row["release"]].setdefault("sources", {})[row["source"]] = row["n"]
    for row in _rows(times.group_by("release").aggregate(**quantiles)):
        found[row.pop("release")]["latency_ms"] = row
    codes = t.select("release", code=t.faults.unnest())
    by_code = codes.group_by("release", "code").aggregate(n=codes.count())
    place = ibis.row_number().over(
        ibis.window(group_by="release", order_by=[ibis.desc("n"), "code"])
    )
    most = by_code.mutate(place=place).filter(ibis._.place < MOST_CODES)
    for row in _rows(most):
        found[row["release"]].setdefault("faults", {})[row["code"]] = row["n"]
    shown = clicked.group_by("release").aggregate(
        impressions=clicked.count(), clicks=clicked.clicked.sum(), items=clicked.item_id.nunique()
    )
    for row in _rows(shown):
        found[row.pop("release")] |= row
    return dict(found)


def _rows(table: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.to_pyarrow().to_pylist()
    return rows
