"""Backups come back whole or not at all."""

import hashlib
import io
import json
import shutil
import sqlite3
import tarfile
import threading

import pytest

from benchmarks.tiny_bundle import write_tiny_bundle
from bundle.errors import InputError
from edge_runtime.errors import SyncError
from edge_runtime.store import Store
from edge_runtime.sync import sync
from sync_server import tokens
from sync_server.backup import back_up
from sync_server.database import default_url, open_database
from sync_server.errors import BackupInvalid
from sync_server.keys import load_signers
from sync_server.repository import publish
from sync_server.restore import restore
from sync_server.rotation import rotate


@pytest.fixture
def engine(tiny_repo):
    """Of the repository's database, with a token in it."""
    engine = open_database(default_url(tiny_repo))
    tokens.make(engine, "alice", "read", 5, 1000)
    return engine


def test_a_restored_server_goes_on_where_the_other_stopped(
    tiny_repo, engine, start_server, tmp_path
):
    out = tmp_path / "saved" / "backup.tar"
    report = back_up(tiny_repo, engine, out)
    assert report.database
    assert out.stat().st_mode & 0o077 == 0
    back = tmp_path / "back"
    assert restore(out, back) == report
    saved = {p.relative_to(tiny_repo): p.read_bytes() for p in (tiny_repo / "targets").rglob("*.*")}
    assert saved == {p.relative_to(back): p.read_bytes() for p in (back / "targets").rglob("*.*")}
    assert [t.name for t in tokens.listed(open_database(default_url(back)))] == ["alice"]
    address, _ = start_server(back)
    root = tiny_repo / "metadata" / "1.root.json"
    assert sync(tmp_path / "phone", address, lambda _: None, root_path=root).status == "updated"


def test_a_database_that_is_being_written_is_saved_at_one_moment(tiny_repo, engine, tmp_path):
    stop = threading.Event()

    def write():
        while not stop.is_set():
            tokens.make(engine, "one", "read", 5, 1000)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        back_up(tiny_repo, engine, tmp_path / "b.tar")
    finally:
        stop.set()
        writer.join()
    restore(tmp_path / "b.tar", tmp_path / "back")
    with sqlite3.connect(tmp_path / "back" / "server.sqlite") as database:
        (n,) = database.execute("SELECT count(*) FROM admin_token").fetchone()
    database.close()
    assert 1 <= n <= len(tokens.listed(engine))


def test_no_key_and_no_secret_is_saved(tiny_repo, engine, tmp_path):
    shutil.copy(tmp_path / "keys" / "timestamp.pem", tiny_repo / "metadata")
    (tiny_repo / "cookie.secret").write_text("secret")
    back_up(tiny_repo, engine, tmp_path / "b.tar")
    data = (tmp_path / "b.tar").read_bytes()
    assert b"PRIVATE KEY" not in data
    assert b"cookie.secret" not in data


def test_devices_that_saw_more_come_back_after_a_rotation(tiny_repo, engine, static_of, tmp_path):
    keys = tmp_path / "keys"
    back_up(tiny_repo, engine, tmp_path / "b.tar")
    home, root = tmp_path / "phone", tiny_repo / "metadata" / "1.root.json"
    write_tiny_bundle(tmp_path / "second", answers=True, name="second")
    publish(tmp_path / "second", tiny_repo, load_signers(keys), "stable")
    sync(home, static_of(tiny_repo), lambda _: None, root_path=root)
    restore(tmp_path / "b.tar", tiny_repo, force=True)
    with pytest.raises(SyncError, match="not to be trusted"):
        sync(home, static_of(tiny_repo), lambda _: None)
    rotate(tiny_repo, load_signers(keys), ["snapshot", "timestamp", "stable"], None)
    publish(tmp_path / "second", tiny_repo, load_signers(keys), "stable")
    report = sync(home, static_of(tiny_repo), lambda _: None)
    assert Store(home / "store").open_active()[0].manifest.name == "second"
    assert report.files_fetched == 0


def forge(found):
    """Change what is signed, and the list with it."""
    named = {member.name: data for member, data in found}
    name = next(n for n in named if n.endswith("timestamp.json"))
    value = json.loads(named[name])
    value["signed"]["version"] += 1
    replace_member(found, name, json.dumps(value).encode())


def replace_member(found, name, data):
    at = next(i for i, (m, _) in enumerate(found) if m.name == name)
    found[at] = found[at][0], data
    listed = json.loads(found[-1][1])
    listed["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    found[-1] = found[-1][0], json.dumps(listed).encode()


def members(path):
    with tarfile.open(path) as archive:
        return [(m, archive.extractfile(m).read()) for m in archive]


def rewrite(path, found):
    with tarfile.open(path, "w") as archive:
        for member, data in found:
            fresh = tarfile.TarInfo(member.name)
            fresh.size, fresh.type, fresh.linkname = len(data), member.type, member.linkname
            archive.addfile(fresh, io.BytesIO(data))


def change_one(found):
    member, data = found[0]
    found[0] = member, bytes([data[0] ^ 1]) + data[1:]


def drop_one(found):
    del found[0]


def lead_outside(found):
    found[0][0].name = "repository/../../outside"


def name_a_key(found):
    found[0][0].name = "repository/metadata/root.pem"


def link(found):
    found[0][0].type = tarfile.SYMTYPE
    found[0][0].linkname = "/etc/passwd"
    found[0] = found[0][0], b""


def of_another_format(found):
    member, data = found[-1]
    found[-1] = member, json.dumps(json.loads(data) | {"format": 9}).encode()


def without_list(found):
    del found[-1]


def damage_database(found):
    at = next(i for i, (m, _) in enumerate(found) if m.name == "database.sqlite")
    found[at] = found[at][0], found[at][1][:5000]


DAMAGE = [
    change_one,
    drop_one,
    lead_outside,
    name_a_key,
    link,
    of_another_format,
    without_list,
    damage_database,
    forge,
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_backup_that_was_changed_is_refused_and_changes_nothing(
    tiny_repo, engine, tmp_path, damage
):
    back_up(tiny_repo, engine, tmp_path / "b.tar")
    found = members(tmp_path / "b.tar")
    damage(found)
    rewrite(tmp_path / "b.tar", found)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BackupInvalid):
        restore(tmp_path / "b.tar", tmp_path / "back")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_backup_cut_off_anywhere_is_refused(tiny_repo, engine, tmp_path):
    back_up(tiny_repo, engine, tmp_path / "b.tar")
    data = (tmp_path / "b.tar").read_bytes()
    end = data.rindex(b"backup.json") + 512
    for at in range(0, end, end // 20):
        (tmp_path / "b.tar").write_bytes(data[:at])
        with pytest.raises(BackupInvalid):
            restore(tmp_path / "b.tar", tmp_path / "back")


def test_nothing_is_replaced_unasked_and_only_repositories(tiny_repo, engine, tmp_path):
    out = tmp_path / "b.tar"
    back_up(tiny_repo, engine, out)
    with pytest.raises(InputError, match="--force"):
        back_up(tiny_repo, engine, out)
    with pytest.raises(InputError, match="--force"):
        restore(out, tiny_repo)
    (tiny_repo / "targets" / "extra").write_text("x")
    restore(out, tiny_repo, force=True)
    assert not (tiny_repo / "targets" / "extra").exists()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_text("x")
    with pytest.raises(InputError, match="not a repository"):
        restore(out, tmp_path / "photos", force=True)
    assert (tmp_path / "photos" / "one.jpg").exists()
