"""Check off-policy estimates against known truths: simulated logs and Open Bandit Data.

Claim: the 95% intervals of the doubly robust estimate hold the truth in 93% to 97% of the simulated
logs (500, and 2,000 for the second target), and its error is at most that of inverse propensity
scoring (IPS). Peer: IPS and SNIPS on the same logs. Simulated logs: 500 users with 4 slates of 8
places, 20% explored with the device's own draw from 12 items; rewards are clicks. One target
changes items only (item-position assumption), one orders slate and pool freely (position-based
assumption, whose examination is known here). The truth is the mean over 100,000 other users. Open
Bandit Data (CC BY 4.0), small sample: from the 10,000 rows of the uniform random policy the click
rate of Bernoulli Thompson sampling (BTS) is estimated and compared with the rate of its own 10,000
rows; BTS's probabilities are its items' shares at each place. With 40 clicks a log this shows
agreement, not precision.
"""

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result
from benchmarks.support.off_policy import open_bandit
from benchmarks.support.off_policy.simulated_slates import Requests, World
from pocketrec_experiments.off_policy import (
    Estimate,
    LoggedSlates,
    SlatePolicy,
    WeightedLog,
    doubly_robust,
    effective_sample_size,
    ips,
    item_position,
    position_based,
    snips,
)

USERS, EACH = 500, 4
TRUTH_USERS = 100_000
ESTIMATORS: dict[str, Callable[[WeightedLog], Estimate]] = {
    "ips": ips,
    "snips": snips,
    "dr": doubly_robust,
}
LOGS = {"item-position": 500, "position-based": 2000}
"""Simulated logs by the target's assumption; 2,000 because a share of 500 is known to 1% only."""
SCENES = tuple(LOGS)

Row = dict[str, Cell]


def run(
    options: Options, logs: Mapping[str, int] = LOGS, users: int = USERS, each: int = EACH
) -> Result:
    rows: list[Row] = []
    for scene in SCENES:
        rows += simulated(scene, options.seed, logs[scene], users, each)
    folder = options.data or open_bandit.fetched()
    for campaign in open_bandit.CAMPAIGNS:
        rows += bandit(folder, campaign)
    show(rows)
    return Result(name="off-policy", seed=options.seed, rows=rows, figures=figures(rows))


def simulated(scene: str, seed: int, simulations: int, users: int, each: int) -> list[Row]:
    """Evaluate one target on many logs of one world; a row an estimator."""
    world = World(seed)
    many = world.requests(np.random.default_rng([seed, 1]), TRUTH_USERS, 1)
    truth, own = world.value(many, slates(world, many, scene)), many.order[:, : world.places]
    found: dict[str, list[Estimate]] = {name: [] for name in ESTIMATORS}
    sizes = []
    for number in range(simulations):
        log = weighted(world, scene, np.random.default_rng([seed, 2, number]), users, each)
        sizes.append(effective_sample_size(log))
        for name, estimate in ESTIMATORS.items():
            found[name].append(estimate(log))
    rows: list[Row] = [
        {
            "data": f"simulated, {scene}",
            "estimator": name,
            "truth": truth,
            "logged": world.value(many, own),
            "mean": float(np.mean([one.value for one in estimates])),
            "rmse": math.sqrt(float(np.mean([(one.value - truth) ** 2 for one in estimates]))),
            "coverage_95": float(np.mean([one.low <= truth <= one.high for one in estimates])),
            "width": float(np.mean([one.high - one.low for one in estimates])),
            "effective": float(np.mean(sizes)),
            "logs": simulations,
        }
        for name, estimates in found.items()
    ]
    return rows


def slates(world: World, requests: Requests, scene: str) -> np.ndarray:
    return (world.swapped if scene == SCENES[0] else world.sorted_anew)(requests)


def weighted(
    world: World, scene: str, rng: np.random.Generator, users: int, each: int
) -> WeightedLog:
    """Draw one log and weight it."""
    by_place = scene == SCENES[0]
    requests = world.requests(rng, users, each)
    log = world.log(requests, rng, by_place=by_place)
    target = world.policy(requests, slates(world, requests, scene), by_place=by_place)
    logging = world.logging(requests)
    if by_place:
        return item_position(log, target, logging)
    return position_based(log, target, logging, world.examination)


def bandit(folder: Path, campaign: str) -> list[Row]:
    """Estimate BTS's click rate from the random policy's log; a row an estimator."""
    uniform = open_bandit.read(folder, "random", campaign)
    own = open_bandit.read(folder, "bts", campaign)
    log = bandit_log(uniform, own)
    rate = float(own.click.mean())
    error = math.sqrt(rate * (1 - rate) / len(own.click))
    found: list[Row] = []
    for name, estimate in ESTIMATORS.items():
        one = estimate(log)
        found.append(
            {
                "data": f"Open Bandit Data, {campaign}",
                "estimator": name,
                "truth": rate,
                "truth_se": error,
                "logged": float(uniform.click.mean()),
                "mean": one.value,
                "low": one.low,
                "high": one.high,
                "z": (one.value - rate) / math.hypot(one.se, error),
                "effective": effective_sample_size(log),
                "logs": 1,
            }
        )
    return found


def bandit_log(uniform: open_bandit.Bandit, own: open_bandit.Bandit) -> WeightedLog:
    """Weight each row of the uniform log by BTS's share of its item at its place."""
    n, n_items, places = len(uniform.item), len(own.feature), int(own.place.max())
    shares = np.zeros((places, n_items))
    np.add.at(shares, (own.place - 1, own.item), 1.0)
    shares /= shares.sum(axis=1, keepdims=True)
    per_row = shares[uniform.place - 1]  # [n, items]
    request, item = np.nonzero(per_row)

    def features(place: np.ndarray, of: np.ndarray) -> np.ndarray:
        at = np.eye(places)[place - 1]
        return np.concatenate([at, own.feature[of][:, None]], axis=1)

    return item_position(
        LoggedSlates(
            users=np.arange(n),
            request=np.arange(n),
            place=uniform.place,
            item=uniform.item,
            reward=uniform.click,
            propensity=uniform.propensity,
            features=features(uniform.place, uniform.item),
        ),
        SlatePolicy(
            request=request,
            place=uniform.place[request],
            item=item,
            probability=per_row[request, item],
            features=features(uniform.place[request], item),
        ),
    )


def figures(rows: list[Row]) -> dict[str, float]:
    """Name the figures of the claim; those of the item-position target have the plain names."""
    found: dict[str, float] = {}
    for scene, ending in zip(SCENES, ("", "_position_based"), strict=True):
        by = {str(row["estimator"]): row for row in rows if row["data"] == f"simulated, {scene}"}
        found[f"coverage_95{ending}"] = number(by["dr"]["coverage_95"])
        for name in ("ips", "snips"):
            found[f"coverage_95_{name}{ending}"] = number(by[name]["coverage_95"])
        for name, row in by.items():
            found[f"rmse_{name}{ending}"] = number(row["rmse"])
        found[f"dr_error_by_ips{ending}"] = number(by["dr"]["rmse"]) / number(by["ips"]["rmse"])
    scores = [abs(number(row["z"])) for row in rows if "z" in row and row["estimator"] == "dr"]
    found["open_bandit_largest_z"] = max(scores)
    return found


def number(cell: Cell) -> float:
    assert isinstance(cell, float | int)
    return float(cell)


def show(rows: list[Row]) -> None:
    table = Table(title="Off-policy estimates against the truth", title_justify="left")
    columns = ("data", "estimator", "truth", "mean", "rmse", "coverage_95", "z", "effective")
    for name in columns:
        table.add_column(name, justify="left" if name in columns[:2] else "right")
    for row in rows:
        cells = [row.get(name) for name in columns]
        table.add_row(
            *(f"{one:.4g}" if isinstance(one, float) else str(one or "") for one in cells)
        )
    Console(file=sys.stderr, width=110).print(table)
