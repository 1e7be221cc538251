"""Outcomes that nobody's phone had: to stop a sound release, or to keep a broken one alive.

The attacker sends what they like over HTTP, as often as they like, from one network.
"""

import http.client
import itertools
import json
import shutil
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from benchmarks.support import command_line
from pocketrec_bundle.settings.rollout import FailureLimit
from pocketrec_edge.simulator.loopback_networks import address_in
from pocketrec_server.halting.outcomes import healths
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import (
    change_policy,
    found_repository,
    publish,
    read_halts,
    read_policy,
    unhalt,
)
from pocketrec_server.storage.database import default_url, open_database

ATTACKER, BATCH = 9_999, 32
_ids = itertools.count()


class Channel:
    """A release that the server halts if more than 5% of 100 fail, and who reports of it."""

    def __init__(self, folder, url):
        self.repo, self.url = folder / "repo", url
        self.online = load_signers(folder / "online")
        self.manifest = read_policy(self.repo, "stable").releases[0].manifest

    def report(self, network, kinds, behind=None):
        """Send outcomes in one request from a network; returns the answer."""
        rows = [
            {"id": f"{next(_ids):032x}", "manifest": self.manifest, "outcome": kind}
            for kind in kinds
        ]
        body = {"consent": True, "channel": "stable", "outcomes": rows}
        place = urlsplit(self.url)
        server = http.client.HTTPConnection(
            place.hostname, place.port, timeout=30, source_address=(address_in(network), 0)
        )
        headers = {"Content-Type": "application/json"}
        headers |= {"X-Forwarded-For": behind} if behind else {}
        server.request("POST", "/v1/outcomes", json.dumps(body), headers)
        answer = server.getresponse()
        found = json.loads(answer.read())
        server.close()
        assert answer.status == 200, found
        return found

    @property
    def halted(self):
        return read_halts(self.repo, "stable").reason(self.manifest)

    def health(self):
        return healths(open_database(default_url(self.repo)), "stable")[self.manifest]


@pytest.fixture(scope="module")
def founded(named_releases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("founded")
    make_keys(folder / "keys")
    signers = load_signers(folder / "keys")
    found_repository(folder / "repo", signers)
    publish(named_releases[0], folder / "repo", signers, "stable")

    def limited(policy):
        stage = replace(policy.releases[0], most_failures=FailureLimit(of=100, share=0.05))
        return replace(policy, releases=(stage,))

    change_policy(folder / "repo", signers, "stable", limited)
    (folder / "online").mkdir()
    for name in ("brake", "snapshot", "timestamp"):
        shutil.copy(folder / "keys" / f"{name}.pem", folder / "online")
    return folder


@pytest.fixture
def channel(founded, tmp_path):
    folder = tmp_path / "server"
    shutil.copytree(founded, folder)
    options = ("--keys", folder / "online", "--no-log")
    with command_line.server(folder / "repo", tmp_path, *options) as url:
        yield Channel(folder, url)


def test_one_network_cannot_halt_a_release_whatever_it_reports(channel):
    for phone in range(110):
        channel.report(phone, ["installed"])
    for _ in range(7):  # halted any release before networks were counted
        channel.report(ATTACKER, ["self_test_failed"] * BATCH)
    assert channel.halted is None
    answers = [channel.report(ATTACKER, ["download_failed"] * BATCH) for _ in range(30)]
    assert channel.halted is None
    assert "today" in answers[-1]["rejected"][0]["reason"]
    assert channel.health().failed == 1000  # what is shown is what was sent, up to the day's limit
    for phone in range(110, 120):
        if not channel.halted:  # by phones in networks of their own, not by the attacker
            channel.report(phone, ["self_test_failed"])
    assert unhalt(channel.repo, channel.online, "stable", channel.manifest)
    for phone in range(200, 310):
        channel.report(phone, ["installed"])
    channel.report(ATTACKER - 1, ["reverted"] * BATCH)
    assert channel.halted is None  # judged by what was reported since, and again a single network


def test_one_network_cannot_keep_a_broken_release_alive(channel):
    for _ in range(200):  # 6,400 of them, before the first phone
        channel.report(ATTACKER, ["installed"] * BATCH)
    for phone in range(100):
        channel.report(phone, ["self_test_failed"])
        assert (channel.halted is None) == (phone < 99)
    assert channel.halted == "99% of devices failed, the mean of 100 networks (self-test 100)"


def test_addresses_that_a_client_invents_are_not_believed(channel):
    for n in range(120):
        channel.report(ATTACKER, ["self_test_failed"], behind=f"198.18.{n}.1")
    assert channel.halted is None


def test_behind_a_proxy_networks_are_those_that_the_proxy_saw(founded, tmp_path):
    folder = tmp_path / "server"
    shutil.copytree(founded, folder)
    options = ("--keys", folder / "online", "--no-log", "--behind-proxy")
    with command_line.server(folder / "repo", tmp_path, *options) as url:
        channel = Channel(folder, url)
        for n in range(120):  # an invented address first, the proxy's word last
            channel.report(0, ["reverted"], behind=f"198.18.{n}.1, 203.0.113.9")
        assert channel.halted is None
        for n in range(100):
            channel.report(0, ["reverted"], behind=f"203.0.{n}.9")
        assert channel.halted
