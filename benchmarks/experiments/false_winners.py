"""A/A tests: how many experiments without a difference find a winner on any of their days."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.experiments.drawn_events import EXPERIMENT, SALT, START_UTC, Drawn, write_events
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis import Design, Settings, experiment_report
from pocketrec_experiments.statistics import Ratio, Sums, effect, sequential_bounds

DAYS = 28
ALPHA = 0.05
JOINING = 200
"""Users that join an arm each day."""
RATE = 0.1
NAMES = {"conversion": "converted", "revenue": "revenue"}

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Winners:
    """Share of A/A tests with a winner, by how they are looked at.

    Attributes:
        tests: number of experiments.
        bounds: daily looks with the sequential bounds.
        naive: daily looks at p < .05.
        once: one look at the end, p < .05.
    """

    tests: int
    bounds: float
    naive: float
    once: float


def on_sums(tests: int, metric: str, seed: int) -> Winners:
    """Simulate experiments of 28 days from the sums of each day.

    Args:
        tests: number of experiments.
        metric: "conversion" (a tenth of the users) or "revenue" (log-normal, of those).
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    bounds = np.array(sequential_bounds([(day + 1) / DAYS for day in range(DAYS)], alpha=ALPHA).z)
    critical = 1.959964
    crossed = naive = once = 0
    for _ in range(tests):
        z = np.abs(_z(rng, metric))
        crossed += bool((z > bounds).any())
        naive += bool((z > critical).any())
        once += bool(z[-1] > critical)
    return Winners(tests=tests, bounds=crossed / tests, naive=naive / tests, once=once / tests)


def _z(rng: np.random.Generator, metric: str) -> Floats:
    """Test statistics of the days of one experiment, by the project's own function."""
    name = NAMES[metric]
    ratio = Ratio(numerator=name)
    arms = [_arm(rng, metric) for _ in range(2)]
    found = np.zeros(DAYS)
    for day in range(DAYS):
        sums = [
            Sums(
                names=(name,),
                n=JOINING * (day + 1),
                totals=totals[day : day + 1],
                products=squares[day].reshape(1, 1),
            )
            for totals, squares in arms
        ]
        found[day] = effect(sums[0], sums[1], ratio).z
    return found


def _arm(rng: np.random.Generator, metric: str) -> tuple[Floats, Floats]:
    """Sums and sums of squares at the end of each day."""
    buyers = np.maximum(rng.binomial(JOINING, RATE, DAYS), 1)
    if metric == "conversion":
        values = np.ones(buyers.sum())
    else:
        values = rng.lognormal(3.0, 1.0, buyers.sum())
    starts = np.concatenate([[0], buyers.cumsum()[:-1]])
    totals = np.add.reduceat(values, starts).cumsum()
    squares = np.add.reduceat(values**2, starts).cumsum()
    return totals, squares


def through_events(tests: int, seed: int, *, users: int = 300, days: int = DAYS) -> float:
    """Share of A/A tests with a winner from Parquet files and the report's own code.

    The metric is conversion in half of the tests, the click-through rate in the others; clicks go
    on for all days, so their looks are of growing totals of the same users.
    """
    design = Design(
        id=EXPERIMENT,
        salt=SALT,
        arms={"control": 0.5, "treatment": 0.5},
        from_utc=START_UTC,
        until_utc=START_UTC + days * DAY_S,
    )
    winners = 0
    for at in range(tests):
        drawn = Drawn(
            users=users,
            days=days,
            past_days=7,
            joining_days=days // 2,
            requests_a_day=0.4,
            buy_rate=0.05,
            seed=seed + at,
        )
        metric = "conversion" if at % 2 else "ctr"
        with tempfile.TemporaryDirectory() as folder:
            write_events(Path(folder), drawn)
            settings = Settings(metric=metric, alpha=ALPHA, least_users=20)
            report = experiment_report(design=design, events=Path(folder), settings=settings)
        winners += any(look.is_crossed for look in report.comparisons[0].looks)
    return winners / tests
