"""Events and sums that nobody's phone had: to halt a sound arm, or to keep a harmful one running.

The attacker uploads what they like over HTTP, under as many ids as they like, from one network.
Honest phones are in networks of their own. A look is made as the server makes it.
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
from pocketrec_bundle.settings.assignment import assigned_arm
from pocketrec_bundle.settings.experiment_sums import LIMITS, PAST_LIMITS, DeviceSums
from pocketrec_edge.device import Device
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.simulator.loopback_networks import address_in
from pocketrec_server.experiments import signing
from pocketrec_server.experiments.halted_arms import read_halted_arms
from pocketrec_server.halting import guard, looks
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish
from pocketrec_server.storage.database import default_url, open_database

DAY_S = 86_400
ATTACKER, PHONES, FORGED = 9_999, 120, 100
CONTROL, ARM = "control", "treatment"
_ids = itertools.count()


class Channel:
    """An experiment of 7 days, 5 of which are over; an arm is halted if it fails 10% more."""

    def __init__(self, folder, url):
        self.repo, self.url = folder / "repo", url
        self.signers = load_signers(folder / "keys")
        self.now = int(time.time())
        self.begin = self.now - 5 * DAY_S - looks.LATE_S
        plan = {
            "id": "blend",
            "until_utc": self.begin + 7 * DAY_S,
            "arms": [
                {"name": CONTROL, "share": 0.5},
                {"name": ARM, "share": 0.5, "flags": {"new": True}},
            ],
            "guardrails": [
                {"metric": "fallback_share", "worse_by": 0.1, "alpha": 0.01},
                {"metric": "slate_ms", "worse_by": 0.1, "alpha": 0.01},
            ],
        }
        self.one = signing.start(self.repo, self.signers, "stable", plan, now_utc=self.begin)
        self.engine = open_database(default_url(self.repo))

    def sums(self, network, arm, *, fallbacks=0, slates=10, ms=50.0):
        """Upload the sums of a new phone, some of its slates fallbacks."""
        zeros = dict.fromkeys(LIMITS, 0)
        body = DeviceSums(
            channel="stable",
            experiment="blend",
            salt=self.one.salt,
            arm=arm,
            id=f"{next(_ids):032x}",
            seq=1,
            currency=None,
            sums=zeros
            | {"requests": slates, "timed": slates, "fallbacks": fallbacks}
            | {"slate_us": int(slates * ms * 1000), "busiest_day": slates},
            past={name: 0 for name in zeros if name in PAST_LIMITS},
            score_bins=(0,) * 13,
            latency_bins=(0,) * 13,
        )
        assert self._post(network, "/v1/sums", body.to_bytes()) == {"stored": True}

    def phone(self, network, arm, *, fallbacks=0, slates=10, ms=50.0):
        """Upload an exposure and slates of a new install, some of them fallbacks."""
        ts = self.begin + 3600 + next(_ids) % DAY_S
        context = {"arm": arm, "salt": self.one.salt[:8]}
        events = [self._event("exposure", "blend", ts, context)]
        for n in range(slates):
            source = "fallback" if n < fallbacks else "model"
            events.append(self._event("request", "home", ts + n, {"source": source, "ms": ms}))
        self._send(network, events)

    def _event(self, kind, event, ts, context):
        name = f"request-{next(_ids):08d}"
        return {"id": name, "kind": kind, "item_id": "", "event": event, "ts": ts} | {
            "context": context
        }

    def _send(self, network, events):
        body = {
            "schema": 1,
            "batch": str(uuid.uuid4()),
            "install_id": f"{next(_ids):032x}",
            "consent": True,
            "events": events,
        }
        assert self._post(network, "/v1/events", json.dumps(body))["rejected"] == []

    def _post(self, network, path, body):
        place = urlsplit(self.url)
        server = http.client.HTTPConnection(
            place.hostname, place.port, timeout=30, source_address=(address_in(network), 0)
        )
        server.request("POST", path, body, {"Content-Type": "application/json"})
        answer = server.getresponse()
        found = json.loads(answer.read())
        server.close()
        assert answer.status == 200, found
        return found

    def honest(self, *, fallbacks=0, ms=50.0, phones=PHONES, send=None):
        """Phones in networks of their own; some fallbacks and latencies vary in both arms."""
        send = send or self.phone
        for n in range(phones):
            arm, own = (CONTROL, ARM)[n % 2], n % 6 == 0
            more = {"fallbacks": fallbacks, "ms": ms} if arm == ARM else {"ms": 50.0}
            more["fallbacks"] = max(more.get("fallbacks", 0), int(own) + int(n % 9 == 0))
            more["ms"] += 5 * (n % 7)
            send(n, arm, **more)

    def look(self):
        """Return the arms that are halted after today's look, and the look at fallbacks."""
        guard.once(self.repo, self.engine, self.signers, self.now)
        subject = guard.subject_of("stable", self.one)
        halted = {one.arm for one in read_halted_arms(self.repo, "stable").halted}
        return halted, {
            look.guardrail.split()[0]: look for look in looks.looks(self.engine, subject)
        }


@pytest.fixture(scope="module")
def founded(named_releases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("founded")
    make_keys(folder / "keys")
    found_repository(folder / "repo", load_signers(folder / "keys"))
    publish(named_releases[0], folder / "repo", load_signers(folder / "keys"), "stable")
    return folder


@pytest.fixture
def channel(founded, tmp_path):
    folder = tmp_path / "server"
    shutil.copytree(founded, folder)
    with command_line.server(folder / "repo", tmp_path, "--no-log") as url:
        found = Channel(folder, url)
        yield found
        found.engine.dispose()


def test_a_sound_arm_is_not_halted(channel):
    channel.honest()
    halted, found = channel.look()
    assert halted == set() and set(found) == {"fallback_share", "slate_ms"}


def test_an_arm_that_harms_its_users_is_halted(channel):
    channel.honest(fallbacks=5)
    halted, found = channel.look()
    assert halted == {ARM}
    assert found["fallback_share"].broken and not found["slate_ms"].broken
    (one,) = read_halted_arms(channel.repo, "stable").halted
    assert one.reason.startswith("fallback_share is 0.5")
    assert (one.experiment, one.salt) == ("blend", channel.one.salt)


def test_a_server_with_the_brake_halts_by_itself_and_phones_return_to_their_release(
    channel, tmp_path
):
    pytest.importorskip("onnxruntime")
    root = channel.repo / "metadata" / "1.root.json"
    homes = {arm: drawn(channel.one, arm, tmp_path) for arm in (CONTROL, ARM)}
    for arm, home in homes.items():
        with Device(home, engine="onnx") as phone:
            phone.sync(channel.url, root=root, consent=True)
            assert phone.recommend(1).arms == {"blend": arm}
            assert phone.flag("new", False) is (arm == ARM)
            assert phone.sync(channel.url).events_rejected == 0
    channel.honest(fallbacks=5)
    (tmp_path / "online").mkdir()
    for name in ("brake", "snapshot", "timestamp"):
        shutil.copy(channel.repo.parent / "keys" / f"{name}.pem", tmp_path / "online")
    (tmp_path / "other").mkdir()
    options = ("--keys", tmp_path / "online", "--no-log")
    with command_line.server(channel.repo, tmp_path / "other", *options) as url:
        end = time.monotonic() + 60
        while not read_halted_arms(channel.repo, "stable").halted and time.monotonic() < end:
            time.sleep(0.1)
        for arm, home in homes.items():
            with Device(home, engine="onnx") as phone:
                report = phone.sync(url)
                assert (report.status, report.experiments_fault) == ("current", None)
                assert phone.recommend(1).arms == ({"blend": CONTROL} if arm == CONTROL else {})
                assert phone.flag("new", False) is False


def drawn(one, arm, folder):
    """Return the home of a new phone that draws an arm."""
    home, now = PhoneHome(folder / f"phone-{arm}"), time.time()
    home.make()
    ids = (n.to_bytes(16, "big") for n in itertools.count())
    fits = (n for n in ids if (found := assigned_arm(one, None, n, now)) and found.name == arm)
    home.bucket_id.write_text(next(fits).hex())
    return home.folder


def test_one_network_cannot_halt_an_arm_whatever_it_reports(channel):
    channel.honest()
    for _ in range(FORGED):
        channel.phone(ATTACKER, ARM, fallbacks=10, ms=60_000)
    for _ in range(FORGED):
        channel.phone(ATTACKER, CONTROL, ms=0)
    halted, found = channel.look()
    assert halted == set()
    assert found["fallback_share"].treatment < 0.1 and found["slate_ms"].treatment < 100


def test_one_network_cannot_keep_a_harmful_arm_running(channel):
    channel.honest(fallbacks=5, ms=200)
    for _ in range(FORGED):
        channel.phone(ATTACKER, ARM, ms=0)
    for _ in range(FORGED):
        channel.phone(ATTACKER, CONTROL, fallbacks=10, ms=60_000)
    halted, found = channel.look()
    assert halted == {ARM}
    assert found["fallback_share"].broken and found["slate_ms"].broken


def test_events_of_one_network_alone_are_no_sample(channel):
    for n in range(PHONES):
        channel.phone(ATTACKER, (CONTROL, ARM)[n % 2], fallbacks=10 * (n % 2))
    halted, found = channel.look()
    assert (halted, found) == (set(), {})


def test_sums_halt_a_harmful_arm_whatever_one_network_sends(channel):
    channel.honest(fallbacks=5, ms=200, send=channel.sums)
    for send in (channel.sums, channel.phone):
        for _ in range(FORGED // 2):
            send(ATTACKER, ARM, ms=0)
            send(ATTACKER, CONTROL, fallbacks=10, ms=60_000)
    halted, found = channel.look()
    assert halted == {ARM}
    assert found["fallback_share"].broken and found["slate_ms"].broken
    assert found["fallback_share"].networks == PHONES // 2 + 1


def test_sums_of_one_network_cannot_halt_a_sound_arm(channel):
    """Half of the honest phones send events and sums, the others sums only."""
    channel.honest(send=channel.sums)
    channel.honest(phones=PHONES // 2)
    for send in (channel.sums, channel.phone):
        for _ in range(FORGED // 2):
            send(ATTACKER, ARM, fallbacks=10, ms=60_000)
            send(ATTACKER, CONTROL, ms=0)
    halted, found = channel.look()
    assert halted == set()
    assert found["fallback_share"].treatment < 0.1 and found["slate_ms"].treatment < 100
    assert found["fallback_share"].networks == PHONES // 2 + 1  # each phone in one network


def test_sums_of_one_network_alone_are_no_sample(channel):
    for n in range(PHONES):
        channel.sums(ATTACKER, (CONTROL, ARM)[n % 2], fallbacks=10 * (n % 2))
    assert channel.look() == (set(), {})
