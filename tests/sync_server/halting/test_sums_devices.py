"""Devices that send sums: which network they are in, and for how long that is known."""

import pytest
from sqlalchemy import select

from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_bundle.settings.experiment_sums import LIMITS, PAST_LIMITS, DeviceSums
from pocketrec_server.events.exposures import forget_others, network_tag, subject_of
from pocketrec_server.events.rate_limit import LIMITS as RATES
from pocketrec_server.halting.devices import MOST_OF_NETWORK
from pocketrec_server.halting.sums_devices import devices_with_sums
from pocketrec_server.storage.database import writing
from pocketrec_server.storage.tables import SUMS_NETWORK
from pocketrec_server.sums import store

NOW = 1_800_000_000
ONE = Experiment(
    id="blend",
    hypothesis="",
    salt="0a" * 16,
    layer="a",
    segment=(0.0, 1.0),
    state="running",
    from_utc=NOW,
    until_utc=NOW + 9 * 86_400,
    arms=(Arm(name="control", share=0.5), Arm(name="variety", share=0.5)),
)


class Phones:
    def __init__(self, engine):
        self.engine = engine

    def send(self, n=1, network="192.0.2.0/24", arm="variety", seq=1, guarded=True, **sums):
        body = DeviceSums(
            channel="stable",
            experiment="blend",
            salt=ONE.salt,
            arm=arm,
            id=f"{n:032x}",
            seq=seq,
            currency=None,
            sums=dict.fromkeys(LIMITS, 0) | sums,
            past=dict.fromkeys(PAST_LIMITS, 0),
            score_bins=(0,) * 13,
            latency_bins=(0,) * 13,
        )
        return store.store(
            self.engine, body, ONE.until_utc, RATES, NOW, network, is_guarded=guarded
        )

    def found(self, channel="stable"):
        return devices_with_sums(self.engine, channel, ONE, ["control", "variety"])

    def stored(self):
        with self.engine.connect() as connection:
            return connection.execute(select(SUMS_NETWORK)).all()


@pytest.fixture
def phones(engine):
    return Phones(engine)


def test_the_newest_sums_and_the_first_network_count(phones):
    assert phones.send(requests=1)
    assert phones.send(requests=5, slate_us=250_000, timed=5, conversions=2, seq=2, network="b")
    assert not phones.send(requests=9, seq=2)
    (one,), figures = phones.found()
    assert (one.arm, one.install) == ("variety", -1)
    with writing(phones.engine) as connection:
        tag = network_tag(connection, subject_of("blend", ONE.salt), "192.0.2.0/24")
    assert one.network == tag and "192.0" not in tag
    found = figures[-1]
    assert (found.requests, found.slate_ms, found.converted) == (5, 250, 1)
    assert phones.found("beta") == ([], {})


def test_sums_of_an_experiment_without_guardrails_have_no_network(phones):
    phones.send(guarded=False)
    assert phones.stored() == [] and phones.found() == ([], {})
    phones.send(seq=2)
    assert len(phones.found()[0]) == 1


def test_few_devices_of_a_network_are_read(phones):
    for n in range(MOST_OF_NETWORK + 5):
        phones.send(n, network="crowd")
    phones.send(999, network="other")
    found, figures = phones.found()
    assert len(found) == len(figures) == MOST_OF_NETWORK + 1
    assert len({one.network for one in found[:2]}) == 2


def test_a_bot_is_left_out_of_the_figures(phones):
    for n in range(120):
        phones.send(n, network=str(n), busiest_day=5)
    phones.send(500, network="bot", busiest_day=5000)
    found, figures = phones.found()
    assert (len(found), len(figures)) == (121, 120)


def test_networks_go_with_the_sums_and_with_the_experiment(phones):
    phones.send(1)
    phones.send(2)
    store.erase(phones.engine, f"{1:032x}")
    assert len(phones.stored()) == 1
    with writing(phones.engine) as connection:
        forget_others(connection, [subject_of("blend", ONE.salt)])
    assert len(phones.stored()) == 1
    with writing(phones.engine) as connection:
        forget_others(connection, [])
    assert phones.stored() == []
    assert store.erase(phones.engine, f"{2:032x}") == 1
