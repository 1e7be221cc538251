"""What the events mean, and the rules of the analysis."""

from dataclasses import dataclass

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.experiment_sums import CLICK_WINDOW_S, CONVERSIONS, PAST_DAYS
from pocketrec_experiments.statistics.device_rows import BOT_EVENTS, BOT_RATIO, WINSORISE


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Rules of a report. The defaults are stated in each report.

    Attributes:
        metric: the metric that decides; all others inform.
        conversions: events that count as a conversion; their value is revenue.
        currency: of amounts that name none; None: of the most frequent currency.
        clicks: events that count as a click on an impression; empty: all interactions.
        alpha: error rate of the verdict over all looks and arms.
        winsorise: quantile of the buyers' revenue above which a user's revenue is cut.
        window_s: seconds from an impression to a click or purchase that it may explain.
        past_days: days before the exposure that CUPED uses.
        bot_events: a user with more events on one day is a bot, if also `bot_ratio` holds.
        bot_ratio: times the 99% quantile of the users' busiest days.
        least_users: users of an arm below which there is no verdict.
        threads: threads of DuckDB.
        memory_mb: memory of DuckDB; beyond, it spills to disk.
    """

    metric: str = "conversion"
    conversions: tuple[str, ...] = CONVERSIONS
    currency: str | None = None
    clicks: tuple[str, ...] = ()
    alpha: float = 0.05
    winsorise: float = WINSORISE
    window_s: int = CLICK_WINDOW_S
    past_days: int = PAST_DAYS
    bot_events: int = BOT_EVENTS
    bot_ratio: float = BOT_RATIO
    least_users: int = 100
    threads: int = 2
    memory_mb: int = 2500

    def check(self) -> None:
        """Refuse settings out of their range.

        Raises:
            InputError: names the setting.
        """
        ranges = {
            "conversions": bool(self.conversions),
            "alpha": 0 < self.alpha < 1,
            "winsorise": 0.5 <= self.winsorise <= 1,
            "window_s": self.window_s > 0,
            "past_days": 0 <= self.past_days <= 366,
            "bot_events": self.bot_events > 0,
            "bot_ratio": self.bot_ratio >= 1,
            "least_users": self.least_users >= 2,
        }
        for name, holds in ranges.items():
            if not holds:
                raise InputError(
                    f"experiment report: {name} is {getattr(self, name)}, out of its range."
                )
