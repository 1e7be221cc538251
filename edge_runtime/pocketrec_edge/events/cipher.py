"""What an app implements to have its log encrypted with a key from the platform's key store.

Encrypted are an event's item id, name, value and context, and which campaign was shown. Plain stay
an event's random id, `ts`, `kind` and `uploaded`, by which the log is queried, when a campaign was
shown, and the decisions on consent: who reads the file learns when something happened and how
often, not what.

Why not SQLCipher, which would hide that as well: it is another build of SQLite, for every platform
and in place of the one that Python and the phone have, and it wants the key's bytes, which a
hardware-backed key store does not give out. An app that ships it anyway needs no cipher here.
"""

import json
import sqlite3
from typing import Any, Protocol

from pocketrec_edge.events.schema import UnreadableError, scrub, transaction

_KNOWN = b"pocketrec event log"
Content = tuple[str, str, float | None, dict[str, Any]]  # item id, event, value, context


class Cipher(Protocol):
    """Authenticated encryption, such as AES-GCM, with the nonce inside the result.

    `decrypt` raises, whatever it likes, where the key is another one or the data was changed. An
    app that changes its key lets `decrypt` take the old key too.
    """

    def encrypt(self, plain: bytes, /) -> bytes:
        """Return something that only `decrypt` of this key turns back."""
        ...

    def decrypt(self, sealed: bytes, /) -> bytes:
        """Return what was encrypted."""
        ...


def seal(cipher: Cipher, content: Content) -> bytes:
    """Encrypt what an event says.

    Raises:
        UnreadableError: the cipher failed.
    """
    return encrypt(cipher, json.dumps(content).encode())


def unseal(cipher: Cipher | None, sealed: bytes) -> Content:
    """Decrypt what an event says.

    Raises:
        UnreadableError: there is no cipher, or it has another key.
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
        UnreadableError: there is no cipher, or it has another key.
    """
    if cipher is None:
        raise UnreadableError("it is encrypted; open it with the app's cipher. Nothing was changed")
    try:
        return cipher.decrypt(sealed)
    except Exception as err:  # the app's code, with its library's own errors
        raise UnreadableError("it is encrypted with another key; nothing was changed") from err


def check_key(connection: sqlite3.Connection, cipher: Cipher | None) -> None:
    """Refuse a wrong key before anything is read or written with it.

    Raises:
        UnreadableError: the log is encrypted, and the cipher is missing or has another key.
    """
    found = connection.execute("SELECT sealed FROM key_check").fetchone()
    if found and decrypt(cipher, found[0]) != _KNOWN:
        raise UnreadableError("it is encrypted with another key; nothing was changed")


def encrypt_all(connection: sqlite3.Connection, cipher: Cipher) -> None:
    """Encrypt a log that is still plain, in one transaction, and wipe the plain bytes from disk.

    Raises:
        sqlite3.Error: it cannot be written, or another process reads it: the wiping is repeated
            at the next open.
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
