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
from sync_server.live import HALTED, LiveChannel, Release, live, name_of
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
MOST_COLOURS, GREY = 5, 5
INSTALLED = "installed"
FAILURES = {
    "self_test_failed": "self-test failed",
    "reverted": "reverted",
    "download_failed": "download failed",
}
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
    told = _told(found, figures.DAYS)
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
