"""Devices of a stage of a rollout: which group, and what counts as before and since."""

import pytest

from pocketrec_bundle.settings.experiment_sums import CONVERSIONS
from pocketrec_bundle.settings.rollout import Stage
from pocketrec_server.events.ingest import store
from pocketrec_server.events.uploads import Upload
from pocketrec_server.halting.release_devices import EARLIER, NEW, PAST_S, devices_of
from pocketrec_server.halting.release_limits import GuardedStage

DAY_S = 86_400
BEGIN = 20_000 * DAY_S
OLD, FRESH = "a" * 16, "b" * 16
STAGE = GuardedStage(
    channel="stable",
    stage=Stage(manifest="b" * 64, name="spring", percent=50.0),
    earlier=frozenset({OLD}),
    begin_utc=BEGIN,
)


class Phones:
    def __init__(self, engine):
        self.engine, self.n = engine, 0

    def send(self, *events, at=BEGIN + 10, install=1, network="a", stages=(STAGE.subject,)):
        self.n += 1
        upload = Upload(install_id=f"{install:032x}", batch=f"{self.n:036d}", events=[*events])
        report = store(self.engine, upload, now=at, network=network, stages=stages)
        assert report.rejected == []

    def event(self, kind, event, ts, item="", **context):
        self.n += 1
        made = {"id": f"event-{self.n:08d}", "kind": kind, "item_id": item, "event": event}
        return made | {"ts": ts, "context": context}

    def request(self, ts, release=OLD, **context):
        return self.event("request", "home", ts, release=release, **context)

    def found(self, until=BEGIN + DAY_S):
        return devices_of(self.engine, STAGE, until, CONVERSIONS)


@pytest.fixture
def phones(engine):
    return Phones(engine)


def test_a_phone_counts_from_its_first_upload_in_the_stage(phones):
    phones.send(phones.request(BEGIN - 9, source="fallback"), at=BEGIN - 5, stages=())
    phones.send(phones.request(BEGIN + 5, source="fallback"), at=BEGIN + 10)
    phones.send(phones.request(BEGIN + 20, FRESH, source="model"), at=BEGIN + 30, network="b")
    found = phones.found()
    (one,) = found.members
    assert (one.arm, one.exposed_utc) == (NEW, BEGIN + 10)
    assert (found.past[one.install].requests, found.past[one.install].fallbacks) == (2, 2)
    assert (found.since[one.install].requests, found.since[one.install].fallbacks) == (1, 0)


def test_a_phone_without_the_release_is_in_the_other_group(phones):
    phones.send(phones.request(BEGIN - 9))
    phones.send(phones.request(BEGIN + 20, ms=40), at=BEGIN + 30)
    found = phones.found()
    (one,) = found.members
    assert one.arm == EARLIER
    assert (found.past[one.install].requests, found.since[one.install].timed) == (1, 1)


def test_what_a_phone_did_before_its_release_arrived_counts_for_neither(phones):
    """A download may take several syncs; after a fallback to the earlier release all counts."""
    phones.send(phones.request(BEGIN - 9))
    phones.send(
        phones.request(BEGIN + 20),
        phones.request(BEGIN + 40, FRESH),
        phones.request(BEGIN + 50, source="fallback"),
        at=BEGIN + 60,
    )
    found = phones.found()
    (one,) = found.members
    assert one.arm == NEW
    assert (found.past[one.install].requests, found.since[one.install].requests) == (1, 2)


@pytest.mark.parametrize(
    "requests",
    [
        ((BEGIN - 9, FRESH), (BEGIN + 20, FRESH)),  # had it before the stage
        ((BEGIN - 9, "c" * 16), (BEGIN + 20, "c" * 16)),  # of another channel
        ((BEGIN - 9, ""), (BEGIN + 20, "")),  # without a release
    ],
)
def test_phones_of_neither_group_are_left_out(phones, requests):
    phones.send(*(phones.request(ts, release) for ts, release in requests))
    assert phones.found().members == []


def test_uploads_after_the_look_and_events_long_ago_do_not_count(phones):
    phones.send(phones.request(BEGIN - 9), at=BEGIN + 2 * DAY_S)
    assert phones.found().members == []
    phones.send(phones.request(BEGIN + 10 - PAST_S - 1), phones.request(BEGIN - 8), install=2)
    phones.send(phones.request(BEGIN + 20), phones.request(BEGIN + DAY_S), install=2)
    found = phones.found()
    (one,) = found.members
    assert (found.past[one.install].requests, found.since[one.install].requests) == (1, 1)


def test_conversion_is_a_share_of_the_days_of_use(phones):
    days = [phones.event("interaction", "view", BEGIN + 20 + n * DAY_S, "x") for n in range(4)]
    bought = [phones.event("interaction", "purchase", BEGIN + 30 + n, "x") for n in range(3)]
    phones.send(phones.request(BEGIN - 9))
    phones.send(phones.request(BEGIN + 20, FRESH), *days, *bought)
    found = phones.found(BEGIN + 5 * DAY_S)
    (one,) = found.members
    assert (found.since[one.install].days, found.since[one.install].converted_days) == (4, 1)
    assert (found.past[one.install].days, found.past[one.install].converted_days) == (1, 0)
