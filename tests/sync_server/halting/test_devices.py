"""Devices of a guardrail: who counts, in which network, and what they did."""

import pytest
from sqlalchemy import select

from pocketrec_server.events.erasure import erase
from pocketrec_server.events.exposures import forget_others, subject_of
from pocketrec_server.events.ingest import store
from pocketrec_server.events.uploads import Upload
from pocketrec_server.halting.devices import MOST_OF_NETWORK, figures, members
from pocketrec_server.storage.database import writing
from pocketrec_server.storage.tables import EXPOSED

DAY_S = 86_400
NOW = 20_000 * DAY_S
SALT = "0a" * 16
SUBJECT = subject_of("blend", SALT)
ARMS = ("control", "variety")


class Phones:
    def __init__(self, engine):
        self.engine, self.n = engine, 0

    def send(self, events, install=1, network="192.0.2.0/24"):
        self.n += 1
        upload = Upload(install_id=f"{install:032x}", batch=f"{self.n:036d}", events=[*events])
        report = store(self.engine, upload, now=NOW, network=network)
        assert report.rejected == []

    def event(self, kind, event, ts, item="", **context):
        self.n += 1
        made = {"id": f"event-{self.n:08d}", "kind": kind, "item_id": item, "event": event}
        return made | {"ts": ts, "context": context}

    def exposure(self, arm="variety", ts=NOW, **more):
        return self.event("exposure", "blend", ts, arm=arm, salt=SALT[:8], **more)

    def members(self):
        return members(self.engine, SUBJECT, ARMS, NOW, NOW + DAY_S)


@pytest.fixture
def phones(engine):
    return Phones(engine)


def test_the_first_exposure_and_its_network_count(phones):
    phones.send([phones.exposure("control")], network="a")
    phones.send([phones.exposure("variety")], network="b")
    phones.send([phones.exposure("variety")], install=2, network="a")
    one, two = phones.members()
    assert (one.arm, two.arm) == ("control", "variety")
    assert one.network == two.network
    assert "192.0" not in one.network and len(one.network) == 32


def test_networks_of_two_experiments_have_different_hashes(phones):
    other = phones.exposure()
    other["context"]["salt"] = "bbbbbbbb"
    phones.send([phones.exposure(), other])
    with phones.engine.connect() as connection:
        hashes = connection.scalars(select(EXPOSED.c.network)).all()
    assert len(hashes) == len(set(hashes)) == 2


@pytest.mark.parametrize(
    "more", [{"forced": True}, {"ts": NOW - 1}, {"ts": NOW + DAY_S}, {"arm": "unknown"}]
)
def test_forced_late_and_unknown_devices_are_left_out(phones, more):
    phones.send([phones.exposure(**more)])
    assert phones.members() == []


def test_a_device_that_was_forced_later_is_left_out(phones):
    phones.send([phones.exposure()])
    assert len(phones.members()) == 1
    phones.send([phones.exposure(forced=True)])
    assert phones.members() == []


def test_few_devices_of_a_network_are_read_and_others_come_first(phones):
    for n in range(MOST_OF_NETWORK + 5):
        phones.send([phones.exposure()], install=n, network="crowd")
    phones.send([phones.exposure()], install=999, network="other")
    found = phones.members()
    assert len(found) == MOST_OF_NETWORK + 1
    assert len({one.network for one in found[:2]}) == 2


def test_figures_are_those_since_the_exposure(phones):
    def request(ts, **context):
        return phones.event("request", "home", ts, **context)

    shown = [
        {**phones.event("impression", "shown", NOW + 5, item, place=n), "id": f"request-x.{n}"}
        for n, item in enumerate(("a", "b", "c"))
    ]
    phones.send(
        [
            request(NOW - 9, source="none", ms=9),
            phones.exposure(),
            request(NOW + 1, source="model", ms=40),
            request(NOW + 2, source="fallback", ms=99_000, faults=["deadline"]),
            request(NOW + 3, source="none"),
            *shown,
            phones.event("interaction", "view", NOW + 6, "a", request="request-x"),
            phones.event("interaction", "view", NOW + 7, "a", request="request-x"),
            phones.event("interaction", "view", NOW + 7, "b"),
            phones.event("interaction", "view", NOW + 7, "z"),
            phones.event("interaction", "purchase", NOW + 8, "z"),
            request(NOW + DAY_S, source="none"),
        ]
    )
    (one,) = phones.members()
    (found,) = figures(phones.engine, [one], NOW + DAY_S).values()
    assert (found.requests, found.fallbacks, found.failures) == (3, 2, 1)
    assert (found.timed, found.slate_ms) == (2, 40 + 60_000)
    assert (found.impressions, found.clicks, found.converted) == (3, 2, 1)
    (other,) = figures(phones.engine, [one], NOW + DAY_S, ("like",)).values()
    assert other.converted == 0


def test_a_bot_is_left_out(phones):
    for n in range(3):
        phones.send([phones.exposure()], install=n, network=str(n))
    for part in range(3):
        many = [phones.event("request", "home", NOW + k) for k in range(400)]
        phones.send(many, install=0, network=str(part))
    found = phones.members()
    assert len(figures(phones.engine, found, NOW + DAY_S)) == 3  # without a usual phone to compare
    for n in range(3, 103):
        phones.send([phones.exposure(), phones.event("request", "home", NOW)], n, str(n))
    found = phones.members()
    assert len(found) == 103 and len(figures(phones.engine, found, NOW + DAY_S)) == 102


def test_exposures_go_with_the_user_s_data_and_with_the_experiment(phones):
    phones.send([phones.exposure()], install=1)
    phones.send([phones.exposure()], install=2)
    erase(phones.engine, f"{1:032x}")
    assert len(phones.members()) == 1
    with writing(phones.engine) as connection:
        forget_others(connection, [SUBJECT])
    assert len(phones.members()) == 1
    with writing(phones.engine) as connection:
        forget_others(connection, ["another 0a0a0a0a"])
    assert phones.members() == []


def test_odd_exposures_are_stored_and_do_not_count(phones):
    odd = [phones.exposure() for _ in range(3)]
    odd[0]["event"] = "Not an id"
    odd[1]["context"]["salt"] = "\u0000\u0001"
    odd[2]["context"]["arm"] = "No name"
    phones.send(odd)
    with phones.engine.connect() as connection:
        assert connection.scalars(select(EXPOSED.c.arm)).all() == []
