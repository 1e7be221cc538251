"""Halted arms reach devices by a sync; kills and halts of releases reach them all the same."""

import time

import pytest

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_edge.device import Device
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_server.experiments import signing
from pocketrec_server.experiments.halted_arms import unhalt_arm


def test_devices_of_a_halted_arm_return_to_the_release_and_others_stay(site):
    site.start({"release": "1", "flags": {"big": True}})
    for arm in ("control", "treatment"):
        site.phone(arm, arm)
        site.sync(arm)
    assert (site.has("treatment"), site.arms("treatment")) == ("1", {"blend": "treatment"})
    assert site.halt() and not site.halt()
    report = site.sync("treatment")
    assert (report.status, report.experiments_fault, site.has("treatment")) == (
        "updated",
        None,
        "0",
    )
    assert site.arms("treatment") == {}
    with Device(site.folder / "treatment", engine="onnx") as device:
        assert device.flag("big", False) is False
        device.force_arm("blend", "treatment")
        assert device.recommend(1).arms == {}
        device.force_arm("blend", None)
    site.sync("control")
    assert site.arms("control") == {"blend": "control"}
    assert unhalt_arm(site.repo, site.signers, "stable", site.one, "treatment")
    site.sync("treatment")
    assert (site.has("treatment"), site.arms("treatment")) == ("1", {"blend": "treatment"})


def test_a_halt_ends_with_the_salt_of_its_experiment(site):
    site.start()
    site.halt()
    signing.start(
        site.repo,
        site.signers,
        "stable",
        {
            "id": "blend",
            "until_utc": int(time.time()) + 86_400,
            "arms": [{"name": "control", "share": 0.5}, {"name": "treatment", "share": 0.5}],
        },
        new_salt=True,
    )
    site.phone("treatment")
    site.sync()
    assert site.arms() == {"blend": "treatment"}


HALTED = "halts/stable.experiments.json"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (canonical_json({"format": 2, "halted": []}), "Update the app"),
        (b"{", "not JSON"),
        (canonical_json({"format": 1, "halted": [], "more": 1}), "keys differ"),
    ],
)
def test_halted_arms_that_cannot_be_read_leave_a_device_without_experiments(site, data, told):
    site.start()
    site.sync()
    site.sign(data, HALTED, "brake")
    site.change("0", state="killed")
    report = site.sync()
    assert report.experiments_fault is not None and told in report.experiments_fault
    assert (report.status, site.arms()) == ("stopped", {})


def test_a_mirror_that_withholds_halted_arms_ends_experiments_and_hides_no_kill(site):
    site.start()
    site.sync()
    site.halt("control")
    site.change("0", state="killed")
    for path in (site.repo / "targets/halts").glob("*.experiments.json"):
        path.unlink()
    report = site.sync()
    assert (report.status, report.experiments_fault is None) == ("stopped", False)
    assert not PhoneHome(site.folder / "phone").experiments.exists()
