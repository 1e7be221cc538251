"""One currency for the revenue: amounts of different currencies are not added."""

from typing import Any

from pocketrec_experiments.analysis.settings import Settings
from pocketrec_experiments.analysis.tables import Events


def main_currency(events: Events, settings: Settings) -> tuple[str | None, dict[str, int]]:
    """Return the most frequent currency of conversions, and the number of those in others."""
    t = named_currencies(events.interactions, settings)
    bought = t.filter(t.event.isin(settings.conversions) & t.currency.notnull())
    counts: Any = bought.group_by("currency").aggregate(n=bought.count())
    rows = sorted(counts.to_pyarrow().to_pylist(), key=lambda row: (-row["n"], row["currency"]))
    if not rows:
        return None, {}
    return str(rows[0]["currency"]), {str(row["currency"]): int(row["n"]) for row in rows[1:]}


def named_currencies(interactions: Any, settings: Settings) -> Any:
    """Return interactions whose amounts have the settings' currency if they name none."""
    if settings.currency is None:
        return interactions
    return interactions.mutate(currency=interactions.currency.fill_null(settings.currency))
