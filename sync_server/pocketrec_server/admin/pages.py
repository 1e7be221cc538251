"""What the pages of the admin site show, put together from what is live and the figures."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup
from sqlalchemy import Engine

from pocketrec_bundle.settings.rollout import ACTIVE, KILLED, PAUSED
from pocketrec_server.admin import statistics
from pocketrec_server.admin.formatting import count, exact, moment, size
from pocketrec_server.admin.operations import (
    HALT,
    KILL,
    PAUSE,
    PERCENT,
    RESUME,
    ROLLBACK,
    UNHALT,
    Action,
    Operations,
)
from pocketrec_server.admin.plots import Series, share_bar, stacked_bars
from pocketrec_server.admin.statistics import Figures, devices_now
from pocketrec_server.delivery.traffic import DELTA, FULL, METADATA, RELEASE, Sum
from pocketrec_server.halting import outcomes
from pocketrec_server.halting.circuit_breaker import lacks
from pocketrec_server.halting.outcomes import Health
from pocketrec_server.repository.channel_status import Release, live, name_of
from pocketrec_server.repository.expiry import expiries
from pocketrec_server.repository.standing import KEPT, is_restricted

MOST_COLOURS, GREY = 5, 5
INSTALLED = "installed"
FAILURES = {
    "self_test_failed": "self-test failed",
    "reverted": "reverted",
    "download_failed": "download failed",
}
_NEXT = {ACTIVE: (PAUSE, KILL, HALT), PAUSED: (RESUME, KILL), KILLED: (RESUME,)}
_NEXT_HALTED = (UNHALT, PAUSE, KILL)

Notes = list[tuple[str, str]]
"""Texts about one release, each with its class of the style sheet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One release as a page shows it.

    Attributes:
        release: as the policy has it.
        bar: its share of devices.
        health: outcomes of the window.
        on_now: an estimate of how many devices have it, see `statistics.devices_now`.
        notes: what else there is to know.
        actions: what can be done to it, each with whether the keys for it are here.
    """

    release: Release
    bar: Markup
    health: Health
    on_now: int
    notes: Notes
    actions: list[tuple[Action, bool]] = field(default_factory=list)

    @property
    def is_kept(self) -> bool:
        """Whether it is there for a rollback only."""
        return self.release.standing.state == KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One channel as a page shows it.

    Attributes:
        name: of the channel.
        gets: releases that phones get which ask now, and the share of phones of each.
        rows: its releases, the newest first.
    """

    name: str
    gets: list[tuple[Release, float]]
    rows: list[Row]

    @property
    def nothing(self) -> float:
        """Share of the phones that ask now and get no release."""
        taken = sum(share for one, share in self.gets if not is_restricted(one.stage))
        return max(0.0, 1 - taken)

    @property
    def is_restricted(self) -> bool:
        """Whether one of these is for some versions of the app or device classes only."""
        return any(is_restricted(one.stage) for one, _ in self.gets)


def overview(repo: Path, engine: Engine, days: int) -> dict[str, Any]:
    """What is live, how the fleet does, and until when the metadata is good."""
    found, now = statistics.read(engine, days), int(time.time())
    saved, sent = sum(found.saved), sum(sum(found.bytes_of(kind)) for kind in (FULL, DELTA))
    told = found.healths()
    failed = sum(health.failed for health in told.values())
    return {
        "channels": _channels(repo, engine, found),
        "expires": {role: at - now for role, at in sorted(expiries(repo).items())},
        "saved": saved,
        "saved_share": saved / (saved + sent) if saved else 0.0,
        "updated": sum(health.installed for health in told.values()),
        "failed": failed,
        "failed_share": failed / max(1, sum(health.told for health in told.values())),
        "events": sum(found.events),
        "checks": sum(day.get(METADATA, Sum()).requests for day in found.served),
        "bytes_plot": _bytes_plot(found),
        "events_plot": _events_plot(found),
    }


def releases(repo: Path, engine: Engine, operations: Operations, days: int) -> dict[str, Any]:
    """All live releases with what can be done to them."""
    return {"channels": _channels(repo, engine, statistics.read(engine, days), operations)}


def fleet(repo: Path, engine: Engine, days: int) -> dict[str, Any]:
    """Versions and failures of devices that reported them, and what was rejected."""
    found = statistics.read(engine, days)
    told = found.healths()
    order = [(one.policy.channel, s.manifest) for one in live(repo) for s in one.policy.releases]
    keys = [key for key in order if key in told]
    keys += sorted(told.keys() - set(keys))
    return {
        "versions": _versions_plot(repo, found, order),
        "failed": _failures_plot(found),
        "rows": [(key[0], name_of(repo, *key), told[key]) for key in keys],
        "rejected": found.rejected,
        "installs": found.installs,
    }


def _channels(
    repo: Path, engine: Engine, found: Figures, operations: Operations | None = None
) -> list[Channel]:
    told = found.healths()
    shown = []
    for one in live(repo):
        name = one.policy.channel
        on_now = devices_now(one.policy, outcomes.healths(engine, name))
        rows = [
            Row(
                release=release,
                bar=share_bar(
                    release.percent / 100,
                    word_of(release),
                    f"share of devices: {exact(release.percent)}",
                ),
                health=told.get((name, release.stage.manifest), Health()),
                on_now=on_now[release.stage.manifest],
                notes=list(_notes(release, lacks(engine, name, release.stage))),
                actions=_actions(name, at, release, operations) if operations else [],
            )
            for at, release in enumerate(one.releases)
        ]
        gets = [(each, each.standing.share) for each in one.releases if each.standing.share]
        shown.append(Channel(name=name, gets=gets, rows=rows))
    return shown


def word_of(release: Release) -> str:
    """The first word of how a release stands: the class of its colour."""
    return release.standing.state.partition(" ")[0]


def _notes(release: Release, lacking: str | None) -> Iterator[tuple[str, str]]:
    """What else there is to know; lacking: for an automatic halt, see `halting.lacks`."""
    stage, limit = release.stage, release.stage.most_failures
    if release.halted is not None:
        yield "bad", f"Halted: {release.halted}"
    if coming := [step for step in stage.ramp if step[0] > time.time()]:
        steps = ", ".join(f"{exact(share)} from {moment(utc)}" for utc, share in coming)
        yield "", f"Rises by itself: {steps}"
    if stage.from_utc:
        yield "", f"From {moment(stage.from_utc)}"
    if stage.until_utc is not None:
        yield "", f"Until {moment(stage.until_utc)}"
    if is_restricted(stage):
        parts = [
            stage.app.least and f"app {stage.app.least} and later",
            stage.app.below and f"app before {stage.app.below}",
            stage.device_classes and f"device classes {', '.join(stage.device_classes)}",
        ]
        yield "", f"Only for {'; '.join(part for part in parts if part)}"
    if limit is not None:
        yield (
            "",
            f"The server halts it if more than {exact(100 * limit.share)} of devices in at least "
            f"{limit.of:,} networks fail",
        )
    if lacking is not None:
        yield "bad" if lacking.startswith("all") else "", lacking[0].upper() + lacking[1:]


def _actions(
    channel: str, at: int, release: Release, operations: Operations
) -> list[tuple[Action, bool]]:
    """What can be done to a release, and whether the keys for it are here."""
    state = release.stage.state
    is_halted = release.halted is not None and state != KILLED
    kinds = [PERCENT, *(_NEXT_HALTED if is_halted else _NEXT[state]), *([ROLLBACK] if at else [])]
    return [
        (
            Action(
                action=kind,
                channel=channel,
                manifest=release.stage.manifest,
                percent=release.percent if kind == PERCENT else None,
            ),
            operations.may(kind, channel),
        )
        for kind in kinds
    ]


def _bytes_plot(found: Figures) -> dict[str, Any]:
    other = [a + b for a, b in zip(found.bytes_of(METADATA), found.bytes_of(RELEASE), strict=True)]
    series = [
        Series(label="whole files", colour=1, values=found.bytes_of(FULL)),
        Series(label="deltas", colour=0, values=found.bytes_of(DELTA)),
        Series(label="metadata", colour=2, values=other),
        Series(label="saved by deltas", colour=5, values=found.saved),
    ]
    return _plot("Bytes sent a day, and saved", found.days, series, size)


def _events_plot(found: Figures) -> dict[str, Any]:
    series = [Series(label="events", colour=0, values=found.events)]
    return _plot("Events stored, by their day", found.days, series, count)


def _versions_plot(repo: Path, found: Figures, order: list[tuple[str, str]]) -> dict[str, Any]:
    """Installs by release, on all channels: the newest in colours of their own, others together."""
    sums: dict[str, list[int]] = {}
    channel_of = {}
    for (channel, manifest, kind), values in found.outcomes.items():
        if kind == INSTALLED:
            known = sums.get(manifest, [0] * len(values))
            sums[manifest] = [a + b for a, b in zip(known, values, strict=True)]
            channel_of[manifest] = channel
    live_now = sums.keys() & {manifest for _, manifest in order}
    newest = sorted(live_now, key=lambda manifest: _began(sums[manifest]), reverse=True)
    shown = newest[:MOST_COLOURS]
    series = [
        Series(label=name_of(repo, channel_of[sha], sha), colour=at, values=sums[sha])
        for at, sha in enumerate(shown)
    ]
    if rest := [values for manifest, values in sums.items() if manifest not in shown]:
        together = [sum(day) for day in zip(*rest, strict=True)]
        series.append(Series(label="older", colour=GREY, values=together))
    return _plot("Devices that installed a release, a day", found.days, series[::-1], count)


def _began(values: list[int]) -> tuple[int, int]:
    """The first day on which a device installed it, and how many did ever: what sorts releases."""
    return next((at for at, n in enumerate(values) if n), 0), sum(values)


def _failures_plot(found: Figures) -> dict[str, Any]:
    series = []
    for colour, (kind, label) in enumerate(FAILURES.items(), 2):
        values = [0] * len(found.days)
        for (_, _, one), devices in found.outcomes.items():
            if one == kind:
                values = [a + b for a, b in zip(values, devices, strict=True)]
        series.append(Series(label=label, colour=colour, values=values))
    return _plot("Devices on which one failed, a day", found.days, series, count)


def _plot(title: str, days: list[int], series: list[Series], word: Any) -> dict[str, Any]:
    legend = [(one.colour, one.label) for one in series] if len(series) > 1 else []
    return {"title": title, "svg": stacked_bars(title, days, series, word), "legend": legend}
