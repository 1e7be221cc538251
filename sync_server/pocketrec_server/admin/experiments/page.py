"""The page of experiments: state, arms, devices by arm, results, bounds, looks and buttons."""

import time
from dataclasses import dataclass

from flask import Blueprint, request

from pocketrec_bundle.settings.experiment import OPEN, Experiment
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.statistics.metrics import METRICS, Metric
from pocketrec_server.admin.attention.figures import (
    Rail,
    bounds,
    devices_by_arm,
    mismatch,
    rails_of,
)
from pocketrec_server.admin.experiments.steps import DANGERS, LABELS, Step, steps
from pocketrec_server.admin.services import services
from pocketrec_server.auth import audit
from pocketrec_server.experiments import signing
from pocketrec_server.experiments.halted_arms import halts_of
from pocketrec_server.experiments.results import Results, read_results
from pocketrec_server.halting.guard import not_looked_texts
from pocketrec_server.halting.network_comparison import FEWEST_NETWORKS
from pocketrec_server.http.openapi import described
from pocketrec_server.repository.channel_status import live, name_of

OLD_S = 2 * DAY_S
"""Results of an open experiment that are older get a warning; a report a day is usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One experiment on the page.

    Attributes:
        one: the signed experiment.
        percent: enrolled share of its segment now, 0..100.
        arms: each arm with what differs, and its exposed devices.
        mismatch: p-value of the sample ratio; None without exposed devices.
        bounds: |z| that decides today and at the end, see `bounds`.
        steps: possible actions.
        results: of the last published report; None without one.
        halted: reason by halted arm.
        rails: each guardrail of each arm but control.
        not_looked: what the last look could not compare.
    """

    one: Experiment
    percent: float
    arms: list[tuple[Arm, str, int]]
    mismatch: float | None
    bounds: tuple[float, float] | None
    steps: list[Step]
    results: Results | None
    halted: dict[str, str]
    rails: list[Rail]
    not_looked: list[str]

    @property
    def metric(self) -> Metric | None:
        """The deciding metric of the results."""
        return None if self.results is None else METRICS[self.results.metric]

    @property
    def is_open(self) -> bool:
        """Whether its settings can be edited."""
        return self.one.state in OPEN and time.time() < self.one.until_utc

    @property
    def is_old(self) -> bool:
        """Whether the results lack days although the experiment goes on."""
        seen = None if self.results is None else self.results.computed_utc
        return seen is not None and self.one.state in OPEN and time.time() - seen > OLD_S


def add(routes: Blueprint) -> None:
    """Add the views to the site."""
    routes.get("/experiments")(experiments)


@described(
    "Experiments of all channels.",
    tag="site",
    ok="text/html",
    query={"done": {"type": "integer"}},
    more={303: "Log in first."},
    pages=(400, 503),
)
def experiments() -> str:
    """Show the experiments of each channel, newest first."""
    shared, now = services(), time.time()
    done = audit.entry(shared.engine, request.args.get("done", 0, type=int))
    channels = []
    for channel in live(shared.repo):
        name = channel.policy.channel
        found = signing.read_experiments(shared.repo, name)
        rows = [_row(one, name, now) for one in found.experiments]
        channels.append((name, found.holdout, rows))
    done = done if done and done.action.startswith("experiment-") else None
    return shared.pages.show(
        "experiments",
        channels=channels,
        done=done,
        now=now,
        labels=LABELS,
        dangers=DANGERS,
        fewest_networks=FEWEST_NETWORKS,
    )


def _row(one: Experiment, channel: str, now: float) -> Row:
    shared = services()
    devices = devices_by_arm(shared.engine, one, now)
    halted = halts_of(shared.repo, channel, one)
    return Row(
        one=one,
        percent=one.percent_at(now),
        arms=[(arm, _differs(arm, channel), devices[arm.name]) for arm in one.arms],
        mismatch=mismatch(one, devices),
        bounds=bounds(one, now),
        steps=steps(channel, one, halted),
        results=read_results(shared.engine, channel, one),
        halted=halted,
        rails=rails_of(shared.engine, channel, one),
        not_looked=not_looked_texts(shared.engine, channel, one),
    )


def _rules(arm: Arm) -> str:
    if arm.rules is None:
        return ""
    listed = arm.rules.get("rules")
    kinds = [one.get("kind") for one in listed if isinstance(one, dict)] if listed else []
    return f"rules {', '.join(map(str, kinds))}" if kinds else "no rules"


def _differs(arm: Arm, channel: str) -> str:
    """Describe what an arm changes."""
    weights = arm.head_weights or {}
    parts = [
        f"release {name_of(services().repo, channel, arm.release)}" if arm.release else "",
        f"model set {arm.models}" if arm.models else "",
        _rules(arm),
        ", ".join(f"weight {head} {value:g}" for head, value in weights.items()),
        "campaigns" if arm.campaigns is not None else "",
        ", ".join(f"flag {name} = {value}" for name, value in arm.flags.items()),
    ]
    return "; ".join(part for part in parts if part) or "nothing differs"
