"""Sign and verify backups. The signature is at the end; a backup never holds the key.

    tar archive | list, JSON | Ed25519 signature, 64 bytes | size of the list, uint64 BE | MAGIC

The list has the size and SHA-256 of the archive and of each file in it, so one signature covers
all. A reader finds the list from the end, and verifies it before it parses the archive.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from securesystemslib.signer import CryptoSigner, Signer

from pocketrec_bundle.disk.files import canonical_json, fsync_dir
from pocketrec_bundle.encoding.strict_json import parse_json
from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_server.errors import BackupInvalidError, KeysInvalidError
from pocketrec_server.repository.keys import Signers, make_key

FORMAT = 2
KEY, PUBLIC = "backup.pem", "backup.pub"
MAX_LIST_BYTES = 64 << 20
_CONTEXT = b"pocketrec backup 2\n"
"""Prefix of the signed bytes, so that no other text signed with the key is accepted as a backup."""
_MAGIC = b"\npocketrec-signed-backup-2\n"
_SIGNATURE_BYTES, _LENGTH_BYTES = 64, 8
_TAIL_BYTES = _SIGNATURE_BYTES + _LENGTH_BYTES + len(_MAGIC)
_PART = 1 << 20


def make_backup_key(folder: Path, passphrase: str | None = None) -> tuple[Path, Path, str]:
    """Make `backup.pem` and `backup.pub`; return both paths and the key's fingerprint.

    Raises:
        InputError: a key exists already; keys are never overwritten.
    """
    public = folder / PUBLIC
    if public.exists():
        raise InputError(f"{public}: exists already; no key was changed.")
    private = make_key(folder, Path(KEY).stem, passphrase)
    key = _public_of(Signers([folder], lambda _: passphrase).open(private), private)
    with public.open("xb") as stream:
        stream.write(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        os.fsync(stream.fileno())
    fsync_dir(folder)
    return private, public, fingerprint(key)


def read_public(path: Path) -> Ed25519PublicKey:
    """Read the public key of backups.

    Raises:
        KeysInvalidError: the file cannot be read, or is not such a key.
    """
    try:
        data = path.read_bytes()
    except OSError as err:
        raise KeysInvalidError(f"{path}: cannot be read ({err.strerror}).") from err
    try:
        key = load_pem_public_key(data)
    except ValueError as err:
        raise KeysInvalidError(
            f"{path}: not a public key. Use the {PUBLIC} that `pocketrec keys backup-key` made."
        ) from err
    if not isinstance(key, Ed25519PublicKey):
        raise KeysInvalidError(f"{path}: not an Ed25519 key.")
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a public key."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


class SealingWriter:
    """A writer that hashes an archive, and then appends the signed list."""

    def __init__(self, stream: BinaryIO, signer: Signer, name: Path) -> None:
        """Set up the writer.

        Raises:
            KeysInvalidError: the key is not an Ed25519 key in a file.
        """
        self._stream, self._signer = stream, signer
        self._key, self._bytes, self._sha256 = _public_of(signer, name), 0, hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Write part of the archive."""
        self._sha256.update(data)
        self._bytes += len(data)
        return self._stream.write(data)

    def tell(self) -> int:
        """Return the number of bytes written, for tarfile."""
        return self._bytes

    def seal(self, created_utc: int, files: dict[str, dict[str, Any]]) -> None:
        """Append the list of the files and its signature."""
        listed = canonical_json(
            {
                "format": FORMAT,
                "created_utc": created_utc,
                "key": fingerprint(self._key),
                "archive": {"bytes": self._bytes, "sha256": self._sha256.hexdigest()},
                "files": files,
            }
        )
        signature = bytes.fromhex(self._signer.sign(_CONTEXT + listed).signature)
        self._stream.write(listed + signature + len(listed).to_bytes(_LENGTH_BYTES) + _MAGIC)


def is_sealed(stream: BinaryIO) -> bool:
    """Return whether a file ends like a signed backup, without checking the signature."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - len(_MAGIC)))
    return stream.read() == _MAGIC


def verified_list(file: Path, stream: BinaryIO, key: Ed25519PublicKey) -> dict[str, Any]:
    """Verify the signature and the archive of a backup, and return its list.

    Args:
        file: name of the file, for messages.
        stream: the open file.
        key: public key of the operator's backups.

    Raises:
        BackupInvalidError: the file is not signed, signed with another key, changed or incomplete.
    """
    size = stream.seek(0, os.SEEK_END)
    if not is_sealed(stream):
        raise BackupInvalidError(
            f"{file}: not signed: cut off, changed, or made by an earlier version of PocketRec. "
            "Use another backup, or add `--trust-unsigned-backup` if you know its origin."
        )
    stream.seek(max(0, size - _TAIL_BYTES))
    tail = stream.read(_TAIL_BYTES)
    signature, rest = tail[:_SIGNATURE_BYTES], tail[_SIGNATURE_BYTES:]
    n_bytes = int.from_bytes(rest[:_LENGTH_BYTES])
    archive_bytes = size - _TAIL_BYTES - n_bytes
    if len(tail) < _TAIL_BYTES or n_bytes > MAX_LIST_BYTES or archive_bytes < 0:
        raise BackupInvalidError(f"{file}: damaged; its list is not at the recorded position.")
    stream.seek(archive_bytes)
    listed = stream.read(n_bytes)
    try:
        key.verify(signature, _CONTEXT + listed)
    except InvalidSignature as err:
        raise BackupInvalidError(
            f"{file}: the signature is not of your key {fingerprint(key)}: forged, damaged, or "
            f"signed with another key. Do not restore it; use another backup, or the {PUBLIC} of "
            "the machine that made it."
        ) from err
    try:
        value: dict[str, Any] = parse_json(str(file), listed, MAX_LIST_BYTES)
    except BundleInvalidError as err:
        raise BackupInvalidError(str(err)) from err
    if value["format"] != FORMAT:
        raise BackupInvalidError(
            f"{file}: its format is {value['format']}, not {FORMAT}; update PocketRec."
        )
    if value["archive"] != {"bytes": archive_bytes, "sha256": _sha256(stream, archive_bytes)}:
        raise BackupInvalidError(f"{file}: damaged; the archive is not the signed one.")
    return value


def _sha256(stream: BinaryIO, n_bytes: int) -> str:
    stream.seek(0)
    digest = hashlib.sha256()
    while n_bytes and (part := stream.read(min(_PART, n_bytes))):
        digest.update(part)
        n_bytes -= len(part)
    return digest.hexdigest()


def _public_of(signer: Signer, path: Path) -> Ed25519PublicKey:
    if not isinstance(signer, CryptoSigner) or signer.public_key.keytype != "ed25519":
        raise KeysInvalidError(f"{path}: not an Ed25519 key in a file. Make one: keys backup-key.")
    raw = bytes.fromhex(signer.public_key.keyval["public"])
    return Ed25519PublicKey.from_public_bytes(raw)
