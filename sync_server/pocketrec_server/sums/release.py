"""Releases of sums: figures of an experiment's arms on one day, of at least k devices each.

A release is made once for a day (UTC) and stored. Asking again on that day returns the stored one,
so noise cannot be averaged out, and two releases of a day cannot be subtracted.

    {"format": "pocketrec-experiment-sums", "version": 1, "channel": ..., "experiment": ...,
     "salt": ..., "day": "2026-05-01", "at_utc": ..., "k": 50, "epsilon": null, "currency": "EUR",
     "other_currency_devices": 0, "revenue_cap": 120.0,
     "arms": {NAME: {"devices": 812, "metrics": {METRIC: sums}, "parts": {...},
                     "score_bins": [...], "latency_bins": [...]} or null}}

An arm with fewer than k devices is null. Parts (new and existing users) are shown only if both have
k devices, because the missing one would follow from the arm. Bins are merged until each number is
of k devices, see `histogram.py`. With noise there are no parts and no bins.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Engine, select

from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.statistics.device_rows import (
    Mask,
    Table,
    bounded,
    cleaned,
    metric_sums,
)
from pocketrec_experiments.statistics.metrics import PAST, QUANTITIES
from pocketrec_experiments.statistics.noise import LIMITS, noisy
from pocketrec_server.events.export import day_name
from pocketrec_server.storage.database import dialect_of, writing
from pocketrec_server.storage.tables import EXPERIMENT_SUMS, SUMS_RELEASE
from pocketrec_server.sums.histogram import merged

FORMAT, VERSION = "pocketrec-experiment-sums", 1
LEAST_K = 50
"""Smallest number of devices that a figure may be of."""
_OF_CENTS = 100
_OF_US = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """An experiment under one salt, on a channel."""

    channel: str
    experiment: str
    salt: str


def runs(engine: Engine) -> list[Run]:
    """Return the experiments of which devices sent sums."""
    columns = EXPERIMENT_SUMS.c.channel, EXPERIMENT_SUMS.c.experiment, EXPERIMENT_SUMS.c.salt
    with engine.connect() as connection:
        rows = connection.execute(select(*columns).distinct().order_by(*columns))
        return [Run(channel=row[0], experiment=row[1], salt=row[2]) for row in rows]


def release(
    engine: Engine, run: Run, *, now: float, k: int = LEAST_K, epsilon: float | None = None
) -> dict[str, Any]:
    """Return the release of a run on the day of `now`; make and store it at the first call.

    Args:
        engine: the database.
        run: the experiment.
        now: current time, unix seconds.
        k: devices that an arm must have, at least `LEAST_K`.
        epsilon: of the noise, for each metric and day; None: no noise. Both are those of the first
            call if the day has a release.

    Raises:
        ValueError: k or epsilon is out of its range.
        SQLAlchemyError: the database failed.
    """
    if k < LEAST_K:
        raise ValueError(f"k is {k}; it must be at least {LEAST_K}.")
    if epsilon is not None and not (epsilon > 0 and math.isfinite(epsilon)):
        raise ValueError(f"epsilon is {epsilon}; it must be above 0.")
    day, table = int(now) // DAY_S, SUMS_RELEASE
    key = {"channel": run.channel, "experiment": run.experiment, "salt": run.salt, "day": day}
    with writing(engine) as connection:
        query = select(table.c.content).where(*(table.c[name] == key[name] for name in key))
        stored = connection.scalars(query).one_or_none()
        if stored is None:
            made = _made(connection, run, int(now), k, epsilon)
            stored = json.dumps(made, separators=(",", ":"))
            insert = dialect_of(connection).insert(table).on_conflict_do_nothing()
            connection.execute(insert, key | {"content": stored})
            stored = connection.scalars(query).one()  # another process may have been faster
    found: dict[str, Any] = json.loads(stored)
    return found


def stored_releases(engine: Engine) -> list[tuple[Run, int, str]]:
    """Return all stored releases with their day since 1970, oldest first, as JSON text."""
    c = SUMS_RELEASE.c
    query = select(c.channel, c.experiment, c.salt, c.day, c.content).order_by(c.day, c.experiment)
    with engine.connect() as connection:
        return [
            (Run(channel=row[0], experiment=row[1], salt=row[2]), int(row[3]), str(row[4]))
            for row in connection.execute(query)
        ]


def _made(
    connection: Connection, run: Run, now: int, k: int, epsilon: float | None
) -> dict[str, Any]:
    c = EXPERIMENT_SUMS.c
    query = select(c.arm, c.body).where(
        c.channel == run.channel, c.experiment == run.experiment, c.salt == run.salt
    )
    rows = [(row.arm, json.loads(row.body)) for row in connection.execute(query.order_by(c.id))]
    bodies = [body for _, body in rows]
    arms = np.array([arm for arm, _ in rows], dtype=object)
    currency = _main_currency(bodies)
    is_other = np.array([body["currency"] not in (None, currency) for body in bodies], dtype=bool)
    table = _table(bodies, is_other)
    sums = cleaned(table, _column(bodies, "sums", "busiest_day"))
    kept = sums.kept if epsilon is None else np.ones(len(rows), dtype=bool)
    used = sums.table if epsilon is None else bounded(table, LIMITS)
    rng = np.random.default_rng()
    shown: dict[str, Any] = {}
    for arm in sorted(set(arms)):
        mine = arms == arm
        if (mine & kept).sum() < k:
            shown[arm] = None
            continue
        if epsilon is None:
            shown[arm] = _arm(used, bodies, mine, mine & kept, k)
        else:
            parts = metric_sums(used, mine, with_past=False)
            metrics = {name: noisy(each, epsilon, rng).plain() for name, each in parts.items()}
            shown[arm] = {"devices": int(mine.sum()), "metrics": metrics}
    return {
        "format": FORMAT,
        "version": VERSION,
        "channel": run.channel,
        "experiment": run.experiment,
        "salt": run.salt,
        "day": day_name(now // DAY_S),
        "at_utc": now,
        "k": k,
        "epsilon": epsilon,
        "currency": currency,
        "other_currency_devices": int(is_other.sum()) if is_other.sum() >= k else 0,
        "revenue_cap": None if epsilon is not None else _rounded(sums.revenue_cap),
        "arms": shown,
    }


def _arm(
    table: Table, bodies: Sequence[dict[str, Any]], mine: Mask, kept: Mask, k: int
) -> dict[str, Any]:
    is_new = np.array([not _past_events(body) for body in bodies], dtype=bool)
    parts = {"new": kept & is_new, "existing": kept & ~is_new}
    if min(int(part.sum()) for part in parts.values()) < k:
        parts = {}
    seen = [body for body, is_kept in zip(bodies, kept, strict=True) if is_kept]
    return {
        "devices": int(mine.sum()),
        "metrics": _plain(table, kept),
        "parts": {name: _plain(table, part) for name, part in parts.items()},
        **{
            name: merged(np.array([body[name] for body in seen], dtype=np.int64), k)
            for name in ("score_bins", "latency_bins")
        },
    }


def _plain(table: Table, chosen: Mask) -> dict[str, Any]:
    return {name: sums.plain() for name, sums in metric_sums(table, chosen).items()}


def _table(bodies: Sequence[dict[str, Any]], is_other: Mask) -> Table:
    """Return the quantities of all devices; revenue in another currency counts as 0."""
    table: Table = {}
    for prefix, where in (("", "sums"), (PAST, "past")):
        for name in QUANTITIES:
            table[prefix + name] = _quantity(bodies, where, name)
        table[f"{prefix}revenue"] = np.where(is_other, 0.0, table[f"{prefix}revenue"])
    table["distinct_items"] = _column(bodies, "sums", "distinct_items")
    return table


def _quantity(bodies: Sequence[dict[str, Any]], where: str, name: str) -> npt.NDArray[np.float64]:
    if name == "converted":
        return (_column(bodies, where, "conversions") > 0).astype(np.float64)
    if name == "revenue":
        return _column(bodies, where, "revenue_cents") / _OF_CENTS
    if name == "slate_ms":
        return _column(bodies, where, "slate_us") / _OF_US
    return _column(bodies, where, name)


def _column(bodies: Sequence[dict[str, Any]], where: str, name: str) -> npt.NDArray[np.float64]:
    return np.array([body[where][name] for body in bodies], dtype=np.float64)


def _past_events(body: dict[str, Any]) -> int:
    return int(body["past"]["requests"] + body["past"]["interactions"])


def _main_currency(bodies: Sequence[dict[str, Any]]) -> str | None:
    counts: dict[str, int] = {}
    for body in bodies:
        if (name := body["currency"]) is not None:
            n = body["sums"]["conversions"] + body["past"]["conversions"]
            counts[name] = counts.get(name, 0) + n
    return min(counts, key=lambda name: (-counts[name], name)) if counts else None


def _rounded(value: float | None) -> float | None:
    """Return two digits: the cut is the revenue of one device."""
    return None if value is None else float(f"{value:.2g}")
