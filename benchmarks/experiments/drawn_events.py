"""Draw the export of an experiment: users with habits of their own, a truth that is known.

Each user has a rate of requests a day (gamma), a taste for clicking (beta) and for buying; both
stay from the days before the exposure to those after it, so the past explains some of what
follows. Written as `pocketrec events export` does: a folder a kind, a file a day.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pocketrec_bundle.units import DAY_S

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

K = 10
START_UTC = 1_767_225_600
"""1 January 2026."""
SALT = "0123456789abcdef0123456789abcdef"
EXPERIMENT = "drawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What to draw.

    Attributes:
        users: exposed users of all arms.
        arms: share by name, control first.
        days: of the experiment.
        past_days: before it.
        joining_days: users are exposed on the first so many days, evenly.
        requests_a_day: of a user, on average.
        click_rate: clicks per impression of control.
        buy_rate: purchases per click of control.
        click_lift: relative change of the click rate by arm.
        ms_factor: latency relative to control by arm.
        by_request: whether interactions name their request.
        seed: of all draws.
    """

    users: int = 1000
    arms: dict[str, float] = field(default_factory=lambda: {"control": 0.5, "treatment": 0.5})
    days: int = 14
    past_days: int = 7
    joining_days: int = 1
    requests_a_day: float = 1.0
    click_rate: float = 0.08
    buy_rate: float = 0.1
    click_lift: dict[str, float] = field(default_factory=dict)
    ms_factor: dict[str, float] = field(default_factory=dict)
    by_request: bool = True
    seed: int = 7


def write_events(folder: Path, drawn: Drawn) -> dict[str, int]:
    """Write the export; return the number of rows of each kind."""
    rng = np.random.default_rng(drawn.seed)
    people = _People(drawn, rng)
    counts = dict.fromkeys(("requests", "impressions", "interactions", "exposures"), 0)
    for day in range(-drawn.past_days, drawn.days):
        tables = _day(people, drawn, day, rng)
        for kind, table in tables.items():
            if len(table):
                name = str(np.datetime64(START_UTC // DAY_S + day, "D"))
                path = folder / kind / f"day={name}" / "events.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(table, path, compression="zstd")
                counts[kind] += len(table)
    return counts


class _People:
    def __init__(self, drawn: Drawn, rng: np.random.Generator) -> None:
        n = drawn.users
        names = list(drawn.arms)
        self.ids = pa.array(
            [hashlib.md5(f"{drawn.seed}/{i}".encode()).hexdigest() for i in range(n)]  # noqa: S324
        )
        self.arm = rng.choice(len(names), size=n, p=list(drawn.arms.values()))
        self.arms = pa.array(names).take(pa.array(self.arm))
        joined = rng.integers(0, drawn.joining_days, n)
        self.exposed = START_UTC + joined * DAY_S + rng.integers(0, DAY_S // 2, n)
        self.rate = rng.gamma(2.0, drawn.requests_a_day / 2.0, n)
        lift = np.array([1 + drawn.click_lift.get(name, 0.0) for name in names])
        taste = rng.beta(4.0, 4.0 / drawn.click_rate - 4.0, n)
        self.click = taste
        self.lifted = np.minimum(taste * lift[self.arm], 1.0)
        self.buy = rng.beta(2.0, 2.0 / drawn.buy_rate - 2.0, n)
        self.ms = rng.lognormal(3.0, 0.5, n)
        self.ms_after = (
            self.ms * np.array([drawn.ms_factor.get(name, 1.0) for name in names])[self.arm]
        )


def _day(people: _People, drawn: Drawn, day: int, rng: np.random.Generator) -> dict[str, pa.Table]:
    start = START_UTC + day * DAY_S
    n = rng.poisson(people.rate)
    user = np.repeat(np.arange(len(n)), n)  # [requests]
    ts = np.sort(start + rng.integers(0, DAY_S, len(user)))
    rng.shuffle(user)
    after = ts >= people.exposed[user]
    # The request that comes with the exposure.
    fresh = np.flatnonzero((people.exposed >= start) & (people.exposed < start + DAY_S))
    user = np.concatenate([user, fresh])
    ts = np.concatenate([ts, people.exposed[fresh]])
    after = np.concatenate([after, np.ones(len(fresh), dtype=bool)])
    request = _ids(f"r{day}-", len(user))
    session = _named(people.ids, user, f"-{day}")
    requests = pa.table(
        {
            "request_id": request,
            "user_id": people.ids.take(pa.array(user)),
            "ts": ts,
            "release": pa.array(["0123456789abcdef"] * len(user)),
            "scene": pa.array(["home"] * len(user)),
            "source": _sources(len(user), rng),
            "k": np.full(len(user), K),
            "ms": np.where(after, people.ms_after[user], people.ms[user])
            * rng.lognormal(0.0, 0.3, len(user)),
            "session_id": session,
        }
    )
    shown = np.repeat(np.arange(len(user)), K)  # [impressions]
    item = rng.zipf(1.3, len(shown)) % 20_000
    items = pa.array(item.astype(str))
    place = np.tile(np.arange(1, K + 1), len(user))
    rate = np.where(after[shown], people.lifted[user[shown]], people.click[user[shown]])
    clicked = np.flatnonzero(rng.random(len(shown)) < rate)
    bought = clicked[rng.random(len(clicked)) < people.buy[user[shown[clicked]]]]
    impressions = pa.table(
        {
            "user_id": people.ids.take(pa.array(user[shown])),
            "request_id": request.take(pa.array(shown)),
            "place": place,
            "item_id": items,
            "ts": ts[shown],
            "propensity": np.ones(len(shown)),
        }
    )
    acted = np.concatenate([clicked, bought])
    events = ["click"] * len(clicked) + ["purchase"] * len(bought)
    value = np.concatenate([np.full(len(clicked), np.nan), rng.lognormal(3.0, 0.8, len(bought))])
    whose = request.take(pa.array(shown[acted]))
    interactions = pa.table(
        {
            "user_id": people.ids.take(pa.array(user[shown[acted]])),
            "item_id": items.take(pa.array(acted)),
            "ts": ts[shown[acted]]
            + np.concatenate([np.full(len(clicked), 20), np.full(len(bought), 90)]),
            "event": pa.array(events, pa.string()),
            "value": pa.array(value, mask=np.isnan(value)),
            "currency": pa.array(["GBP" if v else None for v in ~np.isnan(value)], pa.string()),
            "request_id": whose if drawn.by_request else pa.nulls(len(acted), pa.string()),
            "session_id": session.take(pa.array(shown[acted])),
        }
    )
    exposures = pa.table(
        {
            "user_id": people.ids.take(pa.array(fresh)),
            "experiment": pa.array([EXPERIMENT] * len(fresh), pa.string()),
            "arm": people.arms.take(pa.array(fresh)),
            "salt": pa.array([SALT[:8]] * len(fresh), pa.string()),
            "forced": np.zeros(len(fresh), dtype=bool),
            "ts": people.exposed[fresh],
        }
    )
    return {
        "requests": requests,
        "impressions": impressions,
        "interactions": interactions,
        "exposures": exposures,
    }


def _ids(prefix: str, n: int) -> pa.Array:
    return pa.array(np.char.add(prefix, np.char.zfill(np.arange(n).astype(str), 16)))


def _named(ids: pa.Array, user: Ints, suffix: str) -> pa.Array:
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(
        pc.utf8_slice_codeunits(ids.take(pa.array(user)), 0, 10), suffix, ""
    )


def _sources(n: int, rng: np.random.Generator) -> pa.Array:
    return pa.array(["model", "fallback"]).take(pa.array((rng.random(n) < 0.02).astype(int)))
