"""A served channel with one experiment, and phones with logged slates."""

import io
import threading
import time
import uuid
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from werkzeug.serving import make_server

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_bundle.units import DAY_S
from pocketrec_edge.events.event import IMPRESSION, INTERACTION, REQUEST, Event
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.slate_events import Exposure, exposure_event, new_request
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync.http import Network
from pocketrec_edge.sync.sync_log import SyncLog
from pocketrec_edge.sync.transfer import Retry
from pocketrec_edge.sync.uploads.events import send_events
from pocketrec_edge.sync.uploads.sums import send_sums
from pocketrec_server.app import create_app
from pocketrec_server.experiments import signing
from pocketrec_server.settings import Settings
from pocketrec_server.storage.database import default_url, open_database

DAYS = 3


class Phone:
    """A phone of the channel; what it did is written into its log as slates and taps."""

    def __init__(self, site, name, arm):
        self.site, self.arm, self.cipher = site, arm, None
        self.home = PhoneHome(site.folder / name)
        self.home.make()
        self.follow()

    def follow(self):
        """Read the channel's experiments, as a sync does."""
        signed = signing.read_experiments(self.site.repo, "stable")
        self.home.experiments.write_bytes(signed.to_bytes())

    def log(self, *events, consent=None, at=None, only_sums=False):
        clock = (lambda: at) if at is not None else (lambda: self.site.start_utc - 40 * DAY_S)
        with closing(EventLog(self.home.event_log, cipher=self.cipher, clock=clock)) as log:
            if consent is not None:
                log.set_consent(consent, only_sums=only_sums)
            if events:
                log.append_many(list(events))

    def exposed(self, at, **more):
        experiment = self.site.experiment
        exposure = Exposure(experiment=experiment.id, arm=self.arm, salt=experiment.salt, **more)
        return exposure_event(exposure, at)

    def send(self, now, *, events=False):
        """Return the bodies of sums that the server stored."""
        with SyncLog(self.home, self.cipher) as opened:
            if events:
                sent = send_events(opened, self.site.url, Network(), Retry(tries=1))
                assert (sent.rejected, sent.fault) == (0, None)
            return send_sums(opened, self.site.url, Network(), int(now))


def slate(at, session, *, items, clicked=(), bought=None, ms=12.5, source="model", faults=()):
    """One slate with its taps."""
    request = new_request()
    facts = {"source": source, "k": len(items), "ms": ms, "session": session}
    events = [
        Event(
            id=request,
            kind=REQUEST,
            item_id="",
            event="home",
            value=None,
            ts=at,
            context=facts | ({"faults": list(faults)} if faults else {}),
        )
    ]
    for place, item in enumerate(items, 1):
        context = {"place": place, "score": 0.04 * place, "propensity": 1.0}
        events.append(
            Event(
                id=f"{request}.{place}",
                kind=IMPRESSION,
                item_id=item,
                event="shown",
                value=None,
                ts=at,
                context=context,
            )
        )
    events += [tap(at + 20, item, session=session, request=request) for item in clicked]
    if bought is not None:
        item, amount = bought
        events.append(
            tap(at + 40, item, "purchase", amount, session=session, request=request, currency="EUR")
        )
    return events


def tap(at, item, event="view", value=None, **context):
    return Event(
        id=uuid.uuid4().hex,
        kind=INTERACTION,
        item_id=item,
        event=event,
        value=value,
        ts=at,
        context=context,
    )


class Recorder:
    """WSGI middleware that keeps each request: method, path, headers, body."""

    def __init__(self, app):
        self._app, self.requests = app, []

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        headers = {key[5:] for key in environ if key.startswith("HTTP_")}
        headers |= {key for key in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(key)}
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], headers, body))
        return self._app(environ, start_response)


class Site:
    """The server, its repository and the experiment."""

    def __init__(self, repo, signers, url, folder, recorder):
        self.repo, self.signers, self.url, self.folder = repo, signers, url, folder
        self.recorder = recorder
        self.engine = open_database(default_url(repo))

    def begin(self, name="blend", flag="big", **more):
        arms = [
            {"name": "control", "share": 0.5},
            {"name": "treatment", "share": 0.5, "flags": {flag: True}},
        ]
        signing.start(
            self.repo, self.signers, "stable", {"id": name, "arms": arms} | self.times() | more
        )

    def times(self):
        begin = int(time.time()) // DAY_S * DAY_S + DAY_S
        return {"from_utc": begin, "until_utc": begin + DAYS * DAY_S}

    @property
    def signed(self) -> Experiments:
        return signing.read_experiments(self.repo, "stable")

    @property
    def experiment(self):
        return self.signed.experiments[0]

    @property
    def start_utc(self):
        return self.experiment.from_utc

    def phone(self, name="phone", arm="treatment"):
        return Phone(self, name, arm)

    def write_experiments(self, path: Path) -> Path:
        path.write_bytes(canonical_json(self.signed.to_json()))
        return path


@pytest.fixture
def site(founded, tmp_path):
    repo, signers = founded
    app = create_app(Settings(repo=repo, log_requests=False))
    recorder = Recorder(app)
    server = make_server("127.0.0.1", 0, recorder, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    made = Site(repo, signers, f"http://127.0.0.1:{server.server_port}", tmp_path, recorder)
    made.begin()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()
    made.engine.dispose()


@pytest.fixture
def slate_of():
    return slate


@pytest.fixture
def tap_of():
    return tap


@pytest.fixture
def life_of():
    """Return a function: the events of a user's days, drawn with a seed."""

    def life(start, arm, seed, days):
        rng = np.random.default_rng(seed)
        lift = 0.1 if arm == "treatment" else 0.0
        taste = rng.uniform(0.1, 0.4)
        events = []
        for day in range(-5, days):
            if rng.random() < 0.1:
                continue
            at = start + day * DAY_S + int(rng.integers(0, DAY_S - 4000))
            session = f"session{day:+03}"
            for n in range(int(rng.integers(1, 4))):
                items = [f"item{i}" for i in rng.choice(40, 4, replace=False)]
                rate = taste + (lift if day >= 0 else 0.0)
                events += slate(
                    at + n * 300,
                    session,
                    items=items,
                    clicked=[item for item in items if rng.random() < rate],
                    bought=(items[0], round(float(rng.uniform(1, 90)), 2))
                    if rng.random() < rate / 2
                    else None,
                    ms=round(float(rng.uniform(2, 80)), 1),
                    source="fallback" if rng.random() < 0.05 else "model",
                    faults=["deadline"] if rng.random() < 0.05 else (),
                )
            if rng.random() < 0.3:  # a tap that names no request
                events.append(tap(at + 1500, items[1], session=session))
        return events

    return life
