"""Encryption of the event log: the interface that an app implements with its platform's key store.

Encrypted: an event's item id, name, value and context, and the campaign of a showing. Not
encrypted: an event's random id, `ts`, `kind` and `uploaded`, because queries use them; the time of
a showing; and the decisions on consent. A reader of the file learns when and how often something
happened, but not what.

SQLCipher would also hide these. It is not used because it needs another build of SQLite for every
platform, and the bytes of the key, which a hardware-backed key store does not export. An app that
ships SQLCipher needs no cipher here.
"""

import json
import sqlite3
from typing import Any, Protocol

from pocketrec_edge.events.schema import UnreadableError, scrub, transaction

_KNOWN = b"pocketrec event log"
Content = tuple[str, str, float | None, dict[str, Any]]  # item id, event, value, context


class Cipher(Protocol):
    """Authenticated encryption, such as AES-GCM, with the nonce inside the result.

    `decrypt` raises any exception if the key is wrong or the data was changed. An app that changes
    its key lets `decrypt` accept the old key too.
    """

    def encrypt(self, plain: bytes, /) -> bytes:
        """Return ciphertext that only `decrypt` with this key can read."""
        ...

    def decrypt(self, sealed: bytes, /) -> bytes:
        """Return the plaintext."""
        ...


def seal(cipher: Cipher, content: Content) -> bytes:
    """Encrypt the content of an event.

    Raises:
        UnreadableError: the cipher failed.
    """
    return encrypt(cipher, json.dumps(content).encode())


def unseal(cipher: Cipher | None, sealed: bytes) -> Content:
    """Decrypt the content of an event.

    Raises:
        UnreadableError: the cipher is missing or has another key.
    """
    item_id, event, value, context = json.loads(decrypt(cipher, sealed))
    return item_id, event, value, context


def encrypt(cipher: Cipher, plain: bytes) -> bytes:
    """Encrypt bytes.

    Raises:
        UnreadableError: the cipher failed.
    """
    try:
        return cipher.encrypt(plain)
    except Exception as err:  # the app's code, with its library's own errors
        raise UnreadableError(f"its cipher failed ({err!r}); nothing was written") from err


def decrypt(cipher: Cipher | None, sealed: bytes) -> bytes:
    """Decrypt bytes.

    Raises:
        UnreadableError: the cipher is missing or has another key.
    """
    if cipher is None:
        raise UnreadableError("it is encrypted; open it with the app's cipher. Nothing was changed")
    try:
        return cipher.decrypt(sealed)
    except Exception as err:  # the app's code, with its library's own errors
        raise UnreadableError("it is encrypted with another key; nothing was changed") from err


def check_key(connection: sqlite3.Connection, cipher: Cipher | None) -> None:
    """Raise if the key is wrong, before any read or write.

    Raises:
        UnreadableError: the log is encrypted, and the cipher is missing or has another key.
    """
    found = connection.execute("SELECT sealed FROM key_check").fetchone()
    if found and decrypt(cipher, found[0]) != _KNOWN:
        raise UnreadableError("it is encrypted with another key; nothing was changed")


def encrypt_all(connection: sqlite3.Connection, cipher: Cipher) -> None:
    """Encrypt a plain log in one transaction, and erase the plain bytes from the disk.

    Raises:
        sqlite3.Error: the log cannot be written, or another process reads it. The erasure is
            repeated when the log is opened next.
    """
    if not connection.execute("SELECT 1 FROM key_check").fetchone():
        with transaction(connection):
            _encrypt_rows(connection, cipher)
    if not connection.execute("SELECT scrubbed FROM key_check").fetchone()[0]:
        scrub(connection)
        connection.execute("UPDATE key_check SET scrubbed = 1")


def _encrypt_rows(connection: sqlite3.Connection, cipher: Cipher) -> None:
    if connection.execute("SELECT 1 FROM key_check").fetchone():
        return  # another process was faster
    rows = connection.execute("SELECT seq, item_id, event, value, context FROM event").fetchall()
    connection.executemany(
        "UPDATE event SET item_id = '', event = '', value = NULL, context = '', sealed = ? "
        "WHERE seq = ?",
        (
            (seal(cipher, (item_id, event, value, json.loads(context))), seq)
            for seq, item_id, event, value, context in rows
        ),
    )
    showings = connection.execute("SELECT rowid, campaign FROM showing").fetchall()
    connection.executemany(
        "UPDATE showing SET campaign = '', sealed = ? WHERE rowid = ?",
        ((encrypt(cipher, campaign.encode()), rowid) for rowid, campaign in showings),
    )
    scrubbed = int(not rows and not showings)
    connection.execute("INSERT INTO key_check VALUES (?, ?)", (encrypt(cipher, _KNOWN), scrubbed))
