"""One row a user: what the user did in the arm and before it; bots and outliers handled."""

import math
import sys
from dataclasses import dataclass
from typing import Any

import ibis

from pocketrec_experiments.analysis.activity import PAST_DAY
from pocketrec_experiments.analysis.bots import bots_of
from pocketrec_experiments.analysis.population import Population
from pocketrec_experiments.analysis.settings import Settings
from pocketrec_experiments.statistics.metrics import PAST, QUANTITIES

LARGE_SHARE = 0.2
"""A user with more of the revenue than this is mentioned in the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outliers:
    """What was left out or cut.

    Attributes:
        bots: users left out, by arm.
        bot_limit: events on one day from which a user is a bot.
        revenue_cap: revenue of a user is cut to this; None: nothing to cut.
        past_cap: the same before the exposure.
        cut_users: users whose revenue was cut.
        largest_share: of all revenue, from one user, before the cut.
        cut_share: of all revenue that the cut removed.
    """

    bots: dict[str, int]
    bot_limit: float
    revenue_cap: float | None
    past_cap: float | None
    cut_users: int
    largest_share: float
    cut_share: float


def user_totals(connection: Any, found: Population, settings: Settings) -> Outliers:
    """Create `kept_users`, `kept_days` and `totals` (a row a user, also without any event).

    Bots: see `bots_of`, over the days since exposure. Revenue: at least the user with the most is
    cut, to the next one.
    """
    days = connection.table("user_days")
    busy = (
        days.filter(days.day != PAST_DAY).group_by("user", "day").aggregate(n=days.n_events.sum())
    )
    bots, limit = bots_of(busy, "user", settings)
    connection.create_table("bots", bots, temp=True, overwrite=True)
    bots = connection.table("bots")
    flagged = found.users.semi_join(bots, "user").group_by("arm").aggregate(n=ibis._.count())
    by_arm = {str(row["arm"]): int(row["n"]) for row in flagged.to_pyarrow().to_pylist()}
    users = found.users.anti_join(bots, "user")
    connection.create_table("kept_users", users, temp=True, overwrite=True)
    connection.create_table("kept_days", days.anti_join(bots, "user"), temp=True, overwrite=True)
    sums = _sums(connection)
    connection.create_table("raw_totals", sums, temp=True, overwrite=True)
    raw = connection.table("raw_totals")
    cap, past_cap = (_cap(raw, name, settings) for name in ("revenue", PAST + "revenue"))
    connection.create_table(
        "totals",
        raw.mutate(
            revenue=_cut(raw.revenue, cap),
            **{PAST + "revenue": _cut(raw[PAST + "revenue"], past_cap)},
        ),
        temp=True,
        overwrite=True,
    )
    return _told(connection, by_arm, limit, cap, past_cap)


def _sums(connection: Any) -> Any:
    days, users = connection.table("kept_days"), connection.table("kept_users")
    then = days.day == PAST_DAY
    sources = {name: name for name in QUANTITIES if name != "converted"}
    summed = days.group_by("user").aggregate(
        **{name: days[of].sum(where=~then) for name, of in sources.items()},
        **{PAST + name: days[of].sum(where=then) for name, of in sources.items()},
        bought=days.conversions.sum(where=~then),
        past_bought=days.conversions.sum(where=then),
        past_events=days.n_events.sum(where=then),
    )
    joined = users.left_join(summed, "user")
    figures = {
        name: joined[name].fill_null(0.0) for name in [*sources, *(PAST + name for name in sources)]
    }
    return joined.select(
        *users.columns,
        converted=(joined.bought.fill_null(0.0) > 0).cast("float64"),
        **{PAST + "converted": (joined.past_bought.fill_null(0.0) > 0).cast("float64")},
        is_new=joined.past_events.fill_null(0.0) == 0,
        **figures,
    )


def _cap(raw: Any, name: str, settings: Settings) -> float | None:
    """Return the revenue that the user below the highest (1 - quantile) of the buyers has."""
    value = raw[name]
    buyers = raw.filter(value > 0)
    n = int(buyers.count().to_pyarrow().as_py())
    if n < 2 or settings.winsorise >= 1:
        return None
    cut = max(1, math.floor((1 - settings.winsorise) * n + 1e-9))
    row = buyers.order_by(ibis.desc(name)).limit(1, offset=cut).select(name)
    return float(row.to_pyarrow().to_pylist()[0][name])


def _cut(value: Any, cap: float | None) -> Any:
    return value if cap is None else ibis.least(ibis.greatest(value, -cap), cap)


def _told(
    connection: Any, bots: dict[str, int], limit: float, cap: float | None, past: float | None
) -> Outliers:
    raw = connection.table("raw_totals")
    over = raw.revenue > (sys.float_info.max if cap is None else cap)
    cut = raw.revenue - (cap or 0.0)
    row = (
        raw.aggregate(
            total=raw.revenue.sum(), most=raw.revenue.max(), n=over.sum(), gone=cut.sum(where=over)
        )
        .to_pyarrow()
        .to_pylist()[0]
    )
    total = float(row["total"] or 0.0)
    return Outliers(
        bots=bots,
        bot_limit=limit,
        revenue_cap=cap,
        past_cap=past,
        cut_users=int(row["n"] or 0),
        largest_share=float(row["most"] or 0.0) / total if total > 0 else 0.0,
        cut_share=float(row["gone"] or 0.0) / total if total > 0 else 0.0,
    )


def add_diversity(connection: Any, impressions: Any, end_utc: int) -> Any:
    """Return the totals with `distinct_items`: different items shown to each user in the arm.

    Items are compared by a 64-bit hash: among 10 million pairs a collision changes nothing visible.
    """
    totals = connection.table("totals")
    users = connection.table("kept_users").select("user_id", "user", "arm", "exposed")
    shown = impressions.inner_join(users, "user_id")
    inside = shown.filter((shown.ts >= shown.exposed) & (shown.ts < end_utc))
    each = inside.select("user", "arm", item=inside.item_id.hash()).distinct()
    connection.create_table("shown_items", each, temp=True, overwrite=True)
    each = connection.table("shown_items")
    counted = each.group_by("user").aggregate(distinct_items=each.count())
    joined = totals.left_join(counted, "user")
    connection.create_table(
        "totals_full",
        joined.select(
            *totals.columns, distinct_items=joined.distinct_items.fill_null(0).cast("float64")
        ),
        temp=True,
        overwrite=True,
    )
    return connection.table("totals_full")
