"""The same users as raw events and as sums give the same report; the parts are real."""

import json
from dataclasses import asdict

import pytest

from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis import Design, Settings, experiment_report, sums_report
from pocketrec_experiments.analysis.terminal import show
from pocketrec_server.events.export import export_events
from pocketrec_server.sums.export import export_sums

DAYS = 3
USERS = 130
SETTINGS = Settings(metric="ctr", least_users=50)


@pytest.fixture
def both(site, life_of, tmp_path):
    """Reports of one population: from events, and from sums that were sent each day."""
    phones = []
    for n in range(USERS):
        arm = ("control", "treatment")[n % 2]
        phone = site.phone(f"phone{n}", arm)
        events = life_of(site.start_utc, arm, n, DAYS)
        after = [event.ts for event in events if event.ts >= site.start_utc]
        at = min(after, default=site.start_utc + 50) + (25 if n % 3 == 0 else 0)
        phone.log(*events, phone.exposed(at), consent=True)
        phones.append(phone)
    for day in range(1, DAYS + 1):
        end = site.start_utc + day * DAY_S
        for phone in phones:
            phone.send(end - 1 if day < DAYS else end + 60, events=day == DAYS)
        export_sums(site.engine, tmp_path / "sums", now=end - (1 if day < DAYS else -60))
    export_events(site.engine, tmp_path / "events")
    design = Design.of(site.signed, "blend")
    return (
        experiment_report(design=design, events=tmp_path / "events", settings=SETTINGS),
        sums_report(design=design, sums=tmp_path / "sums", settings=SETTINGS),
    )


def numbers(value):
    return {name: one for name, one in asdict(value).items() if not isinstance(one, str)}


def test_intervals_are_equal_and_the_report_says_its_source(both, capsys):
    events, sums = both
    assert (events.source, sums.source, sums.k, sums.epsilon) == ("events", "sums", 50, None)
    left, right = events.comparisons[0], sums.comparisons[0]
    assert [o.metric for o in left.outcomes] == [o.metric for o in right.outcomes]
    assert len(left.outcomes) >= 8 and any(o.cuped for o in left.outcomes)
    for one, two in zip(left.outcomes, right.outcomes, strict=True):
        assert one.metric == two.metric
        assert numbers(two) == pytest.approx(numbers(one), rel=1e-9, abs=1e-9), one.metric
    assert [look.day for look in left.looks] == [look.day for look in right.looks]
    for one, two in zip(left.looks, right.looks, strict=True):
        assert numbers(two.effect) == pytest.approx(numbers(one.effect), rel=1e-9, abs=1e-9)
        assert (two.bound, two.is_crossed) == (pytest.approx(one.bound), one.is_crossed)
    assert sums.ratio == events.ratio
    assert sums.verdict.kind == events.verdict.kind
    for one, two in zip(events.arms, sums.arms, strict=True):
        same = ("exposed", "users", "requests", "impressions", "clicks", "sessions", "buyers")
        assert [getattr(two, name) for name in same] == [getattr(one, name) for name in same]
    show(sums, width=100)
    printed = capsys.readouterr().out
    assert f"Computed from sums of {USERS} devices; arms from k = 50 devices on" in printed
    plain = json.loads(json.dumps(sums.to_json()))
    assert list(plain)[:3] == ["source", "k", "epsilon"]
