"""Releases reach a fleet as their policy says: real phones, a real server process, real sockets."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.support.kill_steps import forked
from benchmarks.support.network.loopback_networks import from_network
from pocketrec.cli import main
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.rollout import AppVersions, FailureLimit, RolloutPolicy, Stage
from pocketrec_edge.device import Device
from pocketrec_edge.errors import SelfTestFailedError, SyncError
from pocketrec_edge.events import release_outcomes as outcomes
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.releases import blocklist
from pocketrec_edge.releases.selftest import replay
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync.client import sync
from pocketrec_edge.sync.conditions import METERED, QUIET_HOURS, Conditions
from pocketrec_edge.sync.rollout import bucket
from pocketrec_edge.sync.transfer import BusyError
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import (
    change_policy,
    found_repository,
    publish,
    read_halts,
    read_policy,
)
from pocketrec_server.repository.rollout import changed, find, rolled_back

NOON = 1_699_963_200  # 2023-11-14 12:00 UTC, which no test's schedule is near


def renamed(bundle: Path, to: Path, name: str) -> Path:
    """A release of the same files under another name."""
    shutil.copytree(bundle, to)
    manifest = json.loads((to / "manifest.json").read_bytes())
    (to / "manifest.json").write_text(json.dumps(manifest | {"name": name}))
    return to


class Fleet:
    """A repository with channel stable, its server, and phones that have its first release."""

    def __init__(self, folder: Path, bundle: Path, url: str) -> None:
        self.folder, self.bundle, self.url = folder, bundle, url
        self.repo, self.keys = folder / "repo", folder / "keys"
        self.signers = load_signers(self.keys)
        self.first = read_policy(self.repo, "stable").releases[0].manifest
        self.template = folder / "template"
        self.sync(self.template)
        PhoneHome(self.template).bucket_id.unlink()

    def phone(self, n: int) -> Path:
        """A phone with the first release; its bucket id is made of its number."""
        home = self.folder / f"phone-{n}"
        shutil.copytree(self.template, home)
        PhoneHome(home).bucket_id.write_text(f"{n:032x}")
        return home

    def sync(self, home: Path, self_test=lambda bundle: None, **settings):
        root = self.repo / "metadata" / "1.root.json"
        return sync(home, self.url, self_test, root_path=root, **settings)

    def publish(self, name: str, percent: float = 100) -> str:
        """Publish a new release; returns the hash of its manifest."""
        folder = renamed(self.bundle, self.folder / name, name)
        publish(folder, self.repo, self.signers, "stable", percent=percent)
        return read_policy(self.repo, "stable").releases[0].manifest

    def change(self, release: str, **changes) -> None:
        change_policy(
            self.repo,
            self.signers,
            "stable",
            lambda policy: changed(policy, find(policy, release), **changes),
        )

    def has(self, home: Path) -> str | None:
        return Store(home / "store").active()[0]


@pytest.fixture(scope="module")
def founded(tiny_release, tmp_path_factory):
    """A folder with keys and a repository whose channel stable has one release."""
    folder = tmp_path_factory.mktemp("founded")
    make_keys(folder / "keys")
    found_repository(folder / "repo", load_signers(folder / "keys"))
    publish(tiny_release, folder / "repo", load_signers(folder / "keys"), "stable")
    online = folder / "online"
    online.mkdir()
    for name in ("snapshot", "timestamp", "brake"):
        shutil.copy(folder / "keys" / f"{name}.pem", online)
    return folder


@pytest.fixture
def fleet(founded, start_server, tiny_release, tmp_path):
    folder = tmp_path / "fleet"
    shutil.copytree(founded, folder)
    address, _ = start_server(folder / "repo", "--keys", folder / "online", "--no-log")
    return Fleet(folder, tiny_release, address)


def test_a_staged_rollout_reaches_the_devices_of_its_share_and_pauses_and_goes_on(fleet):
    second = fleet.publish("second", percent=20)
    phones = [fleet.phone(n) for n in range(200)]
    below = {
        share: {
            home
            for n, home in enumerate(phones)
            if bucket(n.to_bytes(16, "big"), second) < share / 100
        }
        for share in (20, 60)
    }
    assert 20 < len(below[20]) < 60 < 90 < len(below[60]) < 150  # 40 and 120 are expected

    def synced(some) -> set[Path]:
        for home in some:
            fleet.sync(home)
        return {home for home in phones if fleet.has(home) == second}

    assert synced(phones) == below[20]
    fleet.change("second", state="paused", percent=60)
    assert synced(phones[:40]) == below[20]  # those that have it keep it
    fleet.change("second", state="active")
    more = sorted(below[60] - below[20])[:30]
    outside = [home for home in phones if home not in below[60]][:15]
    assert synced([*more, *outside]) == below[20] | set(more)
    report = fleet.sync(outside[0])
    assert report.status == "current"
    assert report.why == "second: for 60% of devices, not this one; tiny: kept"


def test_a_killed_release_is_left_for_the_one_before_without_a_download(fleet):
    second = fleet.publish("second")
    home = fleet.phone(1)
    fleet.sync(home)
    assert fleet.has(home) == second
    fleet.change("second", state="killed")
    report = fleet.sync(home)
    assert (report.status, report.to_release, report.files_fetched) == ("updated", fleet.first, 0)
    assert Store(home / "store").active() == (fleet.first, None)  # nor is there a way back
    assert Device(home, engine="onnx").recommend().release == "tiny"


def test_a_killed_release_goes_though_the_one_to_take_its_place_fails(fleet):
    second = fleet.publish("second")
    home = fleet.phone(1)
    fleet.sync(home)
    fleet.publish("third")
    fleet.change("second", state="killed")

    def fail(bundle):
        raise SelfTestFailedError("wrong numbers on this device")

    with pytest.raises(SelfTestFailedError):
        fleet.sync(home, fail)
    assert Store(home / "store").active() == (fleet.first, None)
    assert blocklist.read(PhoneHome(home))[second] == blocklist.KILLED
    assert Device(home, engine="onnx").recommend().release == "tiny"


def test_a_killed_release_goes_though_the_next_ones_manifest_is_not_there(fleet):
    fleet.publish("second")
    home = fleet.phone(1)
    fleet.sync(home)
    third = fleet.publish("third")
    fleet.change("second", state="killed")
    (path,) = (fleet.repo / "targets" / "channels" / "stable").glob(f"*.{third}.json")
    manifest = path.read_bytes()
    path.unlink()
    with pytest.raises(SyncError, match="404"):
        fleet.sync(home)
    assert Store(home / "store").active() == (fleet.first, None)
    path.write_bytes(manifest)
    assert fleet.sync(home).to_release == third


def test_the_only_release_killed_leaves_its_lists_and_the_next_one_ends_that(fleet):
    home = fleet.phone(1)
    fleet.change("tiny", state="killed")
    report = fleet.sync(home)
    assert (report.status, report.why) == ("stopped", "tiny: killed")
    answer = Device(home, engine="onnx").recommend()
    assert (answer.source, len(answer.items)) == ("fallback", 5)
    assert "its lists answer" in answer.faults[0].text
    second = fleet.publish("second")
    assert fleet.sync(home).to_release == second
    assert Device(home, engine="onnx").recommend().source == "model"
    assert Store(home / "store").active() == (second, None)


def test_a_killed_release_that_is_resumed_runs_again(fleet):
    home = fleet.phone(1)
    fleet.change("tiny", state="killed")
    fleet.sync(home)
    fleet.change("tiny", state="active")
    assert fleet.sync(home).status == "current"
    assert blocklist.read(PhoneHome(home)) == {}
    assert Device(home, engine="onnx").recommend().source == "model"


def test_a_rollback_is_a_new_version_of_the_policy_with_old_content_on_top(fleet):
    second = fleet.publish("second")
    home = fleet.phone(1)
    fleet.sync(home)
    change_policy(
        fleet.repo,
        fleet.signers,
        "stable",
        lambda policy: rolled_back(policy, find(policy, "tiny"), 100, kill=False),
    )
    report = fleet.sync(home)
    assert (report.status, report.from_release) == ("updated", second)
    assert (report.to_release, report.files_fetched) == (fleet.first, 0)
    assert [s.name for s in read_policy(fleet.repo, "stable").releases] == ["tiny", "second"]


def test_a_release_that_fails_on_too_many_devices_stops_by_itself(fleet):
    def breaks(bundle):
        if bundle.manifest.name == "second":
            raise SelfTestFailedError("wrong numbers on this device")

    second = fleet.publish("second")
    fleet.change("second", most_failures=FailureLimit(of=10, share=0.25))
    phones = [fleet.phone(n) for n in range(30)]
    installed: list[int] = []
    failed: list[int] = []
    spared: list[int] = []
    for n, home in enumerate(phones):
        before = fleet.has(home)
        try:
            with from_network(n):
                report = fleet.sync(home, breaks if n % 3 == 0 else lambda b: None, consent=True)
        except SelfTestFailedError:
            failed.append(home)
            assert fleet.has(home) == before
        else:
            (installed if report.to_release == second else spared).append(home)
    # devices 0, 3, 6 and 9 fail; with the 11th network, 3 of 10 without one are above a quarter
    assert (len(failed), len(installed), len(spared)) == (4, 7, 19)
    reason = read_halts(fleet.repo, "stable").reason(second)
    assert reason == "30% of devices failed, the mean of 10 networks (self-test 4)"
    assert all(fleet.sync(home).to_release == second for home in installed)
    report = fleet.sync(failed[0])
    assert report.why == "second: it failed on this device; tiny: kept"
    assert f"second: halted ({reason})" in fleet.sync(spared[0]).why
    third = fleet.publish("third")
    assert {fleet.sync(home).to_release for home in phones[:4]} == {third}
    assert find(read_policy(fleet.repo, "stable"), "third").most_failures == FailureLimit(
        of=10, share=0.25
    )


def test_a_release_whose_self_test_ends_the_process_is_given_up_after_three_times(fleet):
    def die(bundle):
        os.kill(os.getpid(), signal.SIGKILL)

    second = fleet.publish("second")
    home = fleet.phone(1)
    for _ in range(3):
        assert forked(lambda: fleet.sync(home, die), None) == -signal.SIGKILL
        assert fleet.has(home) == fleet.first
    with pytest.raises(SelfTestFailedError, match="3 processes ended in its self-test"):
        fleet.sync(home, die)
    assert fleet.sync(home, die).why == "second: it failed on this device; tiny: kept"
    (told,) = [one for one in outcomes.read(PhoneHome(home)) if one.manifest == second]
    assert told.outcome == outcomes.SELF_TEST_FAILED
    sound = fleet.phone(2)
    for _ in range(2):
        forked(lambda: fleet.sync(sound, die), None)
    assert fleet.sync(sound).to_release == second


def test_it_is_given_up_as_soon_though_other_models_could_be_tried(fleet, monkeypatch):
    def die(bundle):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(
        "pocketrec_edge.releases.store.spare_files", lambda manifest: [manifest.files[0]]
    )
    fleet.publish("second")
    home = fleet.phone(1)
    died = [forked(lambda: fleet.sync(home, die), None) for _ in range(4)]
    assert died == [-signal.SIGKILL] * 3 + [1]
    assert fleet.sync(home, die).why == "second: it failed on this device; tiny: kept"


def test_a_phone_that_left_a_release_by_itself_tells_and_is_not_given_it_again(fleet):
    second = fleet.publish("second")
    home = fleet.phone(1)
    fleet.sync(home, consent=True)
    for _ in range(3):
        # The process ends before it returns a slate.
        Device(home, engine="onnx")._running.boot_counter.asked()
    phone = Device(home, engine="onnx")
    assert phone.recommend().release == "tiny"
    phone.close()
    report = fleet.sync(home)
    assert (report.to_release, report.outcomes_sent) == (fleet.first, 1)
    assert report.why == "second: it failed on this device; tiny: kept"
    assert second in blocklist.failed(PhoneHome(home))


def test_app_version_and_device_class_and_schedule_choose(fleet):
    second = fleet.publish("second")
    fleet.change("second", app=AppVersions(least="2.0"), device_classes=("phone",), from_utc=NOON)

    def at(n, when=NOON, **facts):
        return fleet.sync(fleet.phone(n), clock=lambda: when, **facts).to_release

    assert at(1, app_version="1.9", device_class="phone") == fleet.first
    assert at(2, app_version="2.0.1", device_class="tv") == fleet.first
    assert at(3) == fleet.first
    assert at(4, NOON - 1, app_version="2", device_class="phone") == fleet.first
    assert at(5, app_version="2", device_class="phone") == second


def test_what_conditions_forbid_asks_the_server_for_nothing(fleet):
    def quiet(policy: RolloutPolicy) -> RolloutPolicy:
        return replace(policy, sync=replace(policy.sync, quiet_hours=(22, 7), every_s=3600))

    change_policy(fleet.repo, fleet.signers, "stable", quiet)
    home = fleet.phone(1)
    at_home = Conditions(metered=False, on_battery=True, utc_offset_s=3600)
    fleet.sync(home, conditions=at_home, clock=lambda: NOON)
    second = fleet.publish("second")
    night = NOON + 10 * 3600  # 22:00 UTC, 23:00 there
    waits = fleet.sync(home, conditions=at_home, clock=lambda: night)
    assert (waits.status, waits.why, waits.requests) == ("waits", QUIET_HOURS, 0)
    morning = night + 8 * 3600  # 7:00 there
    assert morning <= waits.next_check_utc <= morning + 3600
    metered = replace(at_home, metered=True)
    assert fleet.sync(home, conditions=metered, clock=lambda: NOON).why == METERED
    assert fleet.has(home) == fleet.first
    assert fleet.sync(home, clock=lambda: night).to_release == second  # the user asked for it
    new = fleet.folder / "new"
    assert fleet.sync(new, conditions=metered, clock=lambda: NOON).to_release == second


def test_a_wrong_file_on_the_server_is_told_and_does_not_refuse_the_release(fleet):
    home = fleet.folder / "new"
    entry = Store(fleet.template / "store").read_manifest(fleet.first).files[0]
    path = fleet.repo / "targets" / "files" / f"{entry.sha256}.{entry.sha256}"
    sound = path.read_bytes()
    path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    log = EventLog(home / "events.sqlite")
    log.set_consent(True)
    log.append("item-1", "like", ts=1)
    with pytest.raises(Exception, match="not to be trusted"):
        fleet.sync(home)
    assert [one.outcome for one in outcomes.read(PhoneHome(home))] == [outcomes.DOWNLOAD_FAILED]
    assert (outcomes.pending(PhoneHome(home)), log.status().pending) == (
        [],
        0,
    )  # told, though it lasts
    log.close()
    path.write_bytes(sound)
    assert fleet.sync(home).to_release == fleet.first


def test_a_damaged_release_is_made_whole_though_there_is_one_before_it(fleet):
    second = fleet.publish("second")
    home = fleet.phone(1)
    fleet.sync(home)
    store = Store(home / "store")
    path = store.files / store.read_manifest(second).files[0].sha256
    path.write_bytes(path.read_bytes()[:-1])
    assert fleet.sync(home).status == "updated"
    assert store.open_active()[1] is None
    (store.releases / f"{second}.json").write_text("{}")
    assert fleet.sync(home).status == "updated"
    assert store.open_active()[1] is None


def test_an_overloaded_server_is_no_failure_of_the_release(fleet, monkeypatch):
    def busy(*args, **kwargs):
        raise BusyError(503, 0)

    monkeypatch.setattr("pocketrec_edge.sync.files.ReleaseFiles.fetch", busy)
    home = fleet.folder / "new"
    with pytest.raises(SyncError):
        fleet.sync(home)
    assert outcomes.read(PhoneHome(home)) == []


def test_the_commands_show_and_change_what_phones_take(fleet, runner):
    second = fleet.publish("second")
    where = ["--repo", str(fleet.repo), "--json"]
    keys = ["--keys", str(fleet.keys)]

    def told(*words) -> dict:
        done = runner.invoke(main, ["rollout", *words, *where, *(keys * (words[0] != "show"))])
        assert done.exit_code == 0, done.output
        return json.loads(done.output)

    found = told(
        "stage",
        "second",
        "--percent",
        "25",
        "--app-least",
        "1.2",
        "--from",
        "2026-12-01T08:00Z",
        "--halt-above",
        "0.05",
        "--halt-of",
        "50",
    )
    stage = found["releases"][0]
    assert (stage["percent"], stage["app"]["least"], stage["from_utc"]) == (25, "1.2", 1796112000)
    assert stage["most_failures"] == {"of": 50, "share": 0.05}
    ramped = told(
        "stage",
        "second",
        "--percent",
        "1",
        "--ramp",
        "2020-01-01=5",
        "--ramp",
        "2120-01-01T00:00Z=50",
    )["releases"][0]
    assert ramped["ramp"] == [[1577836800, 5], [4733510400, 50]]
    assert (ramped["percent"], ramped["percent_now"]) == (1, 5)
    assert told("stage", "second", "--percent", "25")["releases"][0]["ramp"] == []
    assert told("pause", second[:8])["releases"][0]["state"] == "paused"
    assert told("resume", "second")["releases"][0]["state"] == "active"
    assert told("halt", "second", "--reason", "odd slates")["releases"][0]["halted"] == "odd slates"
    shown = runner.invoke(main, ["rollout", "show", "--repo", str(fleet.repo)])
    assert "second is halted: odd slates" in shown.output
    assert "app from 1.2, from 2026-12-01T08:00Z, halts above 5% in 50 networks" in shown.output
    after = told("unhalt", "second")["releases"][0]
    assert after["halted"] is None
    assert told("kill", "second")["releases"][0]["state"] == "killed"
    back = told("rollback", "tiny", "--percent", "50", "--kill")["releases"]
    assert [(s["name"], s["percent"], s["state"]) for s in back] == [
        ("tiny", 50, "active"),
        ("second", 25, "killed"),
    ]
    when = told("when", "--quiet-hours", "22-7", "--any-network", "--every-s", "600")["sync"]
    assert when["quiet_hours"] == [22, 7] and not when["unmetered"] and when["every_s"] == 600
    assert told("show")["sync"] == when
    shown = runner.invoke(main, ["rollout", "show", "--repo", str(fleet.repo)]).output
    assert shown.endswith(
        "devices sync every 600 to 4200 s, on any network, not from 22:00 to 07:00\n"
    )
    home = fleet.phone(1)
    fleet.sync(home, consent=True)
    assert told("show")["releases"][0]["health"] is None  # it had it before it could tell
    words = ["rollout", "kill", "third", "--repo", str(fleet.repo), *keys]
    assert "no release 'third'" in runner.invoke(main, words).output


def test_a_phone_s_command_says_what_it_waits_for(fleet, runner):
    home = fleet.phone(1)
    words = ["device", "sync", "--home", str(home), "--server", fleet.url]
    fleet.sync(home)
    waits = runner.invoke(main, [*words, "--metered"])
    assert waits.exit_code == 0
    assert "waits" in waits.output and "why: metered" in waits.output
    done = runner.invoke(main, [*words, "--metered", "--anyway"])
    assert "current" in done.output and "why: tiny: kept" in done.output


def test_a_release_is_found_by_name_or_by_digits_of_its_hash():
    twins = tuple(
        Stage(manifest=f"{n}" * 64, name=name, percent=1)
        for n, name in enumerate(("a", "b", "b", "2222222"))
    )
    policy = RolloutPolicy(channel="stable", releases=twins)
    assert find(policy, "a") is twins[0]
    assert find(policy, "111111") is twins[1]
    for unclear in ("b", "c", "1111", "2222222"):
        with pytest.raises(InputError):
            find(policy, unclear)


def test_replayed_golden_vectors_are_the_self_test_of_a_real_phone(fleet):
    home = fleet.folder / "new"
    report = fleet.sync(home, lambda bundle: replay(bundle, "onnx"))
    assert report.to_release == fleet.first
