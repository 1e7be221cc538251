"""A server that takes events, and a site of releases and experiments, over HTTP."""

import threading
import time

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry
from werkzeug.serving import make_server

from pocketrec_bundle.settings.assignment import assigned_arm
from pocketrec_edge.device import Device
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync.client import sync
from pocketrec_server.events.routes import event_routes
from pocketrec_server.experiments import signing
from pocketrec_server.experiments.halted_arms import halt_arm
from pocketrec_server.repository import blobs, state
from pocketrec_server.repository.publish import change_policy, publish, read_policy
from pocketrec_server.repository.rollout import changed, find
from pocketrec_server.storage.database import open_database

PATH = "channels/stable/experiments.json"
RULES = {"version": 1, "depth": 8, "rules": []}


class Site:
    """Channel stable with release 0 for all, release 1 for nobody, and phones."""

    def __init__(self, repo, signers, url, asked, folder):
        self.repo, self.signers, self.url, self.asked = repo, signers, url, asked
        self.folder = folder

    def start(self, arm=None, name="blend", control=None, **more):
        arms = [
            {"name": "control", "share": 0.5} | (control or {}),
            {"name": "treatment", "share": 0.5} | (arm or {"rules": RULES}),
        ]
        plan = {"id": name, "until_utc": int(time.time()) + 86_400, "arms": arms} | more
        return signing.start(self.repo, self.signers, "stable", plan)

    @property
    def one(self):
        (found,) = signing.read_experiments(self.repo, "stable").experiments
        return found

    def halt(self, arm="treatment"):
        return halt_arm(self.repo, self.signers, "stable", self.one, arm, "slow")

    def move(self, action, name="blend"):
        signing.move(self.repo, self.signers, "stable", name, action)

    def change(self, release, **changes):
        change_policy(
            self.repo, self.signers, "stable", lambda p: changed(p, find(p, release), **changes)
        )

    def manifest(self, release):
        return find(read_policy(self.repo, "stable"), release).manifest

    def sync(self, home="phone", **more):
        self.asked.clear()
        root = self.repo / "metadata" / "1.root.json"
        return sync(self.folder / home, self.url, lambda _: None, root_path=root, **more)

    def has(self, home="phone"):
        with Device(self.folder / home, engine="onnx") as device:
            return None if device.bundle is None else device.bundle.manifest.name

    def arms(self, home="phone"):
        with Device(self.folder / home, engine="onnx") as device:
            return device.recommend(1).arms

    def phone(self, arm, home="phone"):
        """A new phone that draws an arm of the one experiment."""
        (one,) = signing.read_experiments(self.repo, "stable").experiments
        for n in range(1000):
            found = assigned_arm(one, None, n.to_bytes(16, "big"), time.time())
            if found is not None and found.name == arm:
                break
        PhoneHome(self.folder / home).make()
        PhoneHome(self.folder / home).bucket_id.write_text(f"{n:032x}")

    def sign(self, data, path=PATH, role="stable"):
        """Sign these bytes as the channel's experiments, whatever they are."""
        current = state.load(self.repo)
        current.edit(role).targets[path] = blobs.store(self.repo, path, data)
        current.write(self.repo, self.signers)


@pytest.fixture
def site(founded, named_releases, static_server, tmp_path):
    repo, signers = founded
    publish(named_releases[1], repo, signers, "stable", percent=0)
    asked: list[str] = []
    with static_server(repo, asked) as url:
        yield Site(repo, signers, url, asked, tmp_path)


@pytest.fixture
def database(tmp_path):
    return open_database(f"sqlite:///{tmp_path / 'server.sqlite'}")


@pytest.fixture
def url(database):
    app = Flask("test")
    app.register_blueprint(event_routes(database, CollectorRegistry()))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
