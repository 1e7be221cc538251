"""Bots: users with far more events on one day than nearly all others have on their busiest day."""

from typing import Any

from pocketrec_experiments.analysis.settings import Settings

QUANTILE = 0.99
"""Of all users' busiest days; `Settings.bot_ratio` multiplies it."""


def bots_of(busy: Any, user: str, settings: Settings) -> tuple[Any, float]:
    """Return a table of the users that are bots, and the events on one day above which one is.

    Args:
        busy: a row a user and day, with `n`, the number of events.
        user: name of the user's column.
        settings: a bot has more than `bot_events` events on a day, and more than `bot_ratio` times
            the 99% quantile of all users' busiest days.
    """
    peaks = busy.group_by(user).aggregate(peak=busy.n.max())
    row = peaks.aggregate(usual=peaks.peak.quantile(QUANTILE)).to_pyarrow().to_pylist()[0]
    limit = max(float(settings.bot_events), settings.bot_ratio * float(row["usual"] or 0.0))
    return peaks.filter(peaks.peak > limit).select(user), limit
