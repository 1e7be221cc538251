"""Keys: private, encrypted, opened by need; a signer that is elsewhere signs as well."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Signature, Signer

from pocketrec.cli import main
from pocketrec_bundle.errors import InputError
from pocketrec_server.errors import KeysInvalidError
from pocketrec_server.repository import state
from pocketrec_server.repository.keys import load_signers, make_key, make_keys, online_signers
from pocketrec_server.repository.publish import found_repository, halt, publish, refresh

SECRET = "correct horse battery"  # noqa: S105 - it guards nothing


@pytest.fixture
def no_passphrase(monkeypatch):
    monkeypatch.delenv("POCKETREC_KEY_PASSPHRASE", raising=False)


def test_keys_are_private_and_never_overwritten(tmp_path):
    paths = make_keys(tmp_path)
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
    assert {path.stem for path in paths} == {
        *("root-1", "root-2", "root-3", "targets", "stable", "beta", "canary"),
        *("snapshot", "timestamp", "brake"),
    }
    before = [path.read_bytes() for path in paths]
    with pytest.raises(InputError, match="no key was changed"):
        make_keys(tmp_path)
    with pytest.raises(InputError, match="no key was changed"):
        make_key(tmp_path, "root-1")
    assert [path.read_bytes() for path in paths] == before
    with pytest.raises(InputError, match="expected 2 to 9"):
        make_keys(tmp_path / "one", root_keys=1)


def test_a_passphrase_comes_from_the_environment_or_is_asked_for_once(
    tmp_path, monkeypatch, no_passphrase
):
    make_keys(tmp_path, passphrase=SECRET)
    assert b"ENCRYPTED" in (tmp_path / "targets.pem").read_bytes()
    asked = []

    def ask(path):
        asked.append(path.stem)
        return SECRET

    signers = load_signers(tmp_path, ask=ask)
    for name in ("targets", "snapshot", "targets"):
        assert signers[name].public_key.keytype == "ed25519"
    assert asked == ["targets"]
    with pytest.raises(KeysInvalidError, match="PASSPHRASE is wrong"):
        load_signers(tmp_path)["targets"]
    monkeypatch.setenv("POCKETREC_KEY_PASSPHRASE", "wrong")
    with pytest.raises(KeysInvalidError, match="PASSPHRASE is wrong"):
        load_signers(tmp_path)["targets"]
    monkeypatch.setenv("POCKETREC_KEY_PASSPHRASE", SECRET)
    assert load_signers(tmp_path)["targets"].public_key.keytype == "ed25519"
    make_key(tmp_path / "plain", "targets")
    assert load_signers(tmp_path / "plain")["targets"].public_key.keytype == "ed25519"


def test_what_is_no_key_is_refused(tmp_path):
    (tmp_path / "stable.pem").write_text("-----BEGIN PRIVATE KEY-----\nx\n")
    (tmp_path / "beta.uri").write_text('{"uri": "file2:/x"}')
    (tmp_path / "canary.pem").write_bytes(
        CryptoSigner.generate_ecdsa().private_bytes,
    )
    signers = load_signers(tmp_path)
    for name, why in (
        ("stable", "damaged"),
        ("beta", "expected"),
        ("canary", "not an Ed25519"),
        ("targets", r"no targets\.pem"),
    ):
        with pytest.raises(KeysInvalidError, match=why):
            signers[name]
    with pytest.raises(KeysInvalidError, match="no such folder"):
        load_signers(tmp_path / "none")


def test_a_publish_takes_the_channel_and_the_online_keys_alone(founded, named_releases, tmp_path):
    repo, _ = founded
    here = only(tmp_path, "stable", "snapshot", "timestamp")
    assert publish(named_releases[1], repo, here, "stable").changed
    with pytest.raises(KeysInvalidError, match=r"no beta\.pem"):
        publish(named_releases[1], repo, here, "beta")
    with pytest.raises(KeysInvalidError, match=r"no brake\.pem"):
        halt(repo, here, "stable", "0" * 64, "x")
    online = only(tmp_path, "snapshot", "timestamp", "brake")
    assert halt(repo, online, "stable", "0" * 64, "x")
    assert set(refresh(repo, online, everything=True).signed) == {"snapshot", "timestamp", "brake"}
    with pytest.raises(KeysInvalidError, match=r"no stable\.pem"):
        publish(named_releases[1], repo, online, "stable", percent=5)


def test_keys_lie_in_several_folders(founded, named_releases, tmp_path):
    only(tmp_path, "stable"), only(tmp_path, "snapshot", "timestamp")
    signers = load_signers(tmp_path / "stable", tmp_path / "snapshot-timestamp")
    assert publish(named_releases[1], founded[0], signers, "stable").changed


def test_the_server_opens_its_keys_when_it_starts(tmp_path, no_passphrase):
    make_key(tmp_path, "snapshot")
    with pytest.raises(KeysInvalidError, match=r"no timestamp\.pem"):
        online_signers(tmp_path)
    make_key(tmp_path, "timestamp")
    online_signers(tmp_path)  # without a brake it halts nothing, and serves
    make_key(tmp_path, "brake", SECRET)
    with pytest.raises(KeysInvalidError, match="PASSPHRASE is wrong"):
        online_signers(tmp_path)


ELSEWHERE = """
import sys
from cryptography.hazmat.primitives.serialization import load_pem_private_key
key = load_pem_private_key(open(sys.argv[1], "rb").read(), None)
sys.stdout.buffer.write(key.sign(sys.stdin.buffer.read()))
"""


class Elsewhere(Signer):
    """A signer whose key is in another process only, as with an HSM."""

    def __init__(self, path, key):
        self.path, self.key = path, key

    @property
    def public_key(self):
        return self.key

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri, public_key, secrets_handler=None):
        return cls(priv_key_uri.removeprefix("elsewhere:"), public_key)

    def sign(self, payload):
        words = [sys.executable, "-c", ELSEWHERE, self.path]
        done = subprocess.run(words, input=payload, capture_output=True, check=True)
        return Signature(self.key.keyid, done.stdout.hex())


def as_uri(folder, name, scheme):
    """Move a key out of the folder and leave a .uri file in its place."""
    key = load_signers(folder)[name].public_key
    away = folder.parent / f"{name}-in-its-safe.pem"
    os.replace(folder / f"{name}.pem", away)  # noqa: PTH105
    public = {"keyid": key.keyid, **key.to_dict()}
    text = json.dumps({"uri": f"{scheme}:{away}", "key": public})
    (folder / f"{name}.uri").write_text(text)


def test_keys_of_a_service_sign_as_files_do(named_releases, tmp_path, monkeypatch):
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "elsewhere", Elsewhere)
    keys, repo = tmp_path / "keys", tmp_path / "repo"
    make_keys(keys)
    as_uri(keys, "root-1", "elsewhere")
    as_uri(keys, "stable", "elsewhere")
    as_uri(keys, "timestamp", "file2")
    with pytest.raises(InputError, match="exist"):
        make_keys(keys)
    found_repository(repo, load_signers(keys))
    assert publish(named_releases[0], repo, load_signers(keys), "stable").changed
    assert publish(named_releases[1], repo, load_signers(keys), "stable").changed
    assert state.load(repo).versions["stable"] == 3  # every signature proved


def test_a_service_that_cannot_be_reached_is_one_clear_error(founded, tmp_path, monkeypatch):
    repo, _ = founded
    as_uri(tmp_path / "keys", "timestamp", "elsewhere")
    with pytest.raises(KeysInvalidError, match=r"elsewhere:.* cannot be opened"):
        refresh(repo, load_signers(tmp_path / "keys"), everything=True)
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "elsewhere", Elsewhere)
    (tmp_path / "timestamp-in-its-safe.pem").rename(tmp_path / "gone.pem")
    before = sorted((repo / "metadata").iterdir())
    with pytest.raises(KeysInvalidError, match="timestamp key could not sign"):
        refresh(repo, load_signers(tmp_path / "keys"), everything=True)
    assert sorted((repo / "metadata").iterdir()) == before


def test_a_person_types_the_passphrase(tmp_path):
    """At a real terminal: twice when keys are made, once when they are used."""
    where = ["--out", str(tmp_path)]
    assert typed(["keys", "make", *where], [SECRET, "not the same", SECRET, SECRET]) == 0
    assert b"ENCRYPTED" in (tmp_path / "stable.pem").read_bytes()
    code = "from pocketrec import passphrase; "
    code += "from pocketrec_server.repository.keys import load_signers; "
    code += f"load_signers(__import__('pathlib').Path({str(tmp_path)!r}), ask=passphrase.asked)"
    assert typed(["-c", code + "['stable']"], [SECRET]) == 0
    assert typed(["-c", code + "['stable']"], ["wrong"]) == 1


def typed(words, lines):
    """Run Python at a terminal of its own, type lines when asked; its exit code."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.pop("POCKETREC_KEY_PASSPHRASE", None)
        module = [] if words[0] == "-c" else ["-m", "pocketrec"]
        os.execv(sys.executable, [sys.executable, *module, *words])  # noqa: S606
    shown, left = b"", list(lines)
    try:
        while part := os.read(terminal, 1024):
            shown += part
            if re.search(rb"(Passphrase of [^\n]*|Repeat for confirmation): $", shown):
                os.write(terminal, left.pop(0).encode() + b"\n")
                shown = b""
    except OSError:  # the terminal is closed
        pass
    assert not left, shown
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_making_keys_passes_over_those_of_a_service(tmp_path):
    make_key(tmp_path, "stable")
    as_uri(tmp_path, "stable", "file2")
    assert "stable" not in {path.stem for path in make_keys(tmp_path)}


def only(tmp_path, *names):
    """Signers of a folder that holds these keys of the repository only."""
    folder = tmp_path / "-".join(names)
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.pem").write_bytes((tmp_path / "keys" / f"{name}.pem").read_bytes())
    return load_signers(folder)


@pytest.mark.parametrize("passphrase", ["", "correct horse", "x" * 14])
def test_a_passphrase_that_could_be_guessed_is_refused_before_any_key_is_made(
    tmp_path, monkeypatch, runner, passphrase
):
    with pytest.raises(InputError, match="at least 15"):
        make_keys(tmp_path / "keys", passphrase=passphrase)
    monkeypatch.setenv("POCKETREC_KEY_PASSPHRASE", passphrase)
    for words in (["keys", "make"], ["keys", "backup-key"]):
        done = runner.invoke(main, [*words, "--out", str(tmp_path / "keys")])
        assert done.exit_code == 2
        assert "at least 15" in done.stderr or "no passphrase" in done.stderr
    assert not (tmp_path / "keys").exists()


def encrypted(key, passphrase):
    """A key's file as an earlier version wrote it, with a passphrase of any length."""
    lock = BestAvailableEncryption(passphrase)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)


def test_keys_of_an_older_version_with_a_short_passphrase_still_open(tmp_path, monkeypatch):
    (tmp_path / "stable.pem").write_bytes(encrypted(Ed25519PrivateKey.generate(), b"short"))
    monkeypatch.setenv("POCKETREC_KEY_PASSPHRASE", "short")
    assert load_signers(tmp_path)["stable"].public_key.keytype == "ed25519"


def test_keys_with_a_short_passphrase_are_replaced_without_a_terminal(
    founded, tmp_path, monkeypatch, runner
):
    for path in (tmp_path / "keys").glob("*.pem"):
        path.write_bytes(encrypted(load_pem_private_key(path.read_bytes(), None), b"short"))
    monkeypatch.setenv("POCKETREC_KEY_PASSPHRASE", "short")
    words = ["keys", "rotate", "timestamp", "--repo", str(founded[0]), "--keys"]
    refused = runner.invoke(main, [*words, str(tmp_path / "keys")])
    assert (refused.exit_code, "POCKETREC_NEW_KEY_PASSPHRASE" in refused.stderr) == (2, True)
    monkeypatch.setenv("POCKETREC_NEW_KEY_PASSPHRASE", SECRET)
    for _ in range(2):  # then keys of both are there
        done = runner.invoke(main, [*words, str(tmp_path / "keys")])
        assert done.exit_code == 0, done.stderr
    new = (tmp_path / "keys" / "timestamp.pem").read_bytes()
    assert load_pem_private_key(new, SECRET.encode())
