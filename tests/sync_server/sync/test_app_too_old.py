"""A release that a phone's app is too old for: the phone keeps what it has, and nothing fails.

The older app is this one with a limit of its reader set back; server, network and files are real.
"""

import json
import shutil
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.support import command_line
from benchmarks.support.network.loopback_networks import from_network
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings import rules
from pocketrec_bundle.settings.rollout import FailureLimit
from pocketrec_edge.device import Device
from pocketrec_edge.errors import SyncError
from pocketrec_edge.events import release_outcomes as outcomes
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.releases import blocklist
from pocketrec_edge.releases.selftest import replay
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync import too_new
from pocketrec_edge.sync.client import sync
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle
from pocketrec_server.halting.outcomes import Health, healths
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import (
    change_policy,
    found_repository,
    publish,
    read_halts,
    read_policy,
)
from pocketrec_server.repository.rollout import changed, find
from pocketrec_server.storage.database import default_url, open_database

DAY_S = 86_400


class Fleet:
    """Channel stable with a release of format 1 and one of format 2 on top, and phones."""

    def __init__(self, folder, url, homes):
        self.folder, self.url, self.repo, self.homes = folder, url, folder / "repo", homes
        self.new, self.old = (s.manifest for s in read_policy(self.repo, "stable").releases)

    def change(self, name, **changes):
        def change(policy):
            return changed(policy, find(policy, name), **changes)

        change_policy(self.repo, load_signers(self.folder / "keys"), "stable", change)

    def phone(self, name="phone"):
        """A phone with the old release."""
        return shutil.copytree(self.folder / "template", self.homes / name)

    def sync(self, home, **settings):
        root = self.repo / "metadata" / "1.root.json"
        chosen: dict[str, Any] = {"consent": True, "engine": "onnx"} | settings
        test = lambda bundle: replay(bundle, "onnx")  # noqa: E731
        return sync(home, self.url, test, root_path=root, **chosen)

    @property
    def health(self):
        return healths(open_database(default_url(self.repo)), "stable").get(self.new, Health())


@pytest.fixture(scope="module")
def founded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("founded")
    make_keys(folder / "keys")
    signers = load_signers(folder / "keys")
    found_repository(folder / "repo", signers)
    for version, name in enumerate(("old", "new"), 1):
        write_tiny_bundle(folder / name, version, answers=True, name=name)
        publish(folder / name, folder / "repo", signers, "stable")
    (folder / "online").mkdir()
    for name in ("snapshot", "timestamp", "brake"):
        shutil.copy(folder / "keys" / f"{name}.pem", folder / "online")
    Store(folder / "template" / "store").install_bundle(folder / "old", lambda bundle: None)
    return folder


@pytest.fixture(scope="module")
def running(founded, tmp_path_factory):
    """A server that several tests ask, and its folder."""
    folder = shutil.copytree(founded, tmp_path_factory.mktemp("running") / "fleet")
    with command_line.server(folder / "repo", folder, "--no-log") as url:
        yield folder, url


@pytest.fixture
def asked(running, tmp_path):
    """New phones of a channel that no test changes."""
    folder, url = running
    return Fleet(folder, url, tmp_path)


@pytest.fixture
def fleet(founded, start_server, tmp_path):
    """New phones of a channel of their own."""
    folder = shutil.copytree(founded, tmp_path / "fleet")
    address, _ = start_server(folder / "repo", "--keys", folder / "online", "--no-log")
    return Fleet(folder, address, tmp_path)


NO_RULES = {kind: one for kind, one in rules.KINDS.items() if kind != "quality_floor"}
OLDER = {
    "manifest": ("pocketrec_bundle.manifest.FORMAT_VERSION", 1, "format version 2"),
    "array": ("pocketrec_bundle.encoding.arrays.VERSION", 0, "array file of version 1"),
    "feature": ("pocketrec_bundle.features.CONTEXT", ("hour",), "unknown feature"),
    "rule": ("pocketrec_bundle.settings.rules.KINDS", NO_RULES, "unknown kind 'quality_floor'"),
    "runtime": (
        "pocketrec_edge.engines.select.runtime_version",
        lambda _: "1.2.0",
        "onnxruntime 1.17.0",
    ),
    "no runtime": ("pocketrec_edge.engines.select.runtime", lambda _: "", "no runtime for models"),
}


@pytest.mark.parametrize("kind", OLDER)
def test_a_release_of_a_newer_form_is_passed_over_and_named_and_is_no_failure(
    asked, monkeypatch, kind
):
    name, value, reason = OLDER[kind]
    home, before = asked.phone(), asked.health
    with monkeypatch.context() as older:
        older.setattr(name, value)
        report = asked.sync(home)
        again = asked.sync(home)
    assert (report.status, report.to_release) == ("app_too_old", asked.old)
    assert report.why.startswith("new: it needs a newer app; old: ")
    assert report.update_app.startswith(("release new: ", "release old: "))
    assert reason in report.update_app
    assert "Update the app" in report.update_app
    assert (again.status, again.why, again.files_fetched) == (report.status, report.why, 0)
    assert blocklist.failed(PhoneHome(home)) == frozenset()
    assert {one.outcome for one in outcomes.read(PhoneHome(home))} == {outcomes.APP_TOO_OLD}
    after = replace(before, app_too_old=before.app_too_old + 1)
    assert asked.health == after, (report, again, outcomes.read(PhoneHome(home)))


def test_a_phone_shows_that_it_needs_a_newer_app_and_answers_from_its_release(asked, monkeypatch):
    home = asked.phone()
    assert Device(home, engine="onnx").status().update_app is None
    with monkeypatch.context() as older:
        older.setattr("pocketrec_bundle.manifest.FORMAT_VERSION", 1)
        asked.sync(home)
        phone = Device(home, engine="onnx")
        assert phone.recommend().source == "model"
        status = phone.status()
        phone.close()
    assert status.release == "old"
    assert status.update_app is not None and "format version 2" in (status.update_app or "")
    assert status.faults == ()


def test_the_newer_app_takes_the_release_at_once(asked, monkeypatch):
    home = asked.phone()
    with monkeypatch.context() as older:
        older.setattr("pocketrec_bundle.manifest.FORMAT_VERSION", 1)
        asked.sync(home, app_version="1.0")
    report = asked.sync(home, app_version="1.1")
    assert (report.status, report.to_release, report.update_app) == ("updated", asked.new, None)
    assert too_new.needed_update(PhoneHome(home)) is None
    kinds = [one.outcome for one in outcomes.read(PhoneHome(home)) if one.manifest == asked.new]
    assert kinds == [outcomes.APP_TOO_OLD, outcomes.INSTALLED]


def test_the_same_app_tries_again_after_a_week(asked, monkeypatch):
    home, now = asked.phone(), 1_700_000_000
    with monkeypatch.context() as older:
        older.setattr("pocketrec_bundle.manifest.FORMAT_VERSION", 1)
        asked.sync(home, clock=lambda: now)
    assert asked.sync(home, clock=lambda: now + 6 * DAY_S).status == "app_too_old"
    assert asked.sync(home, clock=lambda: now + 7 * DAY_S).status == "updated"


def test_a_new_phone_with_an_old_app_gets_the_newest_release_that_it_reads(asked, monkeypatch):
    monkeypatch.setattr("pocketrec_bundle.manifest.FORMAT_VERSION", 1)
    report = asked.sync(asked.homes / "fresh")
    assert (report.status, report.to_release) == ("updated", asked.old)
    assert "format version 2" in report.update_app


def test_a_release_that_is_withdrawn_asks_for_no_newer_app(fleet, monkeypatch):
    home = fleet.phone()
    with monkeypatch.context() as older:
        older.setattr("pocketrec_bundle.manifest.FORMAT_VERSION", 1)
        assert fleet.sync(home).update_app
    fleet.change("new", state="killed")
    report = fleet.sync(home)
    assert (report.status, report.update_app) == ("current", None)
    assert not PhoneHome(home).update_app.exists()


@pytest.mark.parametrize("of", ["rollout", "halts"])
def test_a_policy_of_a_newer_form_leaves_everything_as_it_is(fleet, monkeypatch, of):
    home = fleet.phone()
    fleet.change("new", state="paused")
    fleet.sync(home)
    fleet.change("new", state="active")
    if of == "halts":
        from pocketrec_server.repository.halts import halt

        halt(fleet.repo, load_signers(fleet.folder / "keys"), "stable", fleet.new, "odd slates")
    with monkeypatch.context() as older:
        older.setattr(f"pocketrec_bundle.settings.{of}.FORMAT", 0)
        report = fleet.sync(home)
        assert (report.status, report.to_release) == ("app_too_old", fleet.old)
        assert report.update_app.startswith("channel stable: ")
    assert [one.outcome for one in outcomes.read(PhoneHome(home))] == []
    after = fleet.sync(home)
    assert after.update_app is None
    assert after.to_release == (fleet.old if of == "halts" else fleet.new)


def test_metadata_of_a_newer_specification_is_named_and_no_failure(fleet):
    home = fleet.phone()
    path = fleet.repo / "metadata" / "timestamp.json"
    found = json.loads(path.read_bytes())
    found["signed"]["spec_version"] = "2.0.0"
    path.write_text(json.dumps(found))
    with pytest.raises(SyncError, match=r"specification 2\.0\.0.*update the app"):
        fleet.sync(home)
    assert outcomes.read(PhoneHome(home)) == []
    assert Store(home / "store").active()[0] == fleet.old


def test_a_fleet_of_old_apps_halts_nothing(fleet, monkeypatch):
    fleet.change("new", most_failures=FailureLimit(of=5, share=0.05))
    monkeypatch.setattr("pocketrec_bundle.manifest.FORMAT_VERSION", 1)
    for n in range(8):
        with from_network(n):
            fleet.sync(fleet.phone(f"phone-{n}"))
    assert fleet.health == Health(app_too_old=8)
    assert read_halts(fleet.repo, "stable").halted == ()


def test_an_engine_that_nobody_knows_is_refused(asked):
    with pytest.raises(InputError, match="'tpu' is unknown"):
        asked.sync(asked.phone(), engine="tpu")


def test_today_s_client_passes_over_format_3_and_the_next_one_installs_it(fleet, monkeypatch):
    home = fleet.phone()
    assert fleet.sync(home).to_release == fleet.new
    write_tiny_bundle(fleet.folder / "typed", 3, answers=True, name="typed")
    signers = load_signers(fleet.folder / "keys")
    publish(fleet.folder / "typed", fleet.repo, signers, "stable", app_least="2.0")
    with monkeypatch.context() as older:
        older.setattr("pocketrec_bundle.manifest.FORMAT_VERSION", 2)
        report = fleet.sync(home, app_version="1.9")
        assert (report.status, report.update_app) == ("current", None)  # by the policy alone
        report = fleet.sync(home, app_version="2.0")  # an app that its publisher misnamed
        assert (report.status, report.to_release) == ("app_too_old", fleet.new)
        assert "format version 3" in report.update_app
        phone = Device(home, engine="onnx")
        assert phone.status().release == "new" and phone.recommend().source == "model"
        phone.close()
    assert blocklist.failed(PhoneHome(home)) == frozenset()
    typed = next(s.manifest for s in read_policy(fleet.repo, "stable").releases)
    told = healths(open_database(default_url(fleet.repo)), "stable")[typed]
    assert (told.app_too_old, told.failed) == (1, 0)
    report = fleet.sync(home, app_version="2.1")
    assert (report.status, report.to_release) == ("updated", typed)
    phone = Device(home, engine="onnx")
    assert phone.recommend().source == "model"
    phone.close()
