"""One release brings the rankers of both arms; a sync fetches that of a device's arm, over HTTP."""

import pytest

from pocketrec_bundle.errors import InputError
from pocketrec_edge.device import Device
from pocketrec_edge.experiments import arm_models
from pocketrec_edge.experiments.arm_models import FAILED, MOST_TRIES, PASSED
from pocketrec_edge.faults import FaultCode
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync import arm_models as arm_sync
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle
from pocketrec_server.experiments import signing
from pocketrec_server.repository.publish import publish

FILE = "models/against/ranker.onnx.fp32"
LIKED = ("item 14", "item 7", "item 21")


@pytest.fixture
def sets_site(site, two_rankers):
    """A channel whose newest release, for all, has the model set "against"."""
    publish(two_rankers, site.repo, site.signers, "stable", percent=100)
    return site


def store_of(site, home):
    return Store(PhoneHome(site.folder / home).store)


def entry_of(site, home):
    store = store_of(site, home)
    return store, store.read_manifest(str(store.active()[0])).entry(FILE)


def has_ranker(site, home):
    store, entry = entry_of(site, home)
    return store.has(entry)


def slate(site, home):
    with Device(site.folder / home, engine="onnx") as device:
        for item in LIKED:
            device.feedback(item, "like")
        answer = device.recommend(5)
        return [item.item_id for item in answer.items], answer


def asked_for_ranker(site, home):
    _, entry = entry_of(site, home)
    return sum(entry.sha256 in path for path in site.asked)


def test_only_devices_of_the_arm_fetch_its_ranker_and_answer_with_it(sets_site):
    sets_site.start({"models": "against"})
    found = {}
    for arm in ("control", "treatment"):
        sets_site.phone(arm, arm)
        report = sets_site.sync(arm)
        assert (report.status, report.experiments_fault) == ("updated", None)
        assert has_ranker(sets_site, arm) == (arm == "treatment")
        assert asked_for_ranker(sets_site, arm) == (1 if arm == "treatment" else 0)
        found[arm], answer = slate(sets_site, arm)
        assert answer.arms == {"blend": arm} and answer.source == "model" and not answer.faults
    assert found["control"] != found["treatment"]
    report = sets_site.sync("treatment")
    assert (report.status, report.requests) == ("current", 1)


def test_a_new_release_and_the_end_of_the_experiment(sets_site, tmp_path):
    """A catalogue update goes on with the ranker that is here; afterwards it is removed."""
    sets_site.start({"models": "against"})
    sets_site.phone("treatment")
    sets_site.sync()
    before, _ = slate(sets_site, "phone")
    changed = tmp_path / "changed"
    sets = {"against": -10.0}
    write_tiny_bundle(changed, answers=True, rules=None, name="3", changed=3, sets=sets)
    publish(changed, sets_site.repo, sets_site.signers, "stable", percent=100)
    report = sets_site.sync()
    assert (sets_site.has(), report.experiments_fault) == ("3", None)
    assert asked_for_ranker(sets_site, "phone") == 0 and has_ranker(sets_site, "phone")
    _, answer = slate(sets_site, "phone")
    assert answer.arms == {"blend": "treatment"} and not answer.faults
    sets_site.move("stop")
    sets_site.sync()
    assert not has_ranker(sets_site, "phone")
    after, answer = slate(sets_site, "phone")
    assert after != before and answer.arms == {} and not answer.faults


def test_a_shipped_set_reaches_every_device(sets_site):
    sets_site.start({"models": "against"})
    signing.ship(sets_site.repo, sets_site.signers, "stable", "blend", "treatment")
    sets_site.phone("control")
    assert sets_site.sync().experiments_fault is None
    assert has_ranker(sets_site, "phone")
    _, answer = slate(sets_site, "phone")
    assert answer.arms == {} and not answer.faults


def test_a_ranker_damaged_on_the_server_leaves_the_release_and_control_answers(sets_site):
    sets_site.start({"models": "against"})
    sets_site.phone("treatment")
    sets_site.phone("control", "control")
    sets_site.sync("control")
    _, entry = entry_of(sets_site, "control")
    (path,) = (sets_site.repo / "targets").rglob(f"{entry.sha256}.*")
    sound = path.read_bytes()
    path.write_bytes(sound[:-1] + b"x")
    report = sets_site.sync()
    assert report.status == "updated" and sets_site.has() == "2"
    assert "arm treatment" in report.experiments_fault
    assert "control answers" in report.experiments_fault
    found, answer = slate(sets_site, "phone")
    assert found == slate(sets_site, "control")[0]
    assert [fault.code for fault in answer.faults] == [FaultCode.ARM_UNUSABLE]
    path.write_bytes(sound)
    assert sets_site.sync().experiments_fault is None
    found, answer = slate(sets_site, "phone")
    assert not answer.faults and has_ranker(sets_site, "phone")


@pytest.fixture
def unproved_site(site, tmp_path):
    """A release whose proof is that of another ranker, as a phone with a broken runtime sees it."""
    import hashlib
    import json

    folder = tmp_path / "unproved"
    write_tiny_bundle(folder, answers=True, rules=None, name="2", sets={"against": -10.0})
    value = json.loads((folder / "manifest.json").read_bytes())
    by_name = {one["name"]: one for one in value["files"]}
    data = (folder / "files" / by_name["models/ranker.onnx.fp32"]["sha256"]).read_bytes()
    by_name[FILE] |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "manifest.json").write_text(json.dumps(value))
    publish(folder, site.repo, site.signers, "stable", percent=100)
    return site


def test_a_ranker_that_fails_its_test_is_tested_once(unproved_site, monkeypatch):
    """Here the file is the release's own ranker, so it is on the device: control needs it."""
    unproved_site.start({"models": "against"})
    unproved_site.phone("treatment")
    report = unproved_site.sync()
    assert report.status == "updated" and "a probability is off by" in report.experiments_fault
    home = PhoneHome(unproved_site.folder / "phone")
    assert [one.state for one in arm_models.read(home)] == [FAILED]
    assert has_ranker(unproved_site, "phone")  # by its other name
    _, answer = slate(unproved_site, "phone")
    assert answer.source == "model"
    assert [fault.code for fault in answer.faults] == [FaultCode.ARM_UNUSABLE]

    def never(*_):
        raise AssertionError("tested again")

    monkeypatch.setattr(arm_sync, "check_ranker", never)
    again = unproved_site.sync()
    assert again.status == "current" and "a probability is off by" in again.experiments_fault


def test_a_ranker_that_ends_the_process_is_given_up(sets_site, monkeypatch):
    sets_site.start({"models": "against"})
    sets_site.phone("treatment")

    class Killed(BaseException):
        """As a crash of the runtime: nothing catches it."""

    def crash(*_):
        raise Killed

    monkeypatch.setattr(arm_sync, "check_ranker", crash)
    for _ in range(MOST_TRIES):
        with pytest.raises(Killed):
            sets_site.sync()
        _, answer = slate(sets_site, "phone")
        assert answer.source == "model"
        assert [fault.code for fault in answer.faults] == [FaultCode.ARM_UNUSABLE]
    report = sets_site.sync()
    assert "3 processes ended in its test" in report.experiments_fault
    assert sets_site.sync().status == "current"


def test_a_full_store_keeps_the_release_and_its_previous_one(sets_site):
    sets_site.start({"models": "against"})
    sets_site.phone("control", "control")
    sets_site.sync("control")
    used = sum(path.stat().st_size for path in store_of(sets_site, "control").files.iterdir())
    sets_site.phone("treatment")
    report = sets_site.sync(storage_bytes=used + 10)
    assert report.status == "updated" and "the limit is" in report.experiments_fault
    assert sets_site.has() == "2"
    assert sets_site.sync(storage_bytes=10 * used).experiments_fault is None
    home = PhoneHome(sets_site.folder / "phone")
    assert [one.state for one in arm_models.read(home)] == [PASSED]


def test_a_set_that_the_release_lacks_is_refused_at_the_start(sets_site, named_releases):
    with pytest.raises(InputError, match="no model set other for onnx; its model sets: against"):
        sets_site.start({"models": "other"})
    with pytest.raises(InputError, match=r"--ranker against=RUN, and publish it"):
        sets_site.start({"models": "against", "release": "1"})
    sets_site.start({"models": "against"})
    assert signing.misfits(sets_site.repo, "stable") == []


def test_a_publish_without_the_set_is_told_of_open_and_shipped_arms(
    sets_site, named_releases, tmp_path
):
    sets_site.start({"models": "against"})
    without = tmp_path / "without"
    write_tiny_bundle(without, answers=True, rules=None, name="4", changed=2)
    publish(without, sets_site.repo, sets_site.signers, "stable", percent=100)
    for shown in ("blend, arm treatment", "blend, shipped arm treatment"):
        (text,) = signing.misfits(sets_site.repo, "stable")
        assert text.startswith(f"{shown}: release 4 has no model set against")
        assert "--ranker against=RUN" in text
        signing.ship(sets_site.repo, sets_site.signers, "stable", "blend", "treatment")
    sets_site.phone("treatment")
    report = sets_site.sync()
    assert sets_site.has() == "4" and "no model set" in report.experiments_fault
    _, answer = slate(sets_site, "phone")
    assert [fault.code for fault in answer.faults] == [FaultCode.ARM_UNUSABLE]


def test_two_layers_cannot_both_set_the_models(sets_site):
    sets_site.start({"models": "against"})
    with pytest.raises(InputError, match="sets models, as blend"):
        sets_site.start({"models": "against"}, name="second", layer="other")
