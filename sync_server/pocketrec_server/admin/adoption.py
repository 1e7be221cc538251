"""Adoption by version: the share of reporting devices that has each release of a channel, by day.

Outcomes do not identify devices. So each day is an estimate from all outcomes until then, made as
`statistics.devices_now` does for today: installs that were not reverted, less those of newer
releases.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select

from pocketrec_bundle.settings.rollout import RolloutPolicy
from pocketrec_server.admin.formatting import percent
from pocketrec_server.admin.plots import Series, stacked_bars
from pocketrec_server.repository.channel_status import live, name_of
from pocketrec_server.storage.tables import OUTCOME_DAY

MOST_COLOURS, GREY = 5, 5
MOST_COLUMNS = 10
"""Maximum releases with an own column in the table; older ones are summed in one column."""
INSTALLED, REVERTED = "installed", "reverted"
_DIGITS = 4

Net = dict[str, dict[int, int]]
"""Manifest -> day -> installs less reverts of that day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """Estimated adoption on one channel.

    Attributes:
        days: days of the window (days since 1970-01-01, UTC).
        shares: manifest -> share of the reporting devices, 0..1, by day; newest release first.
        devices: estimated number of reporting devices, by day.
    """

    days: Sequence[int]
    shares: Mapping[str, Sequence[float]]
    devices: Sequence[int]


def adoption(net: Net, order: Sequence[str], days: Sequence[int]) -> Adoption:
    """Estimate the adoption of each release on each day.

    Args:
        net: installs less reverts, since the first report.
        order: manifests, newest release first.
        days: days of the window, in order.

    Example:
        >>> adoption({"old": {1: 10}, "new": {2: 4}}, ["new", "old"], [1, 2]).shares
        {'new': [0.0, 0.4], 'old': [1.0, 0.6]}
    """
    shares: dict[str, list[float]] = {manifest: [] for manifest in order}
    coming = sorted((on, m, n) for m in order for on, n in net.get(m, {}).items())[::-1]
    sums, devices = dict.fromkeys(order, 0), []
    for day in days:
        while coming and coming[-1][0] <= day:
            _, manifest, n = coming.pop()
            sums[manifest] += n
        newer, estimates = 0, {}
        for manifest, n in sums.items():
            estimates[manifest] = max(0, n - newer)
            newer = max(newer, n)
        devices.append(newer)
        for manifest, estimate in estimates.items():
            shares[manifest].append(estimate / newer if newer else 0.0)
    seen = {manifest: values for manifest, values in shares.items() if any(values)}
    return Adoption(days=days, shares=seen, devices=devices)


def plots(repo: Path, engine: Engine, days: Sequence[int]) -> list[dict[str, Any]]:
    """Return the plot and the table of each channel on which a device reported."""
    nets = _read(engine, days[-1])
    found = []
    for channel in live(repo):
        name = channel.policy.channel
        net = nets.get(name, {})
        one = adoption(net, _order(channel.policy, net), days)
        if one.shares:
            found.append(_shown(repo, name, one))
    return found


def _shown(repo: Path, channel: str, one: Adoption) -> dict[str, Any]:
    names = {manifest: name_of(repo, channel, manifest) for manifest in one.shares}
    own = list(one.shares)[:MOST_COLOURS]
    series = [
        Series(label=names[manifest], colour=n, values=_percents(one.shares[manifest]))
        for n, manifest in enumerate(own)
    ]
    if rest := [values for manifest, values in one.shares.items() if manifest not in own]:
        together = [sum(values) for values in zip(*rest, strict=True)]
        series.append(Series(label="older", colour=GREY, values=_percents(together)))
    title = f"Adoption on {channel}: share of reporting devices by version"
    columns = dict(list(one.shares.items())[:MOST_COLUMNS])
    if rest := [values for manifest, values in one.shares.items() if manifest not in columns]:
        columns["older"] = [sum(values) for values in zip(*rest, strict=True)]
    rows = [
        (day, n_devices, [percent(values[n]) for values in columns.values()])
        for n, (day, n_devices) in enumerate(zip(one.days, one.devices, strict=True))
    ]
    return {
        "title": title,
        "legend": [(each.colour, each.label) for each in series],
        "svg": stacked_bars(title, one.days, series[::-1], lambda value: percent(value / 100)),
        "channel": channel,
        "names": [names.get(manifest, manifest) for manifest in columns],
        "rows": rows[::-1],
    }


def _percents(shares: Sequence[float]) -> list[float]:
    """Convert to percent, rounded down, so that a day never sums to more than 100."""
    return [int(100 * share * 10**_DIGITS) / 10**_DIGITS for share in shares]


def _order(policy: RolloutPolicy, net: Net) -> list[str]:
    """Return all releases, newest first: those of the policy, then those no longer in it."""
    listed = [stage.manifest for stage in policy.releases]
    others = net.keys() - set(listed)
    return [*listed, *sorted(others, key=lambda manifest: min(net[manifest]), reverse=True)]


def _read(engine: Engine, until_day: int) -> dict[str, Net]:
    """Read installs less reverts of all releases, by channel, until the end of a day."""
    column = OUTCOME_DAY.c
    query = (
        select(
            column.channel, column.manifest, column.day, column.outcome, func.sum(column.devices)
        )
        .where(column.outcome.in_((INSTALLED, REVERTED)), column.day <= until_day)
        .group_by(column.channel, column.manifest, column.day, column.outcome)
    )
    nets: dict[str, Net] = {}
    with engine.connect() as connection:
        for channel, manifest, day, outcome, devices in connection.execute(query):
            by_day = nets.setdefault(channel, {}).setdefault(manifest, {})
            sign = 1 if outcome == INSTALLED else -1
            by_day[day] = by_day.get(day, 0) + sign * int(devices)
    return nets
