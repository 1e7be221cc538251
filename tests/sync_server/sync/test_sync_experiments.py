"""Experiments reach devices by a sync, and never stand in the way of one; the parts are real."""

import json
import shutil
import time
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.settings.assignment import assigned_arm
from pocketrec_bundle.settings.experiment_arms import FORMAT
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_edge.device import Device
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync.transfer import Retry
from pocketrec_server.events.export import export_events
from pocketrec_server.experiments import signing
from pocketrec_server.repository import blobs, state
from pocketrec_server.repository.publish import (
    halt,
    read_policy,
)
from pocketrec_server.repository.rollout import changed, find
from pocketrec_server.storage.database import default_url, open_database
from pocketrec_server.storage.tables import EVENT

PATH = "channels/stable/experiments.json"
RULES = {"version": 1, "depth": 8, "rules": []}


def test_a_sync_brings_the_experiments_and_a_check_stays_one_request(site):
    site.sync()
    assert not PhoneHome(site.folder / "phone").experiments.exists()
    site.start()
    report = site.sync()
    assert (report.status, report.experiments_fault) == ("current", None)
    assert sum("experiments.json" in path for path in site.asked) == 1
    kept = PhoneHome(site.folder / "phone").experiments.read_bytes()
    assert Experiments.from_bytes(kept) == signing.read_experiments(site.repo, "stable")
    assert list(site.arms()) == ["blend"]
    assert site.sync().requests == 1
    assert list(site.arms()) == ["blend"]
    site.move("stop")
    site.sync()
    assert site.arms() == {}


def test_the_arm_of_a_device_is_the_one_that_the_publisher_computes(site):
    site.start()
    (one,) = signing.read_experiments(site.repo, "stable").experiments
    for n in range(3):
        home = PhoneHome(site.folder / f"phone-{n}")
        site.sync(f"phone-{n}")
        device = bytes.fromhex(home.bucket_id.read_text())
        found = assigned_arm(one, None, device, time.time())
        assert found is not None and site.arms(f"phone-{n}") == {"blend": found.name}


def test_a_release_of_an_arm_comes_to_its_devices_alone_and_goes_with_it(site):
    site.start({"release": "1"})
    for arm, release in (("control", "0"), ("treatment", "1")):
        site.phone(arm, arm)
        report = site.sync(arm)
        assert (site.has(arm), site.arms(arm)) == (release, {"blend": arm})
    assert report.why == "1: arm treatment of experiment blend"
    assert site.sync("treatment").status == "current"
    site.move("stop")
    report = site.sync("treatment")
    assert (report.status, site.has("treatment")) == ("updated", "0")
    assert report.why == "1: for 0% of devices, not this one; 0: chosen"


def test_a_device_that_the_policy_gives_the_same_release_keeps_it(site):
    site.start({"release": "1"})
    site.phone("treatment")
    site.sync()
    site.change("1", percent=100)
    site.move("stop")
    assert site.sync().status == "current"
    site.change("1", percent=0)
    assert site.sync().status == "current"  # it has it by the policy now
    assert site.has() == "1"


def test_a_device_keeps_a_release_that_the_policy_gave_before_an_arm_named_it(site):
    site.change("1", percent=100)
    site.sync()
    site.start({"release": "1"}, control={"release": "1"})
    site.change("1", percent=0)
    report = site.sync()
    assert "of experiment blend" in report.why
    site.change("1", state="paused")
    site.sync()
    assert site.has() == "1"
    site.move("stop")
    assert (site.sync().status, site.has()) == ("current", "1")


def kill(site):
    site.change("1", state="killed")
    return "killed"


def pause(site):
    site.change("1", state="paused")
    return "paused"


def stop_by_brake(site):
    halt(site.repo, site.signers, "stable", site.manifest("1"), "bad")
    return r"halted (bad)"


def other_app(site):
    site.change("1", app=replace(find(read_policy(site.repo, "stable"), "1").app, least="9"))
    return "not for version unknown of the app"


@pytest.mark.parametrize("exclude", [kill, pause, stop_by_brake, other_app])
def test_an_arm_s_release_that_is_excluded_leaves_the_choice_to_the_policy(site, exclude):
    site.start({"release": "1"})
    why = exclude(site)
    site.phone("treatment")
    report = site.sync()
    assert site.has() == "0"
    assert report.why.startswith(f"arm treatment of experiment blend: {why}; ")
    assert site.arms() == {"blend": "treatment"}


def test_a_kill_reaches_a_device_in_an_arm(site):
    site.start({"release": "1"})
    site.phone("treatment")
    site.sync()
    assert site.has() == "1"
    site.change("1", state="killed")
    site.sync()
    assert site.has() == "0"


def test_a_release_that_failed_here_is_not_tried_again_for_an_arm(site):
    site.start({"release": "1"})
    site.phone("treatment")
    site.sync(conditions=None)
    shutil.rmtree(site.folder / "phone" / "store")
    (site.folder / "phone" / "refused.json").unlink(missing_ok=True)
    from pocketrec_edge.releases import blocklist

    blocklist.block(PhoneHome(site.folder / "phone"), site.manifest("1"))
    report = site.sync()
    assert "it failed on this device" in report.why and site.has() == "0"


def test_a_forced_arm_brings_its_release_with_the_next_sync(site):
    site.start({"release": "1"}, percent=0)
    site.sync()
    with Device(site.folder / "phone", engine="onnx") as device:
        device.force_arm("blend", "treatment")
    assert site.has() == "0"
    site.sync()
    assert site.has() == "1"


def test_the_shipped_release_reaches_all_by_the_policy(site):
    site.start({"release": "1"})
    site.phone("control")
    site.sync()
    signing.ship(site.repo, site.signers, "stable", "blend", "treatment")
    report = site.sync()
    assert (site.has(), report.why) == ("1", "1: chosen")
    assert site.arms() == {}


def test_new_users_are_found_at_the_sync_too(site):
    with Device(site.folder / "phone", engine="onnx", clock=lambda: time.time() - 9999) as device:
        device.feedback("item 1", "like")
    site.start({"release": "1"}, control={"release": "1"}, eligible={"users": "new"})
    site.sync()
    assert site.has() == "0"
    site.sync("other")
    assert site.has("other") == "1"


def test_app_version_and_class_of_the_sync_decide(site):
    eligible = {"app": {"least": "2", "below": None}, "device_classes": ["tablet"]}
    site.start(eligible=eligible)
    site.sync(app_version="2.1", device_class="tablet")
    assert list(site.arms()) == ["blend"]
    site.sync(app_version="1.9", device_class="tablet")
    assert site.arms() == {}


def of_later_format(found):
    return canonical_json({"format": FORMAT + 1, "a_new_key": 1})


def not_json(found):
    return b"{"


def of_another_channel(found):
    return Experiments(channel="beta", experiments=found.experiments).to_bytes()


def overlapping(found):
    value = found.to_json()
    (one,) = value["experiments"]
    value["experiments"].append(one | {"id": "second", "salt": "0" * 32})
    return canonical_json(value)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (of_later_format, "Update the app"),
        (not_json, "not JSON"),
        (of_another_channel, "belong to channel 'beta'"),
        (overlapping, "overlap"),
    ],
)
def test_experiments_that_cannot_be_used_are_a_fault_and_kills_still_arrive(site, made, told):
    site.start()
    site.sync()
    assert list(site.arms()) == ["blend"]
    site.sign(made(signing.read_experiments(site.repo, "stable")))
    current = state.load(site.repo)
    policy = read_policy(site.repo, "stable")
    dead = changed(policy, find(policy, "0"), state="killed")
    path = "channels/stable/policy.json"
    current.edit("stable").targets[path] = blobs.store(site.repo, path, dead.to_bytes())
    current.write(site.repo, site.signers)
    report = site.sync()
    assert report.experiments_fault is not None and told in report.experiments_fault
    assert report.status == "stopped"
    with Device(site.folder / "phone", engine="onnx") as device:
        answer = device.recommend(1)
    assert (answer.arms, answer.source) == ({}, "fallback")


@pytest.mark.parametrize("attack", ["withheld", "cut short", "changed", "too large"])
def test_a_mirror_that_damages_the_experiments_hides_no_kill(site, attack):
    site.start()
    site.sync()
    site.move("pause")
    site.change("0", state="killed")
    for path in (site.repo / "targets/channels/stable").glob("*.experiments.json"):
        if attack == "withheld":
            path.unlink()
        else:
            n_bytes = path.stat().st_size
            n_bytes = {"cut short": 9, "changed": n_bytes, "too large": 300 << 10}[attack]
            path.write_bytes(b"?" * n_bytes)
    report = site.sync()
    assert report.status == "stopped"
    assert report.experiments_fault is not None
    assert not PhoneHome(site.folder / "phone").experiments.exists()


@pytest.mark.parametrize("answer", ["503", "none"])
def test_a_server_that_is_busy_takes_no_experiments_away(site, monkeypatch, answer):
    """They are of the last sync, verified then; 404 and wrong bytes are another case."""
    site.start()
    site.sync()
    home = PhoneHome(site.folder / "phone")
    before, arms = home.experiments.read_bytes(), site.arms()
    site.move("pause")
    send_head = SimpleHTTPRequestHandler.send_head

    def busy(handler):
        if "experiments.json" not in handler.path:
            return send_head(handler)
        if answer == "503":
            handler.send_error(503)
        handler.close_connection = True
        return None

    quickly = Retry(tries=2, sleep=lambda _: None)
    with monkeypatch.context() as patch:
        patch.setattr(SimpleHTTPRequestHandler, "send_head", busy)
        report = site.sync(retry=quickly)
        assert (report.status, report.experiments_fault is None) == ("current", False)
        assert (home.experiments.read_bytes(), site.arms()) == (before, arms)
    assert site.sync().experiments_fault is None
    assert home.experiments.read_bytes() != before


def test_requests_and_exposures_of_an_arm_reach_the_server(site, start_server):
    made = site.start()
    site.phone("treatment")
    address, _ = start_server(site.repo)
    root = site.repo / "metadata" / "1.root.json"
    with Device(site.folder / "phone", engine="onnx") as device:
        device.sync(address, root=root, consent=True)
        answer = device.recommend(2)
        device.feedback(answer.items[0].item_id, "like", request=answer.request)
        report = device.sync(address)
    assert (report.events_sent, report.events_rejected) == (1 + 2 + 1 + 1, 0)
    with open_database(default_url(site.repo)).connect() as connection:
        rows = connection.execute(select(EVENT.c.kind, EVENT.c.event, EVENT.c.context)).all()
    found = {kind: (event, json.loads(context)) for kind, event, context in rows}
    assert found["exposure"] == ("blend", {"arm": "treatment", "salt": made.salt[:8]})
    assert found["request"][1]["arms"] == {"blend": "treatment"}


def test_app_version_and_class_of_an_exposure_reach_the_export(site, start_server, tmp_path):
    site.start()
    address, _ = start_server(site.repo)
    root = site.repo / "metadata" / "1.root.json"
    with Device(site.folder / "phone", engine="onnx") as device:
        sync_app = partial(device.sync, address, app_version="2.1", device_class="tablet")
        sync_app(root=root, consent=True)
        device.recommend(1)
        sync_app()
    engine = open_database(default_url(site.repo))
    export_events(engine, tmp_path / "export")
    engine.dispose()
    files = [*(tmp_path / "export" / "exposures").rglob("*.parquet")]
    (row,) = [row for path in files for row in pq.read_table(path).to_pylist()]
    assert (row["experiment"], row["app_version"], row["device_class"]) == (
        "blend",
        "2.1",
        "tablet",
    )


def test_a_consent_given_with_a_sync_sends_the_exposure_again(site, start_server):
    """What was logged while consent was withdrawn is never sent."""
    site.start()
    address, _ = start_server(site.repo)
    root = site.repo / "metadata" / "1.root.json"
    with Device(site.folder / "phone", engine="onnx") as device:
        device.sync(address, root=root)
        device.set_consent(True)
        device.set_consent(False)
        device.recommend(1)
        assert device.sync(address).events_sent == 0
        assert device.sync(address, consent=True).events_sent == 0
        device.recommend(1)
        assert device.sync(address).events_sent == 1 + 1 + 1  # request, impression, exposure
