"""The end of the data is that of most users, and the last planned day must be complete."""

import pytest

from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis import Settings, experiment_report

FEW = Settings(least_users=2, past_days=7)
USERS = 60


def active(export, days, last_hours=24):
    """Users who come at an hour of their own each day; on the last day until `last_hours`."""
    for i in range(USERS):
        export.exposure(f"u{i}", ("control", "treatment")[i % 2], i * 1440)
        for day in range(days):
            at = day * DAY_S + i * 1440 + 10
            if day < days - 1 or i * 1440 < last_hours * 3600:
                export.request(f"u{i}", f"r{day}-{i}", at)
                bought = "purchase" if (i + day) % 5 == 0 else "view"
                export.interaction(f"u{i}", "a", at + 5, bought)


def test_many_events_of_one_phone_do_not_move_the_end(export, design_of, tmp_path):
    active(export, days=3)
    for n in range(USERS):
        export.request("u1", f"future{n}", 12 * DAY_S + n)
    report = experiment_report(design=design_of(), events=export.write(tmp_path), settings=FEW)
    assert report.days == 3


@pytest.mark.parametrize(("hours", "kind"), [(3, "running"), (24, "no difference")])
def test_the_last_day_must_be_complete(export, design_of, tmp_path, hours, kind):
    active(export, days=4, last_hours=hours)
    report = experiment_report(
        design=design_of(days=4), events=export.write(tmp_path), settings=FEW
    )
    assert report.days == 4
    assert report.verdict.kind == kind


def test_a_short_last_day_is_complete_once_users_come_after_it(export, design_of, tmp_path):
    active(export, days=4, last_hours=3)
    for i in range(20):
        export.request(f"u{i}", f"after{i}", 4 * DAY_S + i)
    report = experiment_report(
        design=design_of(days=4), events=export.write(tmp_path), settings=FEW
    )
    assert report.verdict.kind == "no difference"


def test_bots_do_not_move_the_end(export, design_of, tmp_path):
    """Most users come on one day only, so two bots with clocks ahead are a tenth of a day."""
    for i in range(300):
        at = i // 20 * DAY_S + i
        export.exposure(f"u{i}", ("control", "treatment")[i % 2], at)
        export.request(f"u{i}", f"r{i}", at)
    for bot in ("b1", "b2"):
        export.exposure(bot, "control", DAY_S)
        for n in range(60):
            export.request(bot, f"{bot}-{n}", 25 * DAY_S + n)
    settings = Settings(least_users=2, metric="ctr", bot_events=50)
    report = experiment_report(
        design=design_of(days=30), events=export.write(tmp_path), settings=settings
    )
    assert report.days == 15
