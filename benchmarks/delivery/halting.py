"""Claim: a bad release is halted soon, and it takes many networks to halt or to spare one.

Outcomes of simulated phones are judged by the server's own rule
(`pocketrec_server.halting.circuit_breaker`, `last_networks` of
`pocketrec_server.halting.networks`), without HTTP and database. `carriers` is the share of phones
behind one of five mobile carriers (CGNAT: a carrier is one network); the others are spread over
50,000 networks at random. Phones report one by one, 600 an hour, and the release fails on each
with probability `fails`. Its limit is 5% of 100. An attacker's networks report first, 32 outcomes
each, and again every hour.

The earlier rule stands beside: halt once 100 devices reported and more than 5% of them failed.
There an attacker began with 200 requests of 32 outcomes, from wherever. `failed` is the number of
phones on which the release had failed when it was halted, the median of the repetitions that
halted it; `halted` their share. A run ends after `phones`. Seed as given.
"""

import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Options, Result
from pocketrec_bundle.settings.rollout import FailureLimit
from pocketrec_server.halting.circuit_breaker import judged, needed, why_halt
from pocketrec_server.halting.networks import JUDGED, MOST_NETWORKS, last_networks
from pocketrec_server.halting.outcomes import MAX_BATCH, Health
from pocketrec_training.monitoring.progress import Progress

CARRIERS, HOMES, PER_HOUR = 5, 50_000, 600
LIMIT = FailureLimit(of=100, share=0.05)
REPETITIONS = 20
BEFORE_FORGED = 200
INSTALLED, FAILED = JUDGED[:2]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fleet and one attack.

    Attributes:
        name: for people.
        fails: share of phones on which the release fails.
        carriers: share of phones in carriers' networks.
        forged: the outcome that the attacker reports; "": no attacker.
        networks: that the attacker has.
        phones: that report before a run ends.
    """

    name: str
    fails: float
    carriers: float = 0.3
    forged: str = ""
    networks: int = 0
    phones: int = 2_000


CASES = (
    Case(name="fails everywhere", fails=1.0),
    Case(name="fails on 30%", fails=0.3),
    Case(name="fails on 10%", fails=0.1),
    Case(name="fails on 10%, carriers 90%", fails=0.1, carriers=0.9, phones=5_000),
    Case(name="sound, 2% fail", fails=0.02, phones=5_000),
    Case(name="everywhere, 1 network forges success", fails=1.0, forged=INSTALLED, networks=1),
    Case(name="30%, 1 network forges success", fails=0.3, forged=INSTALLED, networks=1),
    Case(name="30%, 20 networks forge success", fails=0.3, forged=INSTALLED, networks=20),
    Case(name="30%, 100 networks forge success", fails=0.3, forged=INSTALLED, networks=100),
    Case(name="sound, 1 network forges failure", fails=0.01, forged=FAILED, networks=1),
    Case(name="sound, 3 networks forge failure", fails=0.01, forged=FAILED, networks=3),
    Case(name="sound, 7 networks forge failure", fails=0.01, forged=FAILED, networks=7),
)


@dataclass(slots=True)
class Run:
    """One repetition: when each rule halted the release, in phones on which it had failed."""

    case: Case
    rng: np.random.Generator
    failed: int = 0
    old: int | None = None
    new: int | None = None
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys((INSTALLED, FAILED), 0))
    hours: dict[int, dict[str, list[int]]] = field(default_factory=dict)

    def live(self) -> "Run":
        """Let phones report until both rules have halted the release, or all have."""
        for phone, network in enumerate(self._networks()):
            hour = phone // PER_HOUR
            if phone % PER_HOUR == 0:
                self._attack(hour)
            fails = bool(self.rng.random() < self.case.fails)
            self.failed += fails
            self._report(network, FAILED if fails else INSTALLED, 1, hour)
            if self.old is not None and self.new is not None:
                break
        return self

    def _networks(self) -> Iterator[str]:
        for _ in range(self.case.phones):
            if self.rng.random() < self.case.carriers:
                yield f"carrier {self.rng.integers(CARRIERS)}"
            else:
                yield f"home {self.rng.integers(HOMES)}"

    def _attack(self, hour: int) -> None:
        if self.case.forged and hour == 0:  # the earlier rule counts whatever one network sends
            self.counts[self.case.forged] += BEFORE_FORGED * MAX_BATCH
        for at in range(self.case.networks):
            self._report(f"attacker {at}", self.case.forged, MAX_BATCH, hour)

    def _report(self, network: str, kind: str, n: int, hour: int) -> None:
        self.counts[kind] += n
        told = sum(self.counts.values())
        if self.old is None and told >= LIMIT.of and self.counts[FAILED] > LIMIT.share * told:
            self.old = self.failed
        if self.new is not None:
            return
        of_hour = self.hours.setdefault(hour, {})
        if network in of_hour or len(of_hour) < MOST_NETWORKS:
            sums = of_hour.setdefault(network, [0] * len(JUDGED))
            sums[JUDGED.index(kind)] += n
        if kind == FAILED or told < 4 * needed(LIMIT):  # else a success halts nothing
            rows = (
                (hour, network, sums)
                for hour in sorted(self.hours, reverse=True)
                for network, sums in self.hours[hour].items()
            )
            found = [Health(**sums) for sums in last_networks(rows, judged(LIMIT))]
            if why_halt(LIMIT, found):
                self.new = self.failed


def run(
    options: Options, cases: tuple[Case, ...] = CASES, repetitions: int = REPETITIONS
) -> Result:
    """Repeat each case under both rules."""
    rows: list[Row] = []
    with Progress("halting", len(cases)) as bar:
        for at, case in enumerate(cases):
            seeds = ([options.seed, at, repetition] for repetition in range(repetitions))
            runs = [Run(case, np.random.default_rng(seed)).live() for seed in seeds]
            rows.append(_row(case, runs))
            bar.advance(at + 1)
    _show(rows)
    return Result(name="halting", seed=options.seed, rows=rows, figures=_figures(rows))


def _row(case: Case, runs: list[Run]) -> Row:
    row: Row = asdict(case)
    for rule in ("old", "new"):
        found = [n for one in runs if (n := getattr(one, rule)) is not None]
        row[f"{rule}_halted"] = len(found) / len(runs)
        row[f"{rule}_failed"] = statistics.median(found) if found else None
    return row


def _figures(rows: list[Row]) -> dict[str, float]:
    figures = {}
    for row in rows:
        name = row["name"].replace(",", "").replace("%", "").replace(" ", "_")
        for key in ("old_halted", "old_failed", "new_halted", "new_failed"):
            if row[key] is not None:
                figures[f"{name}.{key}"] = float(row[key])
    return figures


def _show(rows: list[Row]) -> None:
    table = Table("case", "before: halted", "failed", "now: halted", "failed", title="halting")
    for row in rows:
        cells = [row["name"]]
        for rule in ("old", "new"):
            failed = row[f"{rule}_failed"]
            cells += [f"{row[f'{rule}_halted']:.0%}", "-" if failed is None else f"{failed:g}"]
        table.add_row(*cells)
    Console(stderr=True).print(table)
