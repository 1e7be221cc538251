"""Metrics of releases and their outcomes, computed at each scrape.

They come from the signed repository and the database, so all workers and machines report the same
values. Only releases in a channel's policy have series: at most `MAX_STAGES` for each channel.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.settings.rollout import KILLED, PAUSED
from pocketrec_server.admin.statistics import devices_now
from pocketrec_server.experiments.halted_arms import running_arms
from pocketrec_server.halting.outcomes import Health, healths
from pocketrec_server.halting.release_limits import RELEASE_DIGITS
from pocketrec_server.repository.channel_status import LiveChannel, live
from pocketrec_server.repository.standing import (
    ENDED,
    HALTED,
    KEPT,
    LIVE,
    UNOFFERED,
    WAITING,
    standings,
)

STATES = {
    LIVE: "live",
    KEPT: "kept",
    PAUSED: "paused",
    HALTED: "halted",
    KILLED: "killed",
    WAITING: "scheduled",
    ENDED: "ended",
    UNOFFERED: "unoffered",
}
"""Standing of a release -> value of the label `state`."""
_OF_RELEASE = ["channel", "release"]
_LOG = logging.getLogger("pocketrec_server")


def label_of(manifest: str) -> str:
    """Return the label `release` of a manifest's hash: as many digits as request events have."""
    return manifest[:RELEASE_DIGITS]


class Fleet(Collector):
    """Releases of each channel, with the outcomes that devices reported."""

    def __init__(self, repo: Path, engine: Engine) -> None:
        self._repo, self._engine = repo, engine

    def collect(self) -> Iterable[Metric]:
        """Read repository and database; what cannot be read is left out."""
        up = GaugeMetricFamily(
            "pocketrec_repository_up", "1 if the signed repository can be read and verified."
        )
        channels: tuple[LiveChannel, ...] = ()
        try:
            channels = published_channels(self._repo)
            up.add_metric([], 1)
        except PocketRecError as err:
            _LOG.warning("metrics of releases: %s", err)
            up.add_metric([], 0)
        yield up
        yield from _of_policies(channels)
        yield from _of_arms(self._repo, channels)
        try:
            found = {c.policy.channel: healths(self._engine, c.policy.channel) for c in channels}
        except SQLAlchemyError:
            return  # pocketrec_database_up reports it
        yield from _of_outcomes(channels, found)


def published_channels(repo: Path) -> tuple[LiveChannel, ...]:
    """Read all channels, cached until the next publish; empty before the first.

    Standings and percentages are those of the time of reading: compute them again.

    Raises:
        RepositoryInvalidError: the repository is damaged.
    """
    try:
        changed = (repo / "metadata" / "timestamp.json").stat()
    except OSError:
        return ()
    return _read(repo, changed.st_ino, changed.st_mtime_ns)


@lru_cache(maxsize=8)
def _read(repo: Path, _file: int, _changed_ns: int) -> tuple[LiveChannel, ...]:
    return tuple(live(repo))


def _of_policies(channels: Iterable[LiveChannel]) -> Iterator[Metric]:
    info = GaugeMetricFamily(
        "pocketrec_release_info",
        "Name of each release in a policy; always 1.",
        labels=[*_OF_RELEASE, "name"],
    )
    state = GaugeMetricFamily(
        "pocketrec_release_state",
        "1 for the state of a release, 0 for its other states.",
        labels=[*_OF_RELEASE, "state"],
    )
    percent = GaugeMetricFamily(
        "pocketrec_release_percent",
        "Share of the devices that are offered the release now, 0..100.",
        labels=_OF_RELEASE,
    )
    share = GaugeMetricFamily(
        "pocketrec_release_offered_share",
        "Share of the devices without a release that get this one now, 0..1.",
        labels=_OF_RELEASE,
    )
    data = GaugeMetricFamily(
        "pocketrec_release_data_timestamp_seconds",
        "Time of the newest event in the training data.",
        labels=_OF_RELEASE,
    )
    since = GaugeMetricFamily(
        "pocketrec_release_published_timestamp_seconds",
        "Time of the first publish on the channel.",
        labels=_OF_RELEASE,
    )
    now = time.time()
    for channel in channels:
        halted = {r.stage.manifest for r in channel.releases if r.halted is not None}
        stands = standings(channel.policy, halted, now)
        for release, stand in zip(channel.releases, stands, strict=True):
            key = [channel.policy.channel, label_of(release.stage.manifest)]
            info.add_metric([*key, release.stage.name], 1)
            for standing, name in STATES.items():
                state.add_metric([*key, name], float(standing == stand.state))
            percent.add_metric(key, release.stage.percent_at(now))
            share.add_metric(key, stand.share)
            data.add_metric(key, release.data_until_utc)
            if release.published_utc is not None:
                since.add_metric(key, release.published_utc)
    yield from (info, state, percent, share, data, since)


def _of_arms(repo: Path, channels: Iterable[LiveChannel]) -> Iterator[Metric]:
    halted = GaugeMetricFamily(
        "pocketrec_arm_halted",
        "1 if an arm of a running experiment is halted, else 0.",
        labels=["channel", "experiment", "arm"],
    )
    now = time.time()
    for channel in channels:
        name = channel.policy.channel
        try:
            for one in running_arms(repo, name, now):
                halted.add_metric([name, one.experiment, one.arm], float(one.halted is not None))
        except PocketRecError as err:
            _LOG.warning("metrics of arms: %s", err)
    yield halted


def _of_outcomes(
    channels: Iterable[LiveChannel], found: dict[str, dict[str, Health]]
) -> Iterator[Metric]:
    outcomes = CounterMetricFamily(
        "pocketrec_outcomes", "Outcomes that devices reported.", labels=[*_OF_RELEASE, "kind"]
    )
    devices = GaugeMetricFamily(
        "pocketrec_release_devices",
        "Estimate of the reporting devices that have the release now.",
        labels=_OF_RELEASE,
    )
    for channel in channels:
        name, of_release = channel.policy.channel, found[channel.policy.channel]
        estimates = devices_now(channel.policy, of_release)
        for stage in channel.policy.releases:
            key = [name, label_of(stage.manifest)]
            health = of_release.get(stage.manifest, Health())
            for kind, count in asdict(health).items():
                outcomes.add_metric([*key, kind], count)
            devices.add_metric(key, estimates[stage.manifest])
    yield from (outcomes, devices)
