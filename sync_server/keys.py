"""Ed25519 signing keys, one a TUF role, as PKCS #8 PEM files readable by their owner only."""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner

from bundle.errors import InputError
from sync_server.errors import KeysInvalid

ROLES = ("root", "targets", "snapshot", "timestamp")
PASSPHRASE = "POCKETREC_KEY_PASSPHRASE"  # noqa: S105 - the variable's name, not a secret


def make_keys(folder: Path) -> list[Path]:
    """Make one key a role, encrypted if the environment has POCKETREC_KEY_PASSPHRASE.

    Raises:
        InputError: a key is there already; keys are never overwritten.
    """
    paths = [folder / f"{role}.pem" for role in ROLES]
    present = [path.name for path in paths if path.exists()]
    if present:
        raise InputError(f"{folder}: {', '.join(present)} exist already; keys stay as they are.")
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        pem = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, _encryption()
        )
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(pem)
    return paths


def load_signers(folder: Path) -> dict[str, CryptoSigner]:
    """Load the signer of each role.

    Raises:
        KeysInvalid: a key is missing, damaged, of another kind, or the passphrase is wrong.
    """
    signers = {}
    passphrase = os.environ.get(PASSPHRASE)
    for role in ROLES:
        path = folder / f"{role}.pem"
        try:
            key = load_pem_private_key(
                path.read_bytes(), passphrase.encode() if passphrase else None
            )
        except OSError as err:
            raise KeysInvalid(f"{path}: missing. Make keys with `pocketrec keys`.") from err
        except (ValueError, TypeError) as err:
            raise KeysInvalid(f"{path}: damaged, or {PASSPHRASE} does not fit.") from err
        if not isinstance(key, Ed25519PrivateKey):
            raise KeysInvalid(f"{path}: not an Ed25519 key.")
        signers[role] = CryptoSigner(key)
    return signers


def _encryption() -> KeySerializationEncryption:
    passphrase = os.environ.get(PASSPHRASE)
    return BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
