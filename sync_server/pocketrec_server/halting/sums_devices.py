"""Devices of a guardrail that send sums: arm, network, and what they did since the exposure.

A device with consent to events sends both, under two ids that nobody can link. It then counts twice
in its network, which has the weight of one device all the same.
"""

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import Engine, func, select

from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_server.events.exposures import subject_of
from pocketrec_server.halting.devices import (
    MOST_DEVICES,
    MOST_OF_NETWORK,
    Figures,
    Member,
    without_bots,
)
from pocketrec_server.storage.tables import EXPERIMENT_SUMS, SUMS_NETWORK

_OF_US = 1000


def devices_with_sums(
    engine: Engine, channel: str, one: Experiment, arms: Collection[str]
) -> tuple[list[Member], dict[int, Figures]]:
    """Read the newest sums of the devices of an experiment, without bots.

    Returns:
        The devices, at most `MOST_OF_NETWORK` of a network, and their figures. Their numbers are
        below 0, so they differ from those of installs.
    """
    sums, network = EXPERIMENT_SUMS.c, SUMS_NETWORK.c
    place = func.row_number().over(partition_by=network.network, order_by=sums.id)
    ranked = (
        select(sums.id, sums.arm, sums.body, network.network, place.label("place"))
        .join(SUMS_NETWORK, network.id == sums.id)
        .where(
            network.subject == subject_of(one.id, one.salt),
            sums.channel == channel,
            sums.experiment == one.id,
            sums.salt == one.salt,
            sums.arm.in_(list(arms)),
        )
        .subquery()
    )
    of = ranked.c
    query = (
        select(of.arm, of.body, of.network)
        .where(of.place <= MOST_OF_NETWORK)
        .order_by(of.place, of.id)
        .limit(MOST_DEVICES)
    )
    found, figures = [], {}
    with engine.connect() as connection:
        for number, row in enumerate(connection.execute(query), 1):
            found.append(
                Member(install=-number, arm=row.arm, network=row.network, exposed_utc=one.from_utc)
            )
            figures[-number] = _figures(json.loads(row.body)["sums"])
    return found, without_bots(figures)


def _figures(sums: dict[str, Any]) -> Figures:
    return Figures(
        requests=sums["requests"],
        timed=sums["timed"],
        slate_ms=sums["slate_us"] / _OF_US,
        fallbacks=sums["fallbacks"],
        failures=sums["failures"],
        impressions=sums["impressions"],
        clicks=sums["clicks"],
        converted=float(sums["conversions"] > 0),
        busiest=sums["busiest_day"],
    )
