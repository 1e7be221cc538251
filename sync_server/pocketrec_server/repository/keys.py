"""Signing keys: one file per key, readable by its owner only, or a service that signs.

    root-1.pem root-2.pem root-3.pem       two of them sign a root; keep each in another safe
    targets.pem                            offline too; names the key of each channel
    stable.pem beta.pem canary.pem         one per channel, on the machine that publishes
    snapshot.pem timestamp.pem brake.pem   online; `pocketrec serve --keys` reads them
    NAME.uri                               instead of NAME.pem: a KMS or HSM holds the key

A PEM file is PKCS #8 with an Ed25519 key. NAME.uri is JSON: {"uri": a signer of securesystemslib,
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
"""Passphrase of the keys that a command makes, if it differs from that of the keys it opens."""
LEAST_PASSPHRASE = 15
"""Minimum characters; NIST SP 800-63B-4, 3.1.1.2, for a password that is the only factor."""
ROOT_KEYS = 3
"""Default number of root keys: if one is lost, two are left, enough to sign a new root."""
MOST_ROOT_KEYS = 9
_NEXT = ".next"
_ROOT_NAME = re.compile(rf"root-[1-9](\{_NEXT})?")

Ask = Callable[[Path], str | None]
"""Asks a person for the passphrase of a file; returns None without a terminal."""


class Signers:
    """The signers in some folders, by name. A key is opened at its first use.

    Attributes:
        folders: the folders of keys.
    """

    def __init__(self, folders: Iterable[Path], ask: Ask = lambda _: None) -> None:
        """Set the folders without reading them."""
        self.folders = tuple(folders)
        self._ask = ask
        self._open: dict[tuple[Path, int, int], Signer] = {}
        self._next: set[str] = set()
        variables = map(os.environ.get, (PASSPHRASE, NEW_PASSPHRASE))
        self._passphrases = [passphrase for passphrase in variables if passphrase is not None]

    def __contains__(self, name: str) -> bool:
        return self.path(name) is not None

    def __getitem__(self, name: str) -> Signer:
        """Open a signer.

        Raises:
            KeysInvalidError: the key is missing, damaged or of another kind, or the passphrase is
                wrong.
        """
        self.require([name])
        path = self.path(self._current(name))
        assert path is not None, "it is here"
        return self.open(path)

    def require(self, names: Iterable[str]) -> None:
        """Check that the files of these keys exist, without opening them.

        Raises:
            KeysInvalidError: keys are missing; the message names all of them.
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
        """Open the signer in a file. Raises the errors of `__getitem__`."""
        try:
            facts = path.stat()
        except OSError as err:
            raise KeysInvalidError(f"{path}: cannot be read ({err.strerror}).") from err
        opened = path, facts.st_ino, facts.st_mtime_ns  # the file may be replaced meanwhile
        if opened not in self._open:
            self._open[opened] = _remote(path) if path.suffix == ".uri" else self._local(path)
        return self._open[opened]

    def path(self, name: str) -> Path | None:
        """Return the file of a key, or None."""
        candidates = (
            folder / f"{name}{kind}" for folder in self.folders for kind in (".pem", ".uri")
        )
        return next(filter(Path.is_file, candidates), None)

    def root_names(self) -> list[str]:
        """Return the names of the available root keys, `root-1` first, with new ones (.next)."""
        paths = [path for folder in self.folders for path in folder.glob(f"{ROOT}-*")]
        names = {path.stem for path in paths if path.suffix in (".pem", ".uri")}
        return sorted(filter(_ROOT_NAME.fullmatch, names), key=lambda name: (len(name), name))

    def take_next(self, name: str) -> None:
        """Use the new key (NAME.next) for a name from now on."""
        self._next.add(name)

    def put_in_place(self, name: str) -> Path:
        """Rename a new key's file to its final name; the old file is kept under another name."""
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
            raise KeysInvalidError(f"{path}: damaged, or {PASSPHRASE} is wrong.")
        if not isinstance(key, Ed25519PrivateKey):
            raise KeysInvalidError(f"{path}: not an Ed25519 key.")
        return CryptoSigner(key)

    def _unlocked(self, path: Path, data: bytes) -> object:
        """Decrypt a key with a known passphrase, or with one that a person types."""
        for known in self._passphrases:
            if (key := _parsed(data, known)) is not None:
                return key
        typed = self._ask(path)
        key = None if typed is None else _parsed(data, typed)
        if key is not None and typed is not None:
            self._passphrases.append(typed)  # the next file often has the same
        return key


def load_signers(*folders: Path, ask: Ask = lambda _: None) -> Signers:
    """Return the signers in folders; if a key is in several folders, the first one counts.

    Args:
        folders: of keys.
        ask: returns the passphrase of an encrypted key.

    Raises:
        KeysInvalidError: a folder is missing.

    Example:
        >>> files = make_keys(Path("signing"), channels=["stable"])
        >>> signers = load_signers(Path("signing"))
        >>> "targets" in signers, "beta" in signers
        (True, False)
    """
    for folder in folders:
        if not folder.is_dir():
            raise KeysInvalidError(
                f"{folder}: no such folder. Make keys with `pocketrec keys make`."
            )
    return Signers(folders, ask)


def online_signers(folder: Path) -> Signers:
    """Return the signers in a server's folder, and open those of the online roles to check them.

    Raises:
        KeysInvalidError: the key of snapshot or timestamp is missing, or a key cannot be opened.
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
    """Make the keys of a new repository, except for names that have a `.uri` file in the folder.

    Args:
        folder: folder for the keys.
        channels: names of the channels.
        root_keys: number of root keys; two of them have to sign a root.
        passphrase: passphrase that encrypts the keys; None writes them unencrypted.

    Raises:
        InputError: a key exists already; keys are never overwritten.

    Example:
        >>> files = make_keys(Path("new-keys"), channels=["stable"], root_keys=2)
        >>> [file.name for file in files][:4]
        ['root-1.pem', 'root-2.pem', 'targets.pem', 'stable.pem']
    """
    if not THRESHOLD <= root_keys <= MOST_ROOT_KEYS:
        raise InputError(
            f"{root_keys} root keys: expected {THRESHOLD} to {MOST_ROOT_KEYS}, because {THRESHOLD} "
            "have to sign."
        )
    names = [f"{ROOT}-{n + 1}" for n in range(root_keys)] + [TARGETS, *channels, *ONLINE]
    present = [f"{name}.pem" for name in names if (folder / f"{name}.pem").exists()]
    if present:
        raise InputError(f"{folder}: {', '.join(present)} exist already; no key was changed.")
    return [
        make_key(folder, name, passphrase)
        for name in names
        if not (folder / f"{name}.uri").exists()
    ]


def make_key(folder: Path, name: str, passphrase: str | None = None) -> Path:
    """Make one key; see `make_keys`.

    Raises:
        InputError: the key exists already, or the passphrase is too short.
    """
    check_passphrase(passphrase)
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM,
        PrivateFormat.PKCS8,
        BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption(),
    )
    path, partial = folder / f"{name}.pem", folder / f".{name}.pem.partial"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Not `write_atomic`: others could open its file before the mode is set.
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(pem)
        stream.flush()
        os.fsync(stream.fileno())
    try:
        path.hardlink_to(partial)  # atomic, and never overwrites a key
    except FileExistsError as err:
        raise InputError(f"{path}: exists already; no key was changed.") from err
    finally:
        partial.unlink()
    fsync_dir(folder)
    return path


def check_passphrase(passphrase: str | None) -> None:
    """Refuse a passphrase that is too short against guessing by someone who has the key's file.

    Raises:
        InputError: the passphrase has fewer than `LEAST_PASSPHRASE` characters.
    """
    if passphrase is not None and len(passphrase) < LEAST_PASSPHRASE:
        raise InputError(
            f"the passphrase has {len(passphrase)} characters; a key file needs at least "
            f"{LEAST_PASSPHRASE}, such as four or more random words. Choose a longer one (in "
            f"{NEW_PASSPHRASE} if the existing keys keep theirs), or add --plain if the folder is "
            "protected in another way."
        )


def next_name(name: str) -> str:
    """Return the name of a new key until it replaces the old one."""
    return f"{name}{_NEXT}"


def _parsed(data: bytes, passphrase: str | None) -> object:
    """Parse the key in a PEM file; None if it is damaged or the passphrase is wrong."""
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
    except Exception as err:  # securesystemslib: a plug-in can raise any exception
        raise KeysInvalidError(f"{path}: {uri} cannot be opened ({err}).") from err
