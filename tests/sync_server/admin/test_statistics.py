"""Figures of a window of days, and the estimate of who has which release."""

import time

import pytest
from sqlalchemy import insert

from pocketrec_bundle.settings.rollout import RolloutPolicy, Stage
from pocketrec_server.admin import statistics
from pocketrec_server.admin.statistics import DAYS, WINDOWS, devices_now
from pocketrec_server.halting import outcomes
from pocketrec_server.halting.outcomes import Health
from pocketrec_server.storage.tables import REJECTED_DAY

DAY_S = 86_400
SHA = "a" * 64


def told(engine, ago, kind, number):
    """Report an outcome some days ago."""
    now = time.time() - ago * DAY_S
    one = {"id": f"{number:032x}", "manifest": SHA, "outcome": kind, "ts": int(now)}
    outcomes.count(engine, "stable", [SHA], [one], now, network="::/48")


def test_every_figure_is_of_the_window(engine):
    today = int(time.time()) // DAY_S
    for number, ago in enumerate((0, 6, 7, 29, 30, 89, 90)):
        told(engine, ago, "installed", number)
        with engine.begin() as connection:
            row = {"day": today - ago, "reason": "no item", "events": 10}
            connection.execute(insert(REJECTED_DAY).values(row))
    for days, n in zip(WINDOWS, (2, 4, 6), strict=True):
        found = statistics.read(engine, days)
        assert (len(found.days), found.days[-1]) == (days, today)
        assert found.healths()["stable", SHA] == Health(installed=n)
        assert found.rejected == {"no item": 10 * n}
    assert DAYS in WINDOWS


def test_releases_without_an_outcome_in_the_window_have_no_health(engine):
    told(engine, 40, "installed", 1)
    assert statistics.read(engine, 30).healths() == {}


def installed(n, reverted=0):
    return Health(installed=n, reverted=reverted)


@pytest.mark.parametrize(
    ("healths", "have"),
    [
        ([], [0, 0, 0]),
        ([installed(8), installed(14), installed(14)], [8, 6, 0]),
        ([installed(0), installed(14), installed(20)], [0, 14, 6]),
        ([installed(10, reverted=9), installed(10), installed(4)], [1, 9, 0]),
        ([installed(2, reverted=5), installed(3), installed(3)], [0, 3, 0]),
        ([installed(5), installed(3), installed(9)], [5, 0, 4]),
    ],
)
def test_a_device_that_moved_on_is_counted_at_its_newest_release(healths, have):
    shas = [f"{at:064x}" for at in range(3)]
    stages = tuple(Stage(manifest=sha, name=sha[-1], percent=100.0) for sha in shas)
    policy = RolloutPolicy(channel="stable", releases=stages)
    found = devices_now(policy, dict(zip(shas, healths, strict=False)))
    assert [found[sha] for sha in shas] == have
