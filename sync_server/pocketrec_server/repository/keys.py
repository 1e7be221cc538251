"""Signing keys: one file each, readable by its owner only, or a service that signs.

    root-1.pem root-2.pem root-3.pem       two of them sign a root; each in a safe of its own
    targets.pem                            offline too: says which key signs which channel
    stable.pem beta.pem canary.pem         one a channel, where its releases are published
    snapshot.pem timestamp.pem brake.pem   online, what `pocketrec serve --keys` reads
    NAME.uri                               in place of NAME.pem: a KMS or HSM holds the key

A PEM file is PKCS #8 with an Ed25519 key. NAME.uri is JSON, {"uri": a signer of securesystemslib,
"key": {"keyid", "keytype", "scheme", "keyval"}}.
"""

import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, Key, Signer

from pocketrec_bundle.disk.files import fsync_dir
from pocketrec_bundle.errors import InputError
from pocketrec_server.errors import KeysInvalidError
from pocketrec_server.repository.roles import BRAKE, CHANNELS, ONLINE, ROOT, TARGETS, THRESHOLD

PASSPHRASE = "POCKETREC_KEY_PASSPHRASE"  # noqa: S105 - the variable's name, not a secret
NEW_PASSPHRASE = "POCKETREC_NEW_KEY_PASSPHRASE"  # noqa: S105
"""Of keys that a command makes, if it is not that of the keys which the command opens."""
LEAST_PASSPHRASE = 15
"""Characters; NIST SP 800-63B-4, 3.1.1.2, for a password that is the only factor."""
ROOT_KEYS = 3
"""Made by default: with one lost, two are left, which is what a new root needs."""
MOST_ROOT_KEYS = 9
_NEXT = ".next"
_ROOT_NAME = re.compile(rf"root-[1-9](\{_NEXT})?")

Ask = Callable[[Path], str | None]
"""Asks a person for the passphrase of a file; None: there is nobody to ask."""


class Signers:
    """The signers in some folders by name; a key is opened when it is first asked for."""

    def __init__(self, folders: Iterable[Path], ask: Ask = lambda _: None) -> None:
        """Name the folders; nothing is read yet."""
        self.folders = tuple(folders)
        self._ask = ask
        self._open: dict[tuple[Path, int, int], Signer] = {}
        self._next: set[str] = set()
        found = map(os.environ.get, (PASSPHRASE, NEW_PASSPHRASE))
        self._passphrases = [each for each in found if each is not None]

    def __contains__(self, name: str) -> bool:
        return self.path(name) is not None

    def __getitem__(self, name: str) -> Signer:
        """Open a signer.

        Raises:
            KeysInvalidError: it is missing, damaged, of another kind, or the passphrase is wrong.
        """
        self.require([name])
        path = self.path(self._current(name))
        assert path is not None, "it is here"
        return self.open(path)

    def require(self, names: Iterable[str]) -> None:
        """Check that the files of all these keys are here; none is opened.

        Raises:
            KeysInvalidError: some are missing; the text names all of them.
        """
        missing = [name for name in dict.fromkeys(names) if self._current(name) not in self]
        if missing:
            where = ", ".join(map(str, self.folders)) or "no folder of keys is given"
            files = ", ".join(f"no {name}.pem or {name}.uri" for name in missing)
            have, them = ("has", "its folder") if len(missing) == 1 else ("have", "their folders")
            raise KeysInvalidError(
                f"{where}: {files}, which {have} to sign this. Add {them} by --keys."
            )

    def _current(self, name: str) -> str:
        return next_name(name) if name in self._next else name

    def open(self, path: Path) -> Signer:
        """Open the signer in a file; raises as looking it up by name does."""
        try:
            facts = path.stat()
        except OSError as err:
            raise KeysInvalidError(f"{path}: cannot be read ({err.strerror}).") from err
        opened = path, facts.st_ino, facts.st_mtime_ns  # another key may take its place meanwhile
        if opened not in self._open:
            self._open[opened] = _remote(path) if path.suffix == ".uri" else self._local(path)
        return self._open[opened]

    def path(self, name: str) -> Path | None:
        """Where a key lies, or None."""
        found = (folder / f"{name}{kind}" for folder in self.folders for kind in (".pem", ".uri"))
        return next(filter(Path.is_file, found), None)

    def root_names(self) -> list[str]:
        """Names of the root keys that are here, `root-1` first, and of those to come."""
        paths = [path for folder in self.folders for path in folder.glob(f"{ROOT}-*")]
        names = {path.stem for path in paths if path.suffix in (".pem", ".uri")}
        return sorted(filter(_ROOT_NAME.fullmatch, names), key=lambda name: (len(name), name))

    def take_next(self, name: str) -> None:
        """From now on, a name means the key that takes its place."""
        self._next.add(name)

    def put_in_place(self, name: str) -> Path:
        """Give a key that has taken a name its file, beside which the old one stays."""
        new, old = self.path(next_name(name)), self.path(name)
        assert new is not None, "it has signed"
        if old is not None:
            keyid = self.open(old).public_key.keyid
            old.rename(old.with_name(f"{old.name}.{keyid[:12]}"))
        place = new.with_name(f"{name}{new.suffix}")
        new.rename(place)
        fsync_dir(place.parent)
        self._next.discard(name)
        return place

    def _local(self, path: Path) -> Signer:
        try:
            data = path.read_bytes()
        except OSError as err:
            raise KeysInvalidError(f"{path}: cannot be read ({err.strerror}).") from err
        key = self._unlocked(path, data) if b"BEGIN ENCRYPTED" in data else _parsed(data, None)
        if key is None:
            raise KeysInvalidError(f"{path}: damaged, or {PASSPHRASE} does not fit.")
        if not isinstance(key, Ed25519PrivateKey):
            raise KeysInvalidError(f"{path}: not an Ed25519 key.")
        return CryptoSigner(key)

    def _unlocked(self, path: Path, data: bytes) -> object:
        """Decrypt a key by a passphrase that is known, or by one that a person types."""
        for known in self._passphrases:
            if (key := _parsed(data, known)) is not None:
                return key
        typed = self._ask(path)
        key = None if typed is None else _parsed(data, typed)
        if key is not None and typed is not None:
            self._passphrases.append(typed)  # the next file's is often the same
        return key


def load_signers(*folders: Path, ask: Ask = lambda _: None) -> Signers:
    """Return the signers of folders; the first folder that has a key is taken.

    Raises:
        KeysInvalidError: a folder is missing.
    """
    for folder in folders:
        if not folder.is_dir():
            raise KeysInvalidError(
                f"{folder}: no such folder. Make keys with `pocketrec keys make`."
            )
    return Signers(folders, ask)


def online_signers(folder: Path) -> Signers:
    """Return the signers of a server's folder, those of the online roles opened and so proved.

    Raises:
        KeysInvalidError: the key of snapshot or timestamp is missing, or one cannot be opened.
    """
    signers = load_signers(folder)
    for role in ONLINE:
        if role != BRAKE or role in signers:
            signers[role]
    return signers


def make_keys(
    folder: Path,
    *,
    channels: Iterable[str] = CHANNELS,
    root_keys: int = ROOT_KEYS,
    passphrase: str | None = None,
) -> list[Path]:
    """Make the keys of a new repository, but for names that have a `.uri` file there already.

    Args:
        folder: where they go.
        channels: names of the channels.
        root_keys: how many can sign a root; two of them have to.
        passphrase: encrypts them; None: they are readable for who can read the file.

    Raises:
        InputError: a key is there already; keys are never overwritten.
    """
    if not THRESHOLD <= root_keys <= MOST_ROOT_KEYS:
        raise InputError(
            f"{root_keys} root keys, of which {THRESHOLD} have to sign; make {THRESHOLD} to "
            f"{MOST_ROOT_KEYS}."
        )
    names = [f"{ROOT}-{n + 1}" for n in range(root_keys)] + [TARGETS, *channels, *ONLINE]
    present = [f"{name}.pem" for name in names if (folder / f"{name}.pem").exists()]
    if present:
        raise InputError(f"{folder}: {', '.join(present)} exist already; keys stay as they are.")
    return [
        make_key(folder, name, passphrase)
        for name in names
        if not (folder / f"{name}.uri").exists()
    ]


def make_key(folder: Path, name: str, passphrase: str | None = None) -> Path:
    """Make one key; see `make_keys`.

    Raises:
        InputError: the key is there already, or the passphrase is too short.
    """
    check_passphrase(passphrase)
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM,
        PrivateFormat.PKCS8,
        BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption(),
    )
    path, partial = folder / f"{name}.pem", folder / f".{name}.pem.partial"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Not `write_atomic`, whose file others may open before it gets its mode.
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(pem)
        stream.flush()
        os.fsync(stream.fileno())
    try:
        path.hardlink_to(partial)  # whole at once, and never over a key that is there
    except FileExistsError as err:
        raise InputError(f"{path}: exists already; keys stay as they are.") from err
    finally:
        partial.unlink()
    fsync_dir(folder)
    return path


def check_passphrase(passphrase: str | None) -> None:
    """Refuse a passphrase that whoever copies a key's file could guess.

    Raises:
        InputError: it has fewer than `LEAST_PASSPHRASE` characters.
    """
    if passphrase is not None and len(passphrase) < LEAST_PASSPHRASE:
        raise InputError(
            f"the passphrase has {len(passphrase)} characters; a key that lies in a file takes at "
            f"least {LEAST_PASSPHRASE}, such as four or more random words. Choose a longer one, in "
            f"{NEW_PASSPHRASE} if other keys stay as they are, or add --plain if another lock "
            "guards the folder."
        )


def next_name(name: str) -> str:
    """Name of the key that takes the place of another, until it has done so."""
    return f"{name}{_NEXT}"


def _parsed(data: bytes, passphrase: str | None) -> object:
    """The key of a PEM file; None: it is damaged, or the passphrase does not fit."""
    try:
        return load_pem_private_key(data, passphrase.encode() if passphrase else None)
    except (ValueError, TypeError):
        return None


def _remote(path: Path) -> Signer:
    try:
        value = json.loads(path.read_bytes())
        uri, key = str(value["uri"]), dict(value["key"])
        public = Key.from_dict(key.pop("keyid"), key)
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise KeysInvalidError(
            f'{path}: expected {{"uri": text, "key": {{"keyid", "keytype", "scheme", "keyval"}}}} '
            f"({err})."
        ) from err
    try:
        return Signer.from_priv_key_uri(uri, public)
    except Exception as err:  # a plug-in may raise anything, says securesystemslib
        raise KeysInvalidError(f"{path}: {uri} does not open ({err}).") from err
