"""An exposure that never reached the server is logged again, and counted once."""

import json
from contextlib import contextmanager

import pyarrow.parquet as pq
import pytest

from pocketrec_bundle.settings.experiment import RUNNING, Experiment
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_bundle.units import DAY_S
from pocketrec_edge.device import Device
from pocketrec_edge.experiments.signed_experiments import keep_experiments
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync.http import Network
from pocketrec_edge.sync.sync_log import SyncLog
from pocketrec_edge.sync.transfer import Retry
from pocketrec_edge.sync.uploads.events import send_events
from pocketrec_server.events import validation
from pocketrec_server.events.export import export_events

NOW = 1_780_000_000


class Clock:
    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@contextmanager
def phone(folder, release, clock):
    with Device(folder, bundle=release, engine="onnx", clock=clock) as device:
        device.set_consent(True)
        yield device


def upload(folder, url):
    with SyncLog(PhoneHome(folder), None) as opened:
        return send_events(opened, url, Network(), Retry(tries=1))


def exported(database, out):
    """Exposures of an export."""
    export_events(database, out)
    parts = [
        pq.read_table(part, partitioning=None) for part in (out / "exposures").rglob("*.parquet")
    ]
    return [row for part in parts for row in part.to_pylist()]


def exposures(device):
    """Exposures in the log, oldest first, with their upload state."""
    return device._user.log.opened().exposures()


@pytest.fixture
def enrolled(tmp_path):
    """A phone's folder with one running experiment."""
    arms = tuple(Arm(name=name, share=0.5, flags={"big": name == "b"}) for name in "ab")
    one = Experiment(
        id="look",
        hypothesis="",
        salt="5a" * 16,
        layer="look",
        segment=(0.0, 1.0),
        state=RUNNING,
        from_utc=NOW - 100,
        until_utc=NOW + 900 * DAY_S,
        arms=arms,
    )
    home = PhoneHome(tmp_path / "phone")
    home.make()
    keep_experiments(home, Experiments(channel="stable", experiments=(one,)).to_bytes())
    return home.folder


def test_an_exposure_that_an_old_server_rejected_is_logged_again_until_one_takes_it(
    enrolled, tiny_release, tmp_path, url, database, monkeypatch
):
    with phone(enrolled, tiny_release, lambda: NOW) as device:
        with monkeypatch.context() as patch:
            patch.setattr(validation, "KINDS", ("interaction", "impression"))
            device.flag("big", False)
            assert upload(enrolled, url).rejected == 1
            device.flag("big", False)
            device.flag("big", False)
            assert len(exposures(device)) == 2  # once for each rejection
            assert upload(enrolled, url).rejected == 1
        device.flag("big", False)
        assert upload(enrolled, url).sent == 1
        device.flag("big", False)
        assert upload(enrolled, url).bytes_up == 0
        assert len(exposures(device)) == 3
    (row,) = exported(database, tmp_path / "out")
    assert (row["experiment"], json.loads(row["context"])) == ("look", {"again": True})


def test_an_exposure_that_retention_dropped_unsent_is_logged_again(
    enrolled, tiny_release, tmp_path, url, database
):
    clock = Clock(NOW)
    with phone(enrolled, tiny_release, clock) as device:
        device.flag("big", False)
    clock.now += 800 * DAY_S  # beyond the hard limit of events that wait
    with phone(enrolled, tiny_release, clock) as device:
        assert exposures(device) == []
        assert upload(enrolled, url).sent == 0
        device.flag("big", False)
        assert upload(enrolled, url).sent == 1
    (row,) = exported(database, tmp_path / "out")
    assert row["ts"] == NOW + 800 * DAY_S and json.loads(row["context"]) == {"again": True}


def test_an_exposure_that_was_sent_is_not_logged_again_once_the_log_dropped_it(
    enrolled, tiny_release, tmp_path, url, database
):
    clock = Clock(NOW)
    with phone(enrolled, tiny_release, clock) as device:
        device.flag("big", False)
        assert upload(enrolled, url).sent == 1
    clock.now += 400 * DAY_S
    with phone(enrolled, tiny_release, clock) as device:
        assert exposures(device) == []
        upload(enrolled, url)
        device.flag("big", False)
        assert exposures(device) == []
    assert len(exported(database, tmp_path / "out")) == 1


def test_after_an_erasure_an_exposure_is_the_first_one(
    enrolled, tiny_release, tmp_path, url, database
):
    """A mark would show the server that the new install id belongs to an earlier user."""
    with phone(enrolled, tiny_release, lambda: NOW) as device:
        device.flag("big", False)
        assert upload(enrolled, url).sent == 1
        device.erase()
        device.set_consent(True)
        assert upload(enrolled, url).sent == 0
        device.flag("big", False)
        assert upload(enrolled, url).sent == 1
    rows = exported(database, tmp_path / "out")
    assert len({row["user_id"] for row in rows}) == 2
    assert {row["context"] for row in rows} == {"{}"}
