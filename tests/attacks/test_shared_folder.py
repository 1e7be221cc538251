"""Another user of the machine: links planted in a phone's folder, and a look at its files.

Whoever can write into a folder can make a program write elsewhere by a symbolic link. The phone
follows none; and nobody but its user can read what is in its folder.
"""

import os
import shutil
import stat
from pathlib import Path

import pytest

from pocketrec_bundle.errors import PocketRecError
from pocketrec_edge.device import Device
from pocketrec_edge.errors import EventLogError
from pocketrec_edge.events import interests, privacy
from pocketrec_edge.events import release_outcomes as outcomes
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.releases import blocklist
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync import too_new

NOW = 1_700_000_000


@pytest.fixture
def home(site) -> Path:
    return site.folder / "phone"


@pytest.fixture
def victim(tmp_path) -> Path:
    """A file that the attacker cannot write, and the phone's user can."""
    path = tmp_path / "victim"
    path.write_text("precious")
    return path


def plant(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("name", ["sync.lock", "store/lock", "self_test", ".policy.json.partial"])
def test_a_sync_writes_through_no_link(site, home, victim, name):
    plant(home / name, victim)
    (home / "policy.json").unlink()
    site.publish(1)
    try:
        site.sync()
    except PocketRecError as err:
        assert "symbolic link" in str(err)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("end", ["part", "incoming"])
def test_a_transfer_writes_through_no_link(site, home, victim, end):
    store = Store(home / "store")
    active, _ = store.active()
    assert active is not None
    (entry,) = [e for e in store.read_manifest(active).files if e.name == "index/rows"]
    (store.files / entry.sha256).unlink()
    name = f".{entry.sha256}.incoming"
    plant(store.files / (name if end == "incoming" else f".{entry.sha256}.part"), victim)
    try:
        site.sync()
    except PocketRecError as err:
        assert "symbolic link" in str(err)
    assert victim.read_text() == "precious"
    site.sync()  # the link was removed, or stands in the way of nothing
    assert site.release_of() == "0"


@pytest.mark.parametrize("name", ["trial", ".sessions.json.partial", ".interests.json.partial"])
def test_an_answer_writes_through_no_link(home, victim, name):
    plant(home / name, victim)
    phone = Device(home, engine="onnx", clock=lambda: NOW)
    assert phone.recommend(page=1).items
    try:
        phone.set_interests(["drama"])
    except PocketRecError as err:
        assert "symbolic link" in str(err)
    phone.close()
    assert victim.read_text() == "precious"


def test_a_link_in_place_of_the_log_is_a_fault_and_is_not_written(home, tmp_path):
    target = tmp_path / "other.sqlite"
    (home / "events.sqlite").unlink(missing_ok=True)
    plant(home / "events.sqlite", target)
    phone = Device(home, engine="onnx", clock=lambda: NOW)
    answer = phone.recommend()
    assert answer.items and "symbolic link" in answer.faults[0].text
    with pytest.raises(EventLogError, match="symbolic link"):
        phone.feedback("é-0", "like")
    assert not target.exists()


def test_an_erasure_zeroes_no_file_behind_a_link(home, victim):
    Device(home).close()
    for name in ("install_id", "interests.json", ".sessions.json.partial"):
        plant(home / name, victim)
    privacy.erase(PhoneHome(home))
    assert victim.read_text() == "precious"
    assert not any(path.is_symlink() for path in home.iterdir())


def modes(home: Path) -> dict[str, str]:
    """Permissions of everything in a home that others could use."""
    found = {}
    for path in (home, *home.rglob("*")):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode != (0o700 if path.is_dir() else 0o600):
                found[str(path.relative_to(home))] = oct(mode)
    return found


@pytest.mark.parametrize("mask", [0, 0o022])
def test_nobody_else_reads_a_phone_s_folder_whatever_the_umask(site, tiny_release, mask):
    before = os.umask(mask)
    try:
        site.sync(home="new/phone")
        home = site.folder / "new" / "phone"
        assert (home / "tuf" / "root_asked.json").exists() and modes(home) == {}
        phone = Device(home, engine="onnx", clock=lambda: NOW)
        phone.feedback(phone.recommend(page=1).items[0].item_id, "like")
        phone.set_interests(["drama"])
        phone.set_consent(True)
        phone.install(site.releases[1])
        outcomes.record(PhoneHome(home), "a" * 64, outcomes.REVERTED, NOW)
        blocklist.block(PhoneHome(home), "a" * 64)
        too_new.note(
            PhoneHome(home), too_new.read(PhoneHome(home), "1", NOW), "a" * 64, "a newer form"
        )
        assert (home / "events.sqlite-wal").exists() and modes(home) == {}
        site.publish(2)
        site.sync(home="new/phone")
        phone.export_data(site.folder / "copy.jsonl")
        assert len([path for path in home.rglob("*") if path.is_file()]) > 50
        assert modes(home) == {}
        phone.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((site.folder / "copy.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize("by", ["an app", "a sync", "an erasure"])
def test_the_folder_of_an_earlier_version_is_tightened(site, home, by):
    phone = Device(home, engine="onnx", clock=lambda: NOW)
    phone.recommend(page=1)
    phone.close()
    (home / "store-of-the-app").write_text("the app's own")
    (home / ".policy.json.partial").write_text("of a killed writer")
    for path in (home, *home.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o777 if path.is_dir() else 0o666)
    match by:
        case "an app":
            Device(home, engine="onnx").close()
        case "a sync":
            site.sync()
        case _:
            privacy.erase(PhoneHome(home))
    assert modes(home) == {"store-of-the-app": "0o666"}


def test_a_folder_of_everybody_is_left_as_it_is(tmp_path):
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    Device(shared).close()
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    assert stat.S_IMODE((shared / "events.sqlite").stat().st_mode) == 0o600


def test_what_the_phone_writes_is_in_the_list_of_what_is_tightened(site, home):
    phone = Device(home, engine="onnx", clock=lambda: NOW)
    phone.recommend(page=1)
    phone.set_interests(["drama"])
    assert interests.read(PhoneHome(home)) == ("drama",)
    phone.install(site.releases[1])
    outcomes.record(PhoneHome(home), "a" * 64, outcomes.REVERTED, NOW)
    blocklist.block(PhoneHome(home), "a" * 64)
    too_new.note(PhoneHome(home), too_new.read(PhoneHome(home), "1", NOW), "a" * 64, "a newer form")
    for path in home.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o777 if path.is_dir() else 0o666)
    Device(home, engine="onnx").close()
    assert modes(home) == {}
    phone.close()
    shutil.rmtree(home)
