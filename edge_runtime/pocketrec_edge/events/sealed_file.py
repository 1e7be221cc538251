"""A JSON file of the phone that is encrypted if the app has a cipher, as the event log is.

Encrypted: `{"sealed": TEXT}` with the ciphertext in Base64. A plain file of an earlier version, or
of an app without a cipher, is read with and without one; the next write encrypts it.
"""

import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_edge.errors import EventLogError
from pocketrec_edge.events.cipher import Cipher, decrypt, encrypt
from pocketrec_edge.events.schema import UnreadableError
from pocketrec_edge.private_files import write_private

_SEALED = "sealed"


def read_sealed(path: Path, cipher: Cipher | None, most_bytes: int) -> Any:
    """Read and, if necessary, decrypt a file.

    Args:
        path: the file.
        cipher: the app's; None: the app has none.
        most_bytes: a file of more bytes counts as damaged.

    Returns:
        The JSON value. It was not checked.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is damaged: too large, or not JSON.
        EventLogError: it is encrypted, and the cipher is missing or has another key.
    """
    with path.open("rb") as stream:
        data = stream.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"more than {most_bytes} bytes")
    value = _parsed(data)
    if not is_sealed(value):
        return value
    try:
        return _parsed(decrypt(cipher, b64decode(value[_SEALED], validate=True)))
    except UnreadableError as err:
        raise EventLogError(f"{path}: {err}") from err


def write_sealed(path: Path, value: object, cipher: Cipher | None) -> None:
    """Write a file atomically, encrypted if there is a cipher.

    Raises:
        EventLogError: the cipher failed; `path` is untouched.
        PocketRecError: it cannot be written; `path` is untouched.
    """
    data = canonical_json(value)
    if cipher is not None:
        try:
            data = canonical_json({_SEALED: b64encode(encrypt(cipher, data)).decode()})
        except UnreadableError as err:
            raise EventLogError(f"{path}: {err}") from err
    write_private(path, data)


def is_sealed(value: object) -> bool:
    """Whether the JSON value of a file is an encrypted one."""
    return isinstance(value, dict) and value.keys() == {_SEALED} and type(value[_SEALED]) is str


def is_plain(path: Path) -> bool:
    """Whether a file exists and is not encrypted; a damaged one counts as plain.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return not is_sealed(_parsed(path.read_bytes()))
    except FileNotFoundError:
        return False
    except ValueError:
        return True


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except RecursionError as err:
        raise ValueError("too deeply nested JSON") from err
