"""Metrics of an experiment: which quantities of a user they divide, and which way is better."""

from dataclasses import dataclass

from pocketrec_bundle.errors import InputError
from pocketrec_experiments.statistics.effects import Ratio

PAST = "past_"

QUANTITIES = (
    "converted",
    "revenue",
    "requests",
    "impressions",
    "clicks",
    "sessions",
    "session_s",
    "slate_ms",
    "timed",
    "fallbacks",
    "failures",
)
"""Sums of a user's events on a day; "timed" is the number of requests that state their latency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric of the report.

    Attributes:
        name: key in JSON and in guardrails.
        title: for people.
        numerator: quantity.
        denominator: quantity; None: users.
        is_higher_better: False for latency, fallbacks and failures; None: neither is better.
        form: how a value is shown: "share", "number", "seconds" or "ms".
        has_past: whether the same quantities before the exposure serve as the covariate.
        is_guardrail: in the second table of the report.
    """

    name: str
    title: str
    numerator: str
    denominator: str | None = None
    is_higher_better: bool | None = True
    form: str = "number"
    has_past: bool = True
    is_guardrail: bool = False

    def ratio(self, *, cuped: bool) -> Ratio:
        """Return the quantities that the statistics use."""
        past = cuped and self.has_past
        return Ratio(
            numerator=self.numerator,
            denominator=self.denominator,
            past=PAST + self.numerator if past else None,
            past_denominator=PAST + self.denominator if past and self.denominator else None,
        )


METRICS = {
    each.name: each
    for each in (
        Metric(name="conversion", title="Conversion", numerator="converted", form="share"),
        Metric(
            name="ctr",
            title="Click-through rate",
            numerator="clicks",
            denominator="impressions",
            form="share",
        ),
        Metric(name="revenue", title="Revenue per user", numerator="revenue"),
        Metric(name="sessions", title="Sessions per user", numerator="sessions"),
        Metric(
            name="session_s",
            title="Session length",
            numerator="session_s",
            denominator="sessions",
            form="seconds",
        ),
        Metric(
            name="depth",
            title="Impressions per session",
            numerator="impressions",
            denominator="sessions",
        ),
        Metric(
            name="diversity",
            title="Distinct items per impression",
            numerator="distinct_items",
            denominator="impressions",
            form="share",
            has_past=False,
            is_higher_better=None,
        ),
        Metric(
            name="slate_ms",
            title="Slate latency",
            numerator="slate_ms",
            denominator="timed",
            is_higher_better=False,
            form="ms",
            is_guardrail=True,
        ),
        Metric(
            name="fallback_share",
            title="Fallback share",
            numerator="fallbacks",
            denominator="requests",
            is_higher_better=False,
            form="share",
            is_guardrail=True,
        ),
        Metric(
            name="failures",
            title="Requests with a fault",
            numerator="failures",
            denominator="requests",
            is_higher_better=False,
            form="share",
            is_guardrail=True,
        ),
    )
}

DECIDING = tuple(name for name, each in METRICS.items() if each.numerator in QUANTITIES)
"""Metrics that have daily looks, so that a verdict or a guardrail can use them."""


def metric_of(name: str) -> Metric:
    """Return a metric that can decide.

    Raises:
        InputError: there is no such metric, or it has no daily looks.
    """
    if name not in DECIDING:
        raise InputError(f"metric {name!r}: expected one of {', '.join(DECIDING)}.")
    return METRICS[name]
