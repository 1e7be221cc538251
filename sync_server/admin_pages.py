"""What the pages of the admin site show, put together from what is live and the figures."""

import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup
from sqlalchemy import Engine

from sync_server import figures
from sync_server.expiry import expiries
from sync_server.figures import Figures
from sync_server.live import HALTED, LiveChannel, Release, live
from sync_server.operations import (
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
from sync_server.outcomes import Health
from sync_server.plots import Series, share_bar, stacked_bars
from sync_server.served import DELTA, FULL, METADATA, RELEASE, Sum
from sync_server.wording import count, size

WEEK = 7
MOST_SERIES = 6
"""As many colours as the style sheet has."""
INSTALLED = "installed"
_NEXT = {"active": (PAUSE, KILL, HALT), "paused": (RESUME, KILL), "killed": (RESUME,)}
_NEXT |= {HALTED: (UNHALT, PAUSE, KILL)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One release as a page shows it."""

    release: Release
    bar: Markup
    health: Health = field(default_factory=Health)
    actions: list[tuple[Action, bool]] = field(default_factory=list)


def overview(repo: Path, engine: Engine) -> dict[str, Any]:
    """What is live, how the fleet does, and until when the metadata is good."""
    found, now = figures.read(engine), int(time.time())
    saved, sent = sum(found.saved), sum(sum(found.bytes_of(kind)) for kind in (FULL, DELTA))
    told = _told(found, WEEK)
    failed = sum(health.failed for health in told.values())
    return {
        "channels": [(one, _rows(one, told)) for one in live(repo)],
        "expires": {role: at - now for role, at in sorted(expiries(repo).items())},
        "saved": saved,
        "saved_share": saved / (saved + sent) if saved else 0.0,
        "updated": sum(health.installed for health in told.values()),
        "failed": failed,
        "failed_share": failed / max(1, sum(health.told for health in told.values())),
        "events": sum(found.events[-WEEK:]),
        "checks": sum(day.get(METADATA, Sum()).requests for day in found.served[-1:]),
        "bytes_plot": _bytes_plot(found),
        "events_plot": _events_plot(found),
    }


def releases(repo: Path, engine: Engine, operations: Operations) -> dict[str, Any]:
    """All live releases with what can be done to them."""
    told = _told(figures.read(engine), figures.DAYS)
    return {"channels": [(one, _rows(one, told, operations)) for one in live(repo)]}


def fleet(repo: Path, engine: Engine) -> dict[str, Any]:
    """Versions and failures of devices that told of them, and what was rejected."""
    found = figures.read(engine)
    named = {
        (one.policy.channel, stage.manifest): stage.name
        for one in live(repo)
        for stage in one.policy.releases
    }
    told = _told(found, figures.DAYS)
    by_release = {
        (channel, manifest): values
        for (channel, manifest, kind), values in found.outcomes.items()
        if kind == INSTALLED
    }
    rows = [
        (channel, named.get((channel, sha), sha[:12]), health)
        for (channel, sha), health in sorted(told.items(), key=lambda each: -each[1].told)
    ]
    return {
        "versions": _versions(by_release, named, found.days),
        "rows": rows,
        "rejected": found.rejected,
        "installs": found.installs,
    }


def _rows(
    channel: LiveChannel,
    told: dict[tuple[str, str], Health],
    operations: Operations | None = None,
) -> list[Row]:
    name = channel.policy.channel
    return [
        Row(
            release=release,
            bar=share_bar(release.percent / 100, release.state, f"{release.percent:g}% of devices"),
            health=told.get((name, release.stage.manifest), Health()),
            actions=_actions(name, at, release, operations) if operations else [],
        )
        for at, release in enumerate(channel.releases)
    ]


def _actions(
    channel: str, at: int, release: Release, operations: Operations
) -> list[tuple[Action, bool]]:
    """What can be done to a release, and whether the keys for it are here."""
    kinds = [PERCENT, *_NEXT[release.state], *([ROLLBACK] if at else [])]
    return [
        (
            Action(
                action=kind,
                channel=channel,
                manifest=release.stage.manifest,
                percent=release.percent if kind == PERCENT else None,
                reason="TEXT" if kind == HALT else "",
            ),
            operations.may(kind, channel),
        )
        for kind in kinds
    ]


def _told(found: Figures, n_days: int) -> dict[tuple[str, str], Health]:
    """Outcomes of the last days by channel and release."""
    told: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for (channel, manifest, kind), values in found.outcomes.items():
        told[channel, manifest][kind] = sum(values[-n_days:])
    return {key: Health(**kinds) for key, kinds in told.items() if any(kinds.values())}


def _bytes_plot(found: Figures) -> dict[str, Any]:
    other = [a + b for a, b in zip(found.bytes_of(METADATA), found.bytes_of(RELEASE), strict=True)]
    series = [
        Series(label="deltas", values=found.bytes_of(DELTA)),
        Series(label="whole files", values=found.bytes_of(FULL)),
        Series(label="metadata", values=other),
    ]
    return _plot("Bytes sent a day", found.days, series, size)


def _events_plot(found: Figures) -> dict[str, Any]:
    series = [Series(label="events", values=found.events)]
    return _plot("Events stored, by their day", found.days, series, count)


def _versions(
    by_release: dict[tuple[str, str], list[int]],
    named: dict[tuple[str, str], str],
    days: list[int],
) -> dict[str, Any]:
    """Installs by release: the newest that are live in colours of their own, others together."""
    shown = [key for key in named if key in by_release][: MOST_SERIES - 1]
    n_channels = len({channel for channel, _ in shown})
    series = [
        Series(
            label=named[key] if n_channels < 2 else f"{named[key]} ({key[0]})",
            values=by_release[key],
        )
        for key in reversed(shown)
    ]
    rest = [values for key, values in by_release.items() if key not in shown]
    if rest:
        series.insert(
            0, Series(label="older", values=[sum(day) for day in zip(*rest, strict=True)])
        )
    return _plot("Devices that installed a release, a day", days, series, count)


def _plot(title: str, days: list[int], series: list[Series], word: Any) -> dict[str, Any]:
    legend = [(at, one.label) for at, one in enumerate(series)] if len(series) > 1 else []
    return {"title": title, "svg": stacked_bars(title, days, series, word), "legend": legend}
