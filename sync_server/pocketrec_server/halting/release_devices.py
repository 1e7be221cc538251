"""Devices of a stage of a rollout: release, network, and what they did before and since.

A device enters with its first upload since the stage began: a device that is offered the release
has it from that sync on, and one that is not keeps its own. The device's id draws which of both it
is. So both groups begin at the same moment, and the time of a device's sync says nothing about its
group.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from pocketrec_bundle.units import DAY_S
from pocketrec_server.halting.devices import (
    Figures,
    Member,
    add_up,
    events_of,
    members,
    without_bots,
)
from pocketrec_server.halting.release_limits import RELEASE_DIGITS, GuardedStage

EARLIER, NEW = "earlier", "new"
PAST_S = 14 * DAY_S
"""Time before a device's first upload in the stage that is its past."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """Devices of a stage that were used before and since their first upload in it.

    Attributes:
        members: `arm` is NEW for devices that have the release, else EARLIER.
        since: figures by install, from the first upload in the stage; of NEW devices, from the
            first request of the release if that is later.
        past: figures by install, of the time before.
    """

    members: list[Member]
    since: dict[int, Figures]
    past: dict[int, Figures]


def devices_of(
    engine: Engine, guarded: GuardedStage, until_utc: int, conversions: Collection[str]
) -> Devices:
    """Read the devices of a stage and their events.

    Devices are left out that had the release before the stage, that use no release of the channel,
    and that are bots in one of the two periods.

    Args:
        engine: the database.
        guarded: the stage.
        until_utc: unix seconds; later events and devices do not count.
        conversions: names of the events that are conversions.
    """
    found = members(engine, guarded.subject, [""], guarded.begin_utc, until_utc)
    by_install = {one.install: one for one in found}
    begins = {one.install: one.exposed_utc - PAST_S for one in found}
    sides: dict[int, str] = {}
    since: dict[int, Figures] = {}
    past: dict[int, Figures] = {}
    for install, rows in events_of(engine, begins, until_utc):
        entered = by_install[install].exposed_utc
        side, start = _side(rows, guarded, entered)
        if side is None:
            continue
        sides[install], since[install], past[install] = side, Figures(), Figures()
        before = min(start, entered)
        add_up(
            past[install],
            [row for row in rows if begins[install] <= row.ts < before],
            conversions,
        )
        add_up(since[install], [row for row in rows if row.ts >= max(start, entered)], conversions)
    since, past = without_bots(since), without_bots(past)
    return Devices(
        members=[
            Member(
                install=one.install,
                arm=sides[one.install],
                network=one.network,
                exposed_utc=one.exposed_utc,
            )
            for one in found
            if one.install in since and one.install in past
        ],
        since=since,
        past=past,
    )


def _side(rows: Sequence[Any], guarded: GuardedStage, entered_utc: int) -> tuple[str | None, int]:
    """Return the group of a device, or None, and from when on it has its release."""
    is_earlier = False
    for row in rows:
        if row.kind != "request":
            continue
        named = str(json.loads(row.context).get("release"))[:RELEASE_DIGITS]
        if named == guarded.release:
            return (NEW if row.ts >= guarded.begin_utc else None), row.ts
        is_earlier |= named in guarded.earlier
    return (EARLIER if is_earlier else None), entered_utc
