"""Prepare the content of the admin site's pages from the channels' status and the statistics."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup
from sqlalchemy import Engine

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.rollout import ACTIVE, KILLED, PAUSED, SyncPolicy
from pocketrec_server.admin import adoption, cohorts, statistics
from pocketrec_server.admin.formatting import count, exact, moment, size, span
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
from pocketrec_server.halting.release_guard import looks_at
from pocketrec_server.halting.release_limits import read_guardrails, text_of
from pocketrec_server.repository.channel_status import LiveChannel, Release, live, name_of
from pocketrec_server.repository.expiry import expiries
from pocketrec_server.repository.standing import KEPT, is_restricted

FAILURES = {
    "self_test_failed": "self-test failed",
    "reverted": "reverted",
    "download_failed": "download failed",
}
_NEXT = {ACTIVE: (PAUSE, KILL, HALT), PAUSED: (RESUME, KILL), KILLED: (RESUME,)}
_NEXT_HALTED = (UNHALT, PAUSE, KILL)

Notes = list[tuple[str, str]]
"""Texts about one release, each with its CSS class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One release on a page.

    Attributes:
        release: status of the release.
        bar: bar of its percentage.
        health: outcomes in the window of days.
        on_now: estimated number of devices that have it, see `statistics.devices_now`.
        notes: further facts.
        actions: possible actions, each with whether the server has the keys for it.
    """

    release: Release
    bar: Markup
    health: Health
    on_now: int
    notes: Notes
    actions: list[tuple[Action, bool]] = field(default_factory=list)

    @property
    def is_kept(self) -> bool:
        """Whether the release is only kept for rollback."""
        return self.release.standing.state == KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One channel on a page.

    Attributes:
        name: name of the channel.
        gets: releases that devices get if they sync now, each with its share of devices.
        rows: releases of the channel, newest first.
        syncs: when its devices sync, as a sentence.
        guardrails: of its releases, as a short text.
    """

    name: str
    gets: list[tuple[Release, float]]
    rows: list[Row]
    syncs: str = ""
    guardrails: str = ""

    @property
    def nothing(self) -> float:
        """Share of the devices that get no release if they sync now."""
        taken = sum(share for one, share in self.gets if not is_restricted(one.stage))
        return max(0.0, 1 - taken)

    @property
    def is_restricted(self) -> bool:
        """Whether one of these releases is restricted to app versions or device classes."""
        return any(is_restricted(one.stage) for one, _ in self.gets)


def overview(repo: Path, engine: Engine, days: int) -> dict[str, Any]:
    """Return the content of the overview: releases, health of the fleet, expiry of metadata."""
    figures, now = statistics.read(engine, days), int(time.time())
    saved, sent = sum(figures.saved), sum(sum(figures.bytes_of(kind)) for kind in (FULL, DELTA))
    healths = figures.healths()
    failed = sum(health.failed for health in healths.values())
    return {
        "channels": _channels(repo, engine, figures),
        "expires": {role: n - now for role, n in sorted(expiries(repo).items())},
        "saved": saved,
        "saved_share": saved / (saved + sent) if saved else 0.0,
        "updated": sum(health.installed for health in healths.values()),
        "failed": failed,
        "failed_share": failed / max(1, sum(health.told for health in healths.values())),
        "events": sum(figures.events),
        "checks": sum(day.get(METADATA, Sum()).requests for day in figures.served),
        "bytes_plot": _bytes_plot(figures),
        "events_plot": _events_plot(figures),
    }


def releases(repo: Path, engine: Engine, operations: Operations, days: int) -> dict[str, Any]:
    """Return all live releases with their actions."""
    return {"channels": _channels(repo, engine, statistics.read(engine, days), operations)}


def fleet(repo: Path, engine: Engine, days: int) -> dict[str, Any]:
    """Return installed releases and failures as reported by devices, and rejected events."""
    figures = statistics.read(engine, days)
    healths = figures.healths()
    order = [(one.policy.channel, s.manifest) for one in live(repo) for s in one.policy.releases]
    keys = [key for key in order if key in healths]
    keys += sorted(healths.keys() - set(keys))
    return {
        "cohorts": [(one.policy.channel, _cohorts_of(one)) for one in live(repo)],
        "adopted": adoption.plots(repo, engine, figures.days),
        "failed": _failures_plot(figures),
        "rows": [(key[0], name_of(repo, *key), healths[key]) for key in keys],
        "rejected": figures.rejected,
        "installs": figures.installs,
    }


def rows_of(repo: Path, engine: Engine, channel: str, days: int) -> list[Row]:
    """Return the rows of one channel's releases, newest first.

    Raises:
        InputError: the channel is unknown.
    """
    for one in _channels(repo, engine, statistics.read(engine, days)):
        if one.name == channel:
            return one.rows
    raise InputError(f"no channel {channel!r}")


def _channels(
    repo: Path, engine: Engine, figures: Figures, operations: Operations | None = None
) -> list[Channel]:
    healths = figures.healths()
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
                health=healths.get((name, release.stage.manifest), Health()),
                on_now=on_now[release.stage.manifest],
                notes=[
                    *_notes(release, lacks(engine, name, release.stage)),
                    *(
                        ("", f"Guardrail: {text}")
                        for text in looks_at(repo, engine, name, release.stage)
                    ),
                ],
                actions=_actions(name, n, release, operations) if operations else [],
            )
            for n, release in enumerate(one.releases)
        ]
        gets = [
            (release, release.standing.share) for release in one.releases if release.standing.share
        ]
        shown.append(
            Channel(
                name=name,
                gets=gets,
                rows=rows,
                syncs=_syncs(one.policy.sync),
                guardrails=text_of(read_guardrails(repo, name)),
            )
        )
    return shown


def _cohorts_of(channel: LiveChannel) -> list[cohorts.Cohort]:
    """Return the cohorts of a channel; empty if it treats all devices alike."""
    halted = {one.stage.manifest for one in channel.releases if one.halted is not None}
    found = cohorts.cohorts(channel.policy, halted, time.time())
    return found if len(found) > 1 else []


def _syncs(sync: SyncPolicy) -> str:
    """Describe when devices sync."""
    parts = [
        f"Devices sync every {span(sync.every_s)}",
        f"with a random delay of at most {span(sync.spread_s)}",
        "on unmetered networks" if sync.unmetered else "on any network",
        "while charging" if sync.charging else "",
        "not from {:02}:00 to {:02}:00 local time".format(*sync.quiet_hours)
        if sync.quiet_hours
        else "",
    ]
    return ", ".join(part for part in parts if part)


def word_of(release: Release) -> str:
    """Return the first word of a release's standing: the CSS class of its colour."""
    return release.standing.state.partition(" ")[0]


def _notes(release: Release, lacking: str | None) -> Iterator[tuple[str, str]]:
    """Yield further facts about a release; for `lacking` see `circuit_breaker.lacks`."""
    stage, limit = release.stage, release.stage.most_failures
    if release.halted is not None:
        yield "bad", f"Halted: {release.halted}"
    if coming := [step for step in stage.ramp if step[0] > time.time()]:
        steps = ", ".join(f"{exact(share)} from {moment(utc)}" for utc, share in coming)
        yield "", f"Increases automatically: {steps}"
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
            f"Halted automatically if it fails on more than {exact(100 * limit.share)} of devices, "
            f"in at least {limit.of:,} networks",
        )
    if lacking is not None:
        yield "bad" if lacking.startswith("all") else "", lacking[0].upper() + lacking[1:]


def _actions(
    channel: str, n: int, release: Release, operations: Operations
) -> list[tuple[Action, bool]]:
    """Return the possible actions, each with whether the server has the keys for it."""
    state = release.stage.state
    is_halted = release.halted is not None and state != KILLED
    kinds = [PERCENT, *(_NEXT_HALTED if is_halted else _NEXT[state]), *([ROLLBACK] if n else [])]
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


def _bytes_plot(figures: Figures) -> dict[str, Any]:
    other = [
        a + b for a, b in zip(figures.bytes_of(METADATA), figures.bytes_of(RELEASE), strict=True)
    ]
    series = [
        Series(label="whole files", colour=1, values=figures.bytes_of(FULL)),
        Series(label="deltas", colour=0, values=figures.bytes_of(DELTA)),
        Series(label="metadata", colour=2, values=other),
        Series(label="saved by deltas", colour=5, values=figures.saved),
    ]
    return _plot("Bytes sent and saved per day", figures.days, series, size)


def _events_plot(figures: Figures) -> dict[str, Any]:
    series = [Series(label="events", colour=0, values=figures.events)]
    return _plot("Events stored, by day of the event", figures.days, series, count)


def _failures_plot(figures: Figures) -> dict[str, Any]:
    series = []
    for colour, (kind, label) in enumerate(FAILURES.items(), 2):
        values = [0] * len(figures.days)
        for (_, _, one), devices in figures.outcomes.items():
            if one == kind:
                values = [a + b for a, b in zip(values, devices, strict=True)]
        series.append(Series(label=label, colour=colour, values=values))
    return _plot("Devices on which a release failed, per day", figures.days, series, count)


def _plot(title: str, days: list[int], series: list[Series], word: Any) -> dict[str, Any]:
    legend = [(one.colour, one.label) for one in series] if len(series) > 1 else []
    return {"title": title, "svg": stacked_bars(title, days, series, word), "legend": legend}
