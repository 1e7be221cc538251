"""Tokens of operators: random, with an expiry, stored as SHA-256 only.

    prt_<id>_<secret>

The id is shown everywhere, the token only once. The scope `operate` includes `read`.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, delete, insert, select, update

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.units import DAY_S
from pocketrec_server.storage.database import writing
from pocketrec_server.storage.tables import ADMIN_SESSION, ADMIN_TOKEN

READ, OPERATE = SCOPES = ("read", "operate")
"""See the fleet; change its releases."""
MAX_TOKEN = 100
_ID_BYTES, _SECRET_BYTES = 6, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token without its secret.

    Attributes:
        id: first part of the token.
        name: name of its owner.
        scope: READ or OPERATE.
        created_utc: time of creation, unix seconds.
        expires_utc: time of expiry.
        revoked_utc: time of revocation; None if not revoked.
    """

    id: str
    name: str
    scope: str
    created_utc: int
    expires_utc: int
    revoked_utc: int | None

    def may(self, scope: str) -> bool:
        """Return whether the token has a scope."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


def make(engine: Engine, name: str, scope: str, days: int, now: int) -> tuple[str, Token]:
    """Make a token; return its text, which is not stored, and its record.

    Raises:
        InputError: the name is empty or longer than 64 characters.
    """
    if not 0 < len(name) <= 64 or not name.isprintable():
        raise InputError(f"name {name!r}: use 1..64 printable characters")
    token_id = secrets.token_hex(_ID_BYTES)
    text = f"prt_{token_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    token = Token(
        id=token_id,
        name=name,
        scope=scope,
        created_utc=now,
        expires_utc=now + days * DAY_S,
        revoked_utc=None,
    )
    with writing(engine) as connection:
        connection.execute(
            insert(ADMIN_TOKEN).values(
                id=token.id,
                name=name,
                sha256=_digest(text),
                scope=scope,
                created_utc=now,
                expires_utc=token.expires_utc,
            )
        )
    return text, token


def find(engine: Engine, text: str, now: int) -> Token | None:
    """Return the valid token of a text; None if it is unknown, expired or revoked."""
    if len(text) > MAX_TOKEN:
        return None
    return _good(engine, ADMIN_TOKEN.c.sha256 == _digest(text), now)


def by_id(engine: Engine, token_id: str, now: int) -> Token | None:
    """Return the valid token with an id, or None."""
    return _good(engine, ADMIN_TOKEN.c.id == token_id, now)


def listed(engine: Engine) -> list[Token]:
    """Return all tokens, also expired and revoked ones, newest first."""
    query = select(ADMIN_TOKEN).order_by(ADMIN_TOKEN.c.created_utc.desc(), ADMIN_TOKEN.c.id)
    with engine.connect() as connection:
        return [_token(row) for row in connection.execute(query)]


def revoke(engine: Engine, token_id: str, now: int) -> None:
    """Revoke a token, and end the sessions that it started.

    Raises:
        InputError: the token is unknown, or revoked already.
    """
    good = (ADMIN_TOKEN.c.id == token_id) & ADMIN_TOKEN.c.revoked_utc.is_(None)
    with writing(engine) as connection:
        done = connection.execute(update(ADMIN_TOKEN).where(good).values(revoked_utc=now))
        connection.execute(delete(ADMIN_SESSION).where(ADMIN_SESSION.c.token_id == token_id))
    if not done.rowcount:
        raise InputError(f"token {token_id!r}: unknown or revoked already. See `token list`.")


def _good(engine: Engine, which: Any, now: int) -> Token | None:
    with engine.connect() as connection:
        row = connection.execute(select(ADMIN_TOKEN).where(which)).one_or_none()
    if row is None or row.revoked_utc is not None or row.expires_utc <= now:
        return None
    return _token(row)


def _token(row: Row[Any]) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        scope=row.scope,
        created_utc=row.created_utc,
        expires_utc=row.expires_utc,
        revoked_utc=row.revoked_utc,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
