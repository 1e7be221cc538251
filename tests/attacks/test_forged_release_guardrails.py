"""Events that nobody's phone had: to halt a sound release, or to keep a harmful one going.

The attacker uploads what they like over HTTP, under as many install ids as they like, from one
network. Honest phones are in networks of their own. A look is made as the server makes it.
"""

import http.client
import itertools
import json
import shutil
import time
import uuid
from urllib.parse import urlsplit

import pytest

from benchmarks.support import command_line
from pocketrec_bundle.settings.experiment_arms import Guardrail
from pocketrec_bundle.settings.release_guardrails import ReleaseGuardrails
from pocketrec_edge.simulator.loopback_networks import address_in
from pocketrec_server.auth import audit
from pocketrec_server.halting import guard, looks
from pocketrec_server.halting.release_limits import change_guardrails, guarded_stages
from pocketrec_server.repository.history import policy_history
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish, read_halts, read_policy
from pocketrec_server.storage.database import default_url, open_database

DAY_S = 86_400
ATTACKER, PHONES, FORGED = 9_999, 120, 60
_ids = itertools.count()


class Channel:
    """Half of the phones are offered a release; it is halted if it fails 10% more."""

    def __init__(self, folder, url):
        self.repo, self.url = folder / "repo", url
        self.signers = load_signers(folder / "keys")
        self.engine = open_database(default_url(self.repo))
        self.new, self.old = (
            stage.manifest[:16] for stage in read_policy(self.repo, "stable").releases
        )
        (self.stage,) = guarded_stages(self.repo, time.time())

    def phone(self, network, release, *, fallbacks=0, past=0, ms=50.0):
        """Upload slates of a week ago from an earlier release, sync, and upload newer ones."""
        install, now = f"{next(_ids):032x}", int(time.time())
        self._send(network, install, self._slates(now - 7 * DAY_S, self.old, past, 50.0))
        ts = now + 3600 + next(_ids) % DAY_S
        self._send(network, install, self._slates(ts, release, fallbacks, ms))

    def _slates(self, ts, release, fallbacks, ms):
        return [
            {"id": f"request-{next(_ids):08d}", "kind": "request", "item_id": "", "event": "home"}
            | {"ts": ts + n, "context": {"release": release, "ms": ms}}
            | {"context": {"release": release, "ms": ms, "source": _source(n < fallbacks)}}
            for n in range(10)
        ]

    def _send(self, network, install, events):
        place = urlsplit(self.url)
        server = http.client.HTTPConnection(
            place.hostname, place.port, timeout=30, source_address=(address_in(network), 0)
        )
        body = {"schema": 1, "batch": str(uuid.uuid4()), "install_id": install, "consent": True}
        headers = {"Content-Type": "application/json"}
        server.request("POST", "/v1/events", json.dumps(body | {"events": events}), headers)
        answer = server.getresponse()
        found = json.loads(answer.read())
        server.close()
        assert answer.status == 200, found
        assert found["rejected"] == []

    def honest(self, *, fallbacks=0, ms=50.0):
        """Phones in networks of their own, some with fallbacks in every period."""
        for n in range(PHONES):
            own = int(n % 6 == 0) + int(n % 9 == 0)
            if n % 2:
                self.phone(n, self.new, fallbacks=max(fallbacks, own), past=own, ms=ms + n % 7)
            else:
                self.phone(n, self.old, fallbacks=own, past=own, ms=50.0 + n % 7)

    def look(self, days=5):
        """Return whether the release is halted after a look, and the looks by metric."""
        now = int(time.time()) + days * DAY_S + looks.LATE_S
        halted = guard.once(self.repo, self.engine, self.signers, now)
        why = read_halts(self.repo, "stable").reason(self.stage.stage.manifest)
        assert (why is not None) == bool(halted)
        found = halted or looks.looks(self.engine, self.stage.subject)
        return why, {look.guardrail.split()[0]: look for look in found}


def _source(is_fallback):
    return "fallback" if is_fallback else "model"


@pytest.fixture(scope="module")
def founded(named_releases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("founded")
    make_keys(folder / "keys")
    repo, signers = folder / "repo", load_signers(folder / "keys")
    found_repository(repo, signers)
    publish(named_releases[0], repo, signers, "stable")
    publish(named_releases[1], repo, signers, "stable", percent=50)
    limits = (
        Guardrail(metric="fallback_share", worse_by=0.1, alpha=0.01),
        Guardrail(metric="slate_ms", worse_by=0.1, alpha=0.01),
    )
    wanted = ReleaseGuardrails(channel="stable", guardrails=limits, days=7)
    change_guardrails(repo, signers, "stable", lambda _: wanted)
    return folder


@pytest.fixture
def channel(founded, tmp_path):
    folder = tmp_path / "server"
    shutil.copytree(founded, folder)
    with command_line.server(folder / "repo", tmp_path, "--no-log") as url:
        found = Channel(folder, url)
        yield found
        found.engine.dispose()


def test_a_sound_release_is_not_halted_whatever_one_network_reports(channel):
    channel.honest()
    for _ in range(FORGED):
        channel.phone(ATTACKER, channel.new, fallbacks=10, past=0, ms=60_000)
    for _ in range(FORGED):
        channel.phone(ATTACKER, channel.old, fallbacks=0, past=10, ms=0)
    why, found = channel.look()
    assert why is None and set(found) == {"fallback_share", "slate_ms"}
    assert found["fallback_share"].treatment < 0.1 and found["slate_ms"].treatment < 100
    assert 50 <= found["fallback_share"].networks <= PHONES / 2 + 1


def test_a_harmful_release_is_halted_whatever_one_network_reports(channel):
    channel.honest(fallbacks=5, ms=200)
    for _ in range(FORGED):
        channel.phone(ATTACKER, channel.new, fallbacks=0, past=10, ms=0)
    for _ in range(FORGED):
        channel.phone(ATTACKER, channel.old, fallbacks=10, past=0, ms=60_000)
    why, found = channel.look()
    assert why is not None and why.startswith("fallback_share is 0.")
    assert "in earlier releases, and may be 10% worse (day 5, 6" in why
    assert found["fallback_share"].broken
    change = policy_history(channel.repo, "stable")[0]
    assert (change.action, change.by, change.reason) == ("halt", audit.SERVER, why)
    assert guarded_stages(channel.repo, time.time()) == []


def test_events_of_one_network_alone_are_no_sample(channel):
    for n in range(FORGED):
        channel.phone(ATTACKER, (channel.old, channel.new)[n % 2], fallbacks=10 * (n % 2))
    assert channel.look() == (None, {})
