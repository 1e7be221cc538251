"""Metrics of experiments: state, exposed devices, looks at guardrails, the last published report.

Only the experiments of a channel have series: at most 16 with 8 arms for each channel.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.settings.experiment import STATES, Experiment
from pocketrec_server.admin.attention.figures import Rail, devices_by_arm, mismatch, rails_of
from pocketrec_server.experiments.results import Results, read_results
from pocketrec_server.experiments.signing import read_experiments
from pocketrec_server.monitoring.fleet import published_channels

_OF_EXPERIMENT = ["channel", "experiment"]
_OF_ARM = [*_OF_EXPERIMENT, "arm"]
_LOG = logging.getLogger("pocketrec_server")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    channel: str
    one: Experiment
    devices: dict[str, int]
    results: Results | None
    rails: list[Rail]

    @property
    def key(self) -> list[str]:
        return [self.channel, self.one.id]


class Experiments(Collector):
    """Experiments of each channel."""

    def __init__(self, repo: Path, engine: Engine) -> None:
        self._repo, self._engine = repo, engine

    def collect(self) -> Iterable[Metric]:
        """Read repository and database; nothing if one of them cannot be read."""
        try:
            rows = [*self._rows(time.time())]
        except (PocketRecError, SQLAlchemyError) as err:  # other metrics report both
            _LOG.warning("metrics of experiments: %s", err)
            return
        yield from _now(rows)
        yield from _guarded(rows)
        yield from _reported([row for row in rows if row.results is not None])

    def _rows(self, now: float) -> Iterator[_Row]:
        for each in published_channels(self._repo):
            channel = each.policy.channel
            for one in read_experiments(self._repo, channel).experiments:
                yield _Row(
                    channel=channel,
                    one=one,
                    devices=devices_by_arm(self._engine, one, now),
                    results=read_results(self._engine, channel, one),
                    rails=rails_of(self._engine, channel, one),
                )


def _now(rows: Iterable[_Row]) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "pocketrec_experiment_state",
        "1 for the state of an experiment, 0 for its other states.",
        labels=[*_OF_EXPERIMENT, "state"],
    )
    end = GaugeMetricFamily(
        "pocketrec_experiment_end_timestamp_seconds",
        "Planned end of an experiment.",
        labels=_OF_EXPERIMENT,
    )
    devices = GaugeMetricFamily(
        "pocketrec_experiment_devices",
        "Devices with consent that were exposed to an arm.",
        labels=_OF_ARM,
    )
    ratio = GaugeMetricFamily(
        "pocketrec_experiment_sample_ratio_p",
        "Probability of such numbers of exposed devices if the shares hold.",
        labels=_OF_EXPERIMENT,
    )
    for row in rows:
        for name in STATES:
            state.add_metric([*row.key, name], float(row.one.state == name))
        end.add_metric(row.key, row.one.until_utc)
        for arm, count in row.devices.items():
            devices.add_metric([*row.key, arm], count)
        p = mismatch(row.one, row.devices)
        if p is not None:
            ratio.add_metric(row.key, p)
    yield from (state, end, devices, ratio)


def _guarded(rows: Iterable[_Row]) -> Iterator[Metric]:
    texts = {
        "z": "Standard errors beyond the limit of a guardrail, by its latest look.",
        "bound": "z above which the arm is halted.",
        "networks": "Networks of the smaller arm in the latest look.",
        "day": "Day of the experiment of the latest look, from 1.",
    }
    families = {
        name: GaugeMetricFamily(
            f"pocketrec_experiment_guardrail_{name}", text, labels=[*_OF_ARM, "guardrail"]
        )
        for name, text in texts.items()
    }
    for row in rows:
        for rail in row.rails:
            if rail.look is not None:
                name = f"{rail.guardrail.metric} {rail.guardrail.worse_by:g}"
                for figure, family in families.items():
                    family.add_metric([*row.key, rail.arm, name], getattr(rail.look, figure))
    yield from families.values()


def _reported(rows: Iterable[_Row]) -> Iterator[Metric]:
    computed = GaugeMetricFamily(
        "pocketrec_experiment_report_timestamp_seconds",
        "Time of the last published report of an experiment.",
        labels=_OF_EXPERIMENT,
    )
    texts = {
        "change": "Change of the deciding metric against control by the last published report.",
        "change_low": "Lower end of the interval of the change.",
        "change_high": "Upper end of the interval of the change.",
        "z": "z of the change; beyond the bound it decides.",
        "bound": "Absolute z that decides.",
    }
    families = {
        name: GaugeMetricFamily(f"pocketrec_experiment_{name}", text, labels=[*_OF_ARM, "metric"])
        for name, text in texts.items()
    }
    for row in rows:
        assert row.results is not None
        computed.add_metric(row.key, row.results.computed_utc)
        for arm in row.results.arms:
            figures = zip(texts, (arm.change, arm.low, arm.high, arm.z, arm.bound), strict=True)
            for name, figure in figures:
                if figure is not None:
                    families[name].add_metric([*row.key, arm.arm, row.results.metric], figure)
    yield from (computed, *families.values())
