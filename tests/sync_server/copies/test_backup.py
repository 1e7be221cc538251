"""Backups are restored whole and with their owner's signature, or not at all."""

import hashlib
import io
import json
import shutil
import sqlite3
import tarfile
import threading
import time

import pytest
from sqlalchemy import select

from pocketrec import cli
from pocketrec_bundle.errors import InputError
from pocketrec_edge.device import Device
from pocketrec_edge.errors import SyncError
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync.client import sync
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle
from pocketrec_server.auth import sessions, tokens
from pocketrec_server.copies import backup as backups
from pocketrec_server.copies import seal
from pocketrec_server.copies.restore import UNSIGNED_LIST, restore
from pocketrec_server.errors import BackupInvalidError, KeysInvalidError
from pocketrec_server.experiments import signing
from pocketrec_server.halting import outcomes
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import publish
from pocketrec_server.repository.rotation import rotate
from pocketrec_server.storage.database import default_url, open_database
from pocketrec_server.storage.tables import OUTCOME_KEY, OUTCOME_NETWORK, OUTCOME_QUOTA


@pytest.fixture
def engine(tiny_repo):
    """Of the repository's database, with a token in it."""
    engine = open_database(default_url(tiny_repo))
    tokens.make(engine, "alice", "read", 5, 1000)
    return engine


@pytest.fixture
def key(tmp_path):
    """Folder of the key of the operator's backups."""
    seal.make_backup_key(tmp_path / "backup-key")
    return tmp_path / "backup-key"


@pytest.fixture
def back_up(key):
    """Return a function that makes a backup, signed with the operator's key."""

    def make(repo, engine, out, **more):
        return backups.back_up(repo, engine, out, key / "backup.pem", **more)

    return make


@pytest.fixture
def public(key):
    """What the operator keeps apart."""
    return key / "backup.pub"


def test_a_restored_server_goes_on_where_the_other_stopped(
    tiny_repo, engine, start_server, tmp_path, back_up, public
):
    out = tmp_path / "saved" / "backup.tar"
    arms = [{"name": name, "share": 0.5} for name in ("control", "treatment")]
    plan = {"id": "blend", "until_utc": int(time.time()) + 9999, "arms": arms}
    signing.start(tiny_repo, load_signers(tmp_path / "keys"), "stable", plan)
    report = back_up(tiny_repo, engine, out)
    assert report.database
    assert out.stat().st_mode & 0o077 == 0
    back = tmp_path / "back"
    assert restore(out, back, public, with_secrets=True).backup == report
    assert (back / "server.sqlite").stat().st_mode & 0o077 == 0
    saved = {p.relative_to(tiny_repo): p.read_bytes() for p in (tiny_repo / "targets").rglob("*.*")}
    assert saved == {p.relative_to(back): p.read_bytes() for p in (back / "targets").rglob("*.*")}
    assert [t.name for t in tokens.listed(open_database(default_url(back)))] == ["alice"]
    address, _ = start_server(back)
    root = tiny_repo / "metadata" / "1.root.json"
    assert sync(tmp_path / "phone", address, lambda _: None, root_path=root).status == "updated"
    with Device(tmp_path / "phone", engine="onnx") as device:
        assert list(device.recommend(1).arms) == ["blend"]


def test_a_database_that_is_being_written_is_saved_at_one_moment(
    tiny_repo, engine, tmp_path, back_up, public
):
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
    restore(tmp_path / "b.tar", tmp_path / "back", public, with_secrets=True)
    with sqlite3.connect(tmp_path / "back" / "server.sqlite") as database:
        (n,) = database.execute("SELECT count(*) FROM admin_token").fetchone()
    database.close()
    assert 1 <= n <= len(tokens.listed(engine))


def test_no_key_and_no_secret_is_saved(tiny_repo, engine, tmp_path, back_up, key):
    shutil.copy(tmp_path / "keys" / "timestamp.pem", tiny_repo / "metadata")
    shutil.copy(key / "backup.pem", tiny_repo / "targets")
    (tiny_repo / "cookie.secret").write_text("secret")
    back_up(tiny_repo, engine, tmp_path / "b.tar")
    data = (tmp_path / "b.tar").read_bytes()
    assert b"PRIVATE KEY" not in data
    assert b"cookie.secret" not in data


def test_devices_that_saw_more_come_back_after_a_rotation(
    tiny_repo, engine, static_of, tmp_path, back_up, public
):
    keys = tmp_path / "keys"
    back_up(tiny_repo, engine, tmp_path / "b.tar")
    home, root = tmp_path / "phone", tiny_repo / "metadata" / "1.root.json"
    write_tiny_bundle(tmp_path / "second", answers=True, name="second")
    publish(tmp_path / "second", tiny_repo, load_signers(keys), "stable")
    sync(home, static_of(tiny_repo), lambda _: None, root_path=root)
    restore(tmp_path / "b.tar", tiny_repo, public, force=True)
    with pytest.raises(SyncError, match="not to be trusted"):
        sync(home, static_of(tiny_repo), lambda _: None)
    rotate(tiny_repo, load_signers(keys), ["snapshot", "timestamp", "stable"], None)
    publish(tmp_path / "second", tiny_repo, load_signers(keys), "stable")
    report = sync(home, static_of(tiny_repo), lambda _: None)
    bundle, _ = Store(home / "store").open_active()
    assert bundle is not None and bundle.manifest.name == "second"
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


def change_database(found, folder, script):
    """Change the database as somebody does who can write where backups lie, and the list."""
    path = folder / "changed.sqlite"
    path.write_bytes(next(data for member, data in found if member.name == "database.sqlite"))
    with sqlite3.connect(path) as database:
        database.executescript(script)
    database.close()
    replace_member(found, "database.sqlite", path.read_bytes())
    path.unlink()


def plant(text):
    """Return the statement that adds an operator whose token is `text`."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    row = f"'eve', 'eve', '{digest}', 'operate', 0, 99999999999, NULL"
    return f"INSERT INTO admin_token VALUES ({row});"  # noqa: S608


def members(path):
    with tarfile.open(path) as archive:
        opened = [(m, archive.extractfile(m)) for m in archive]
        return [(m, file.read()) for m, file in opened if file is not None]


def unsigned(path):
    """What an earlier version would have written: the archive's members, and a list at its end."""
    listed = json.loads(tail_of(path.read_bytes())[:-99])
    last = json.dumps({"format": 1, "created_utc": 5, "files": listed["files"]}).encode()
    return [*members(path), (tarfile.TarInfo(UNSIGNED_LIST), last)]


def rewrite(path, found, tail=b""):
    with tarfile.open(path, "w") as archive:
        for member, data in found:
            fresh = tarfile.TarInfo(member.name)
            fresh.size, fresh.type, fresh.linkname = len(data), member.type, member.linkname
            archive.addfile(fresh, io.BytesIO(data))
    with path.open("ab") as stream:
        stream.write(tail)


def tail_of(data):
    """List, signature and end of a signed backup."""
    n_bytes = int.from_bytes(data[-35:-27])
    return data[-(n_bytes + 64 + 8 + 27) :]


def change_one(found):
    member, data = found[0]
    found[0] = member, bytes([data[0] ^ 1]) + data[1:]


def drop_one(found):
    del found[0]


def add_one(found):
    found.insert(0, (tarfile.TarInfo(f"repository/targets/files/{'a' * 64}.txt"), b"x"))


def repeat_one(found):
    found.insert(0, found[0])


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


def list_in_the_middle(found):
    found.insert(1, found.pop())


def damage_database(found):
    at = next(i for i, (m, _) in enumerate(found) if m.name == "database.sqlite")
    found[at] = found[at][0], found[at][1][:5000]


def garble_database(found):
    data = next(data for member, data in found if member.name == "database.sqlite")
    replace_member(found, "database.sqlite", data[:4096] + b"x" * (len(data) - 4096))


DAMAGE = [
    change_one,
    drop_one,
    add_one,
    repeat_one,
    lead_outside,
    name_a_key,
    link,
    of_another_format,
    without_list,
    list_in_the_middle,
    damage_database,
    garble_database,
    forge,
]


def is_refused(file, to, *words, match=None, **more):
    before = sorted(file.parent.rglob("*"))
    with pytest.raises(BackupInvalidError, match=match):
        restore(file, to, *words, **more)
    assert sorted(file.parent.rglob("*")) == before


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_backup_that_was_changed_is_refused_and_changes_nothing(
    tiny_repo, engine, tmp_path, damage, back_up, public
):
    path = tmp_path / "b.tar"
    back_up(tiny_repo, engine, path)
    tail, found = tail_of(path.read_bytes()), unsigned(path)
    damage(found)
    rewrite(path, found)
    is_refused(path, tmp_path / "back", None)  # although unsigned ones are trusted
    is_refused(path, tmp_path / "back", public, match="not signed")
    if damage is without_list:
        return  # which is the archive that was signed
    rewrite(path, found, tail)
    is_refused(path, tmp_path / "back", public, match="the archive is not the signed one")


def test_a_planted_operator_is_refused_though_hash_and_size_are_patched(
    tiny_repo, engine, tmp_path, back_up, public
):
    path = tmp_path / "b.tar"
    back_up(tiny_repo, engine, path)
    data = path.read_bytes()
    found = unsigned(path)
    change_database(found, tmp_path, plant("prt_eve"))
    listed = json.loads(found.pop()[1])
    rewrite(path, found)
    archive = path.read_bytes()
    facts = {"bytes": len(archive), "sha256": hashlib.sha256(archive).hexdigest()}
    signed = json.loads(tail_of(data)[:-99])
    patched = json.dumps(signed | {"archive": facts, "files": listed["files"]}).encode()
    for signature in (tail_of(data)[-99:-35], b"\0" * 64):
        tail = patched + signature + len(patched).to_bytes(8) + data[-27:]
        path.write_bytes(archive + tail)
        is_refused(path, tmp_path / "back", public, match="signature is not of your key")
    path.write_bytes(archive)
    is_refused(path, tmp_path / "back", public, match="not signed")


def test_a_backup_signed_by_somebody_else_is_refused(tiny_repo, engine, tmp_path, public):
    seal.make_backup_key(tmp_path / "eve")
    path = tmp_path / "b.tar"
    backups.back_up(tiny_repo, engine, path, tmp_path / "eve" / "backup.pem")
    is_refused(path, tmp_path / "back", public, match="signature is not of your key")
    assert restore(path, tmp_path / "back", tmp_path / "eve" / "backup.pub").signed


def test_parts_of_two_signed_backups_do_not_make_a_third(
    tiny_repo, engine, tmp_path, back_up, public
):
    one, two = tmp_path / "1.tar", tmp_path / "2.tar"
    back_up(tiny_repo, engine, one)
    tokens.make(engine, "bob", "read", 5, 1000)
    back_up(tiny_repo, engine, two)
    first, second = one.read_bytes(), two.read_bytes()
    old, new = tail_of(first), tail_of(second)
    assert len(old) == len(new)
    for data in (first[: -len(old)] + new, second[: -len(new)] + old, second + b"x", second + new):
        one.write_bytes(data)
        is_refused(one, tmp_path / "back", public)
    one.write_bytes(second)
    restore(one, tmp_path / "back", public)


def test_operators_and_sessions_are_not_restored_unless_asked_for(
    tiny_repo, engine, tmp_path, back_up, public
):
    path, back = tmp_path / "b.tar", tmp_path / "back"
    (alice,) = tokens.listed(engine)
    sessions.begin(engine, alice.id, 1000)
    back_up(tiny_repo, engine, path)

    def state(repo):
        with sqlite3.connect(repo / "server.sqlite") as database:
            names = [name for (name,) in database.execute("SELECT name FROM admin_token")]
            (n_sessions,) = database.execute("SELECT count(*) FROM admin_session").fetchone()
            (salt,) = database.execute("SELECT value FROM setting WHERE name = 'salt'").fetchone()
        database.close()
        return names, n_sessions, salt

    names, n_sessions, salt = state(tiny_repo)
    assert (names, n_sessions) == (["alice"], 1)
    report = restore(path, back, public)
    assert (report.tokens_left_out, report.secrets, report.signed) == (1, False, True)
    names, n_sessions, fresh = state(back)
    assert (names, n_sessions) == ([], 0)
    assert fresh != salt and len(fresh) == len(salt)
    assert alice.id.encode() not in (back / "server.sqlite").read_bytes()  # not in free pages
    restore(path, back, public, force=True, with_secrets=True)
    assert state(back) == (["alice"], 0, salt)


def test_a_backup_of_an_earlier_version_is_restored_without_its_operators(
    tiny_repo, engine, tmp_path, back_up, public
):
    path, back = tmp_path / "b.tar", tmp_path / "back"
    back_up(tiny_repo, engine, path)
    found = unsigned(path)
    change_database(found, tmp_path, plant("prt_eve"))
    rewrite(path, found)
    is_refused(path, back, public, match="not signed")
    with pytest.raises(InputError, match="never restored from an unsigned backup"):
        restore(path, back, None, with_secrets=True)
    report = restore(path, back, None)
    assert (report.signed, report.tokens_left_out) == (False, 2)
    restored = open_database(default_url(back))
    assert tokens.find(restored, "prt_eve", 1000) is None
    assert tokens.listed(restored) == []


def test_a_trigger_that_would_plant_an_operator_later_is_refused(
    tiny_repo, engine, tmp_path, back_up
):
    path = tmp_path / "b.tar"
    back_up(tiny_repo, engine, path)
    found = unsigned(path)
    change_database(
        found,
        tmp_path,
        f"CREATE TRIGGER x AFTER DELETE ON admin_token BEGIN {plant('prt_eve')} END;",
    )
    rewrite(path, found)
    is_refused(path, tmp_path / "back", None, match="CREATE TRIGGER")


HIDDEN = {
    "another spelling": """
        ALTER TABLE admin_token RENAME TO other; ALTER TABLE other RENAME TO Admin_Token;
    """,
    "another name in the list of tables": """
        PRAGMA writable_schema = ON;
        UPDATE sqlite_master SET name = 'other', tbl_name = 'other' WHERE name = 'admin_token';
    """,
}


@pytest.mark.parametrize("script", HIDDEN.values(), ids=HIDDEN)
def test_operators_in_a_table_that_is_hidden_are_not_restored(
    tiny_repo, engine, tmp_path, back_up, script
):
    path, back = tmp_path / "b.tar", tmp_path / "back"
    back_up(tiny_repo, engine, path)
    found = unsigned(path)
    change_database(found, tmp_path, plant("prt_eve") + script)
    rewrite(path, found)
    try:
        restore(path, back, None)
    except BackupInvalidError:
        return
    assert tokens.find(open_database(default_url(back)), "prt_eve", 1000) is None


def test_a_trigger_that_is_listed_as_something_else_is_refused(
    tiny_repo, engine, tmp_path, back_up
):
    path = tmp_path / "b.tar"
    back_up(tiny_repo, engine, path)
    found = unsigned(path)
    script = f"CREATE TRIGGER x AFTER INSERT ON audit BEGIN {plant('prt_eve')} END;"
    listed = "UPDATE sqlite_master SET type = 'index' WHERE name = 'x';"
    change_database(found, tmp_path, f"{script} PRAGMA writable_schema = ON; {listed}")
    rewrite(path, found)
    is_refused(path, tmp_path / "back", None, match=r"\(x\)|'x'")


def test_a_backup_cannot_tell_which_networks_reported(tiny_repo, engine, tmp_path, back_up, public):
    path, back = tmp_path / "b.tar", tmp_path / "back"
    outcome = {"id": "0" * 32, "manifest": "a" * 64, "outcome": "reverted"}
    counted = outcomes.count(
        engine, "stable", {"a" * 64}, [outcome], 1_800_000_000, network="192.0.2.0/24"
    )
    assert counted.new == 1
    with engine.connect() as connection:
        hidden = [
            *connection.execute(select(OUTCOME_KEY.c.key)).scalars(),
            *connection.execute(select(OUTCOME_NETWORK.c.network)).scalars(),
            *connection.execute(select(OUTCOME_QUOTA.c.network)).scalars(),
        ]
    assert len(hidden) == 4
    back_up(tiny_repo, engine, path)
    data = path.read_bytes()
    assert not [text for text in hidden if text.encode() in data]
    restore(path, back, public)
    assert outcomes.healths(open_database(default_url(back)), "stable")["a" * 64].reverted == 1


def test_a_signed_backup_is_not_taken_for_an_unsigned_one(tiny_repo, engine, tmp_path, back_up):
    back_up(tiny_repo, engine, tmp_path / "b.tar")
    with pytest.raises(InputError, match="--key"):
        restore(tmp_path / "b.tar", tmp_path / "back", None)


def test_a_backup_cut_off_anywhere_is_refused(tiny_repo, engine, tmp_path, back_up, public):
    back_up(tiny_repo, engine, tmp_path / "b.tar")
    data = (tmp_path / "b.tar").read_bytes()
    for at in [*range(0, len(data), len(data) // 20), *range(len(data) - 100, len(data), 9)]:
        (tmp_path / "b.tar").write_bytes(data[:at])
        with pytest.raises(BackupInvalidError):
            restore(tmp_path / "b.tar", tmp_path / "back", public)


def test_the_end_of_a_backup_promises_no_memory(tmp_path, public):
    path = tmp_path / "b.tar"
    for n_bytes in (0, 1, 1 << 40, (1 << 64) - 1):
        path.write_bytes(b"x" * 64 + n_bytes.to_bytes(8) + b"\npocketrec-signed-backup-2\n")
        is_refused(path, tmp_path / "back", public)


def test_a_damaged_key_is_named(tiny_repo, engine, tmp_path, back_up, key):
    path = tmp_path / "b.tar"
    back_up(tiny_repo, engine, path)
    for wrong in (key / "backup.pem", key / "nothing", tmp_path / "keys" / "timestamp.pem"):
        with pytest.raises(KeysInvalidError, match=wrong.name):
            restore(path, tmp_path / "back", wrong)
    with pytest.raises(KeysInvalidError, match="nothing"):
        backups.back_up(tiny_repo, engine, tmp_path / "c.tar", key / "nothing")
    assert not (tmp_path / "c.tar").exists()
    with pytest.raises(InputError, match="exists already; no key was changed"):
        seal.make_backup_key(key)


def test_commands_make_a_key_and_a_backup_and_restore_it(
    runner, tiny_repo, engine, tmp_path, monkeypatch
):
    def run(*words, code=0):
        done = runner.invoke(cli.main, list(map(str, words)))
        assert done.exit_code == code, done.output
        return done

    key, out = tmp_path / "secret", tmp_path / "b.tar"
    monkeypatch.setenv("POCKETREC_KEY_PASSPHRASE", "correct horse battery staple")
    made = json.loads(run("keys", "backup-key", "--out", key, "--json").stdout)
    assert b"ENCRYPTED" in (key / "backup.pem").read_bytes()
    assert (key / "backup.pem").stat().st_mode & 0o077 == 0
    run("backup", "--repo", tiny_repo, "--out", out, code=2)  # never unsigned
    run("backup", "--repo", tiny_repo, "--out", out, "--key", key / "backup.pem")
    monkeypatch.delenv("POCKETREC_KEY_PASSPHRASE")
    back = tmp_path / "back"
    words = ("restore", out, "--repo", back)
    assert "--key" in run(*words, code=2).stderr
    run(*words, "--key", made["public"], "--trust-unsigned-backup", code=2)
    done = run(*words, "--key", made["public"])
    assert "signed" in done.stdout and "1 operator tokens" in done.stderr
    assert "--repo" in run(*words, "--key", made["public"], code=2).stderr  # not --out
    report = json.loads(run(*words, "--key", made["public"], "--force", "--json").stdout)
    assert report["signed"] and report["backup"]["database"]


def test_nothing_is_replaced_unasked_and_only_repositories(
    tiny_repo, engine, tmp_path, back_up, public
):
    out = tmp_path / "b.tar"
    back_up(tiny_repo, engine, out)
    with pytest.raises(InputError, match="--force"):
        back_up(tiny_repo, engine, out)
    with pytest.raises(InputError, match="--repo, or add --force"):
        restore(out, tiny_repo, public)
    (tiny_repo / "targets" / "extra").write_text("x")
    restore(out, tiny_repo, public, force=True)
    assert not (tiny_repo / "targets" / "extra").exists()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_text("x")
    with pytest.raises(InputError, match="not a repository"):
        restore(out, tmp_path / "photos", public, force=True)
    assert (tmp_path / "photos" / "one.jpg").exists()
