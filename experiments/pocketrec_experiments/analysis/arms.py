"""Figures of each arm that need no test: users, events, items, latency."""

from dataclasses import dataclass
from typing import Any

from pocketrec_experiments.analysis.design import Design


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmFigures:
    """What happened in an arm; bots are left out.

    Attributes:
        name: of the arm.
        share: planned.
        exposed: users with an exposure, bots included; the sample ratio is tested on these.
        users: users that are analysed.
        requests: slates.
        impressions: items shown.
        clicks: impressions with a click.
        sessions: app sessions that began in the arm.
        buyers: users with a conversion.
        revenue: of all users, after the cut.
        items: different items shown to anyone in the arm; None: not known (sums).
        p95_ms: 95% quantile of a slate's latency; None without any.
    """

    name: str
    share: float
    exposed: int
    users: int
    requests: int
    impressions: int
    clicks: int
    sessions: int
    buyers: int
    revenue: float
    items: int | None
    p95_ms: float | None


def arm_figures(
    connection: Any, users: Any, requests: Any, design: Design, end_utc: int
) -> list[ArmFigures]:
    """Return the figures of all planned arms, also of those without users."""
    exposed = _by_arm(users.group_by("arm").aggregate(exposed=users.count()))
    t = connection.table("totals_full")
    names = ("requests", "impressions", "clicks", "sessions", "revenue")
    sums = _by_arm(
        t.group_by("arm").aggregate(
            users=t.count(), buyers=t.converted.sum(), **{name: t[name].sum() for name in names}
        )
    )
    shown = connection.table("shown_items")
    items = _by_arm(shown.group_by("arm").aggregate(items=shown.item.nunique()))
    kept = connection.table("kept_users").select("user_id", "arm", "exposed")
    r = requests.filter(requests.ms.notnull()).inner_join(kept, "user_id")
    r = r.filter((r.ts >= r.exposed) & (r.ts < end_utc))
    slow = _by_arm(r.group_by("arm").aggregate(p95=r.ms.quantile(0.95)))
    made = []
    for name, share in design.arms.items():
        row = {**sums.get(name, {}), **items.get(name, {}), **exposed.get(name, {})}
        counts = ("requests", "impressions", "clicks", "sessions", "buyers", "users", "items")
        made.append(
            ArmFigures(
                name=name,
                share=share,
                exposed=int(row.get("exposed") or 0),
                revenue=float(row.get("revenue") or 0.0),
                p95_ms=slow.get(name, {}).get("p95"),
                **{key: round(float(row.get(key) or 0)) for key in counts},
            )
        )
    return made


def _by_arm(table: Any) -> dict[str, dict[str, Any]]:
    return {str(row["arm"]): row for row in table.to_pyarrow().to_pylist()}
