"""CUPED: how far the interval of the report is from sqrt(1 - rho^2) of the interval without it."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.experiments.drawn_events import EXPERIMENT, SALT
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis import Design, ExperimentReport, Settings, experiment_report
from pocketrec_experiments.analysis.compare.fixed import Outcome
from pocketrec_experiments.statistics import Ratio, Sums, effect

USERS = 20_000
FILE = "online_retail_ii/online_retail_2009_2010.parquet"
STARTS = ("2010-05-31", "2010-08-30", "2010-11-01")
"""Mondays; the weeks before are the past, those after the experiment."""
WEEKS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """Width of the interval with CUPED / width without, measured and expected.

    Attributes:
        source: of the users.
        users: of both arms.
        rho: correlation of the metric with the past.
        ratio: of the widths.
        expected: sqrt(1 - rho^2).
    """

    source: str
    users: int
    rho: float
    ratio: float
    expected: float

    @property
    def error(self) -> float:
        """Relative error."""
        return abs(self.ratio / self.expected - 1)


def drawn(rho: float, seed: int, users: int = USERS) -> Narrowing:
    """Draw users whose metric correlates with their past by rho; compare from sums."""
    rng = np.random.default_rng(seed)
    past = rng.normal(size=users)
    now = rho * past + math.sqrt(1 - rho**2) * rng.normal(size=users)
    rows = np.stack([10 + now, 10 + past], axis=1)
    half = users // 2
    names = ("now", "past")
    one, two = Sums.of_rows(names, rows[:half]), Sums.of_rows(names, rows[half:])
    plain = effect(one, two, Ratio(numerator="now"))
    cuped = effect(one, two, Ratio(numerator="now", past="past"))
    return Narrowing(
        source=f"drawn, rho {rho}",
        users=users,
        rho=rho,
        ratio=cuped.se / plain.se,
        expected=math.sqrt(1 - rho**2),
    )


def retail(data: Path, folder: Path, start: str, seed: int) -> Narrowing:
    """Report an A/A test on customers of Online Retail II, with and without their past.

    Customers are those with a purchase in the weeks before `start`. rho is computed in pandas from
    the same winsorised revenue.
    """
    lines = pd.read_parquet(data / FILE)
    lines = lines.rename(columns={name: name.lower().replace(" ", "_") for name in lines.columns})
    begins = int(pd.Timestamp(start).timestamp())
    bought = _purchases(lines)
    window = WEEKS * 7 * DAY_S
    inside = bought[bought["ts"].between(begins - window, begins + window - 1)]
    known = inside.loc[inside["ts"] < begins, "user_id"].unique()
    inside = inside[inside["user_id"].isin(known)]
    arms = np.random.default_rng(seed).integers(0, 2, len(known))
    events = folder / start
    _write(events, inside, known, arms, begins)
    found = [_report(events, begins, days) for days in (WEEKS * 7, 0)]
    widths = [look.high - look.low for look in map(_revenue, found)]
    totals = [
        inside[inside["ts"] < begins].groupby("user_id")["value"].sum(),
        inside[inside["ts"] >= begins].groupby("user_id")["value"].sum(),
    ]
    past, now = (_winsorised(each.reindex(known).fillna(0.0)) for each in totals)
    rho = float(np.corrcoef(past, now)[0, 1])
    return Narrowing(
        source=f"Online Retail II, weeks from {start}",
        users=len(known),
        rho=rho,
        ratio=widths[0] / widths[1],
        expected=math.sqrt(1 - rho**2),
    )


def _purchases(lines: pd.DataFrame) -> pd.DataFrame:
    names = {
        "customer_id": "user_id",
        "stockcode": "item_id",
        "invoicedate": "ts",
        "price": "price",
    }
    renamed = lines.rename(columns={k: v for k, v in names.items() if k in lines.columns})
    kept = renamed[renamed["user_id"].notna() & (renamed["quantity"] > 0) & (renamed["price"] > 0)]
    ts = pd.to_datetime(kept["ts"]).astype("datetime64[s]").astype("int64")
    ids = kept["user_id"].astype(str)
    return pd.DataFrame(
        {
            "user_id": [hashlib.sha256(each.encode()).hexdigest()[:32] for each in ids],
            "item_id": kept["item_id"].astype(str).to_numpy(),
            "ts": ts.to_numpy(),
            "value": (kept["quantity"] * kept["price"]).astype("float64").to_numpy(),
        }
    )


def _write(folder: Path, bought: pd.DataFrame, known: Any, arms: Any, begins: int) -> None:
    interactions = pa.Table.from_pandas(bought.assign(event="purchase"), preserve_index=False)
    names = np.array(["control", "treatment"])
    exposures = pa.table(
        {
            "user_id": pa.array(known, pa.string()),
            "experiment": [EXPERIMENT] * len(known),
            "arm": names[arms],
            "salt": [SALT[:8]] * len(known),
            "forced": [False] * len(known),
            "ts": np.full(len(known), begins),
        }
    )
    for kind, table in (("interactions", interactions), ("exposures", exposures)):
        path = folder / kind / "day=all" / "events.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)


def _report(events: Path, begins: int, past_days: int) -> ExperimentReport:
    design = Design(
        id=EXPERIMENT,
        salt=SALT,
        arms={"control": 0.5, "treatment": 0.5},
        from_utc=begins,
        until_utc=begins + WEEKS * 7 * DAY_S,
    )
    settings = Settings(metric="revenue", past_days=past_days)
    return experiment_report(design=design, events=events, settings=settings)


def _revenue(report: ExperimentReport) -> Outcome:
    return next(o for o in report.comparisons[0].outcomes if o.metric == "revenue")


def _winsorised(values: pd.Series) -> pd.Series:
    """Cut as the report does: the highest 1% of those who bought."""
    buyers = values[values > 0].sort_values(ascending=False)
    return values.clip(upper=buyers.iloc[max(1, math.floor(0.01 * len(buyers) + 1e-9))])
