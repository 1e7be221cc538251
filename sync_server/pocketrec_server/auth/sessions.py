"""Browser sessions: the server keeps the session, the browser only a random id.

A session ends

- 30 minutes after its last page,
- 12 hours after its start,
- at logout,
- when its token expires or is revoked.

Forms carry a keyed hash of the id, which other sites do not know (against CSRF).
"""

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass

from flask import Response, request
from sqlalchemy import Engine, delete, insert, or_, select, update

from pocketrec_server.auth import tokens
from pocketrec_server.auth.tokens import Token
from pocketrec_server.storage.database import writing
from pocketrec_server.storage.tables import ADMIN_SESSION

COOKIE, PATH = "pocketrec_admin", "/admin"
IDLE_S = 1800
LIFE_S = 12 * 3600
SEEN_S = 60
"""Resolution of the time of the last page: pages within it cost no write."""
_ID_BYTES = 32
_MAX_ID = 100


@dataclass(frozen=True, slots=True)
class Session:
    """Session of a person who is logged in.

    Attributes:
        token: token of the person.
        form: CSRF token of the session's forms.
    """

    token: Token
    form: str

    def is_own_form(self, text: str) -> bool:
        """Return whether a CSRF token is that of this session."""
        return hmac.compare_digest(self.form.encode(), text.encode("utf-8", "replace"))


class Sessions:
    """Begins, finds and ends the sessions of requests."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self) -> Session | None:
        """Return the session of the current request, or None."""
        text = request.cookies.get(COOKIE, "")
        token = find(self._engine, text, int(time.time()))
        return Session(token, _form(text)) if token else None

    def begin(self, response: Response, token: Token) -> None:
        """Start a session, and end the browser's previous one."""
        end(self._engine, request.cookies.get(COOKIE, ""))
        response.set_cookie(
            COOKIE,
            begin(self._engine, token.id, int(time.time())),
            max_age=LIFE_S,
            path=PATH,
            secure=request.is_secure,
            httponly=True,
            samesite="Strict",
        )

    def end(self, response: Response) -> None:
        """End the session of the current request, on the server and in the browser."""
        end(self._engine, request.cookies.get(COOKIE, ""))
        response.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="Strict")


def begin(engine: Engine, token_id: str, now: int) -> str:
    """Start a session with a token; return its id, of which only the SHA-256 is stored."""
    text = secrets.token_urlsafe(_ID_BYTES)
    old = or_(ADMIN_SESSION.c.seen_utc <= now - IDLE_S, ADMIN_SESSION.c.created_utc <= now - LIFE_S)
    with writing(engine) as connection:
        connection.execute(delete(ADMIN_SESSION).where(old))
        connection.execute(
            insert(ADMIN_SESSION).values(
                sha256=_digest(text), token_id=token_id, created_utc=now, seen_utc=now
            )
        )
    return text


def find(engine: Engine, text: str, now: int) -> Token | None:
    """Return the token of a session and record its use; None if the session has ended."""
    if not text or len(text) > _MAX_ID:
        return None
    own = ADMIN_SESSION.c.sha256 == _digest(text)
    with engine.connect() as connection:
        row = connection.execute(select(ADMIN_SESSION).where(own)).one_or_none()
    if row is None or now >= min(row.seen_utc + IDLE_S, row.created_utc + LIFE_S):
        return None
    token = tokens.by_id(engine, row.token_id, now)
    if token is not None and now >= row.seen_utc + SEEN_S:
        with writing(engine) as connection:
            connection.execute(update(ADMIN_SESSION).where(own).values(seen_utc=now))
    return token


def end(engine: Engine, text: str) -> None:
    """End the session with an id."""
    if text and len(text) <= _MAX_ID:
        with writing(engine) as connection:
            own = ADMIN_SESSION.c.sha256 == _digest(text)
            connection.execute(delete(ADMIN_SESSION).where(own))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _form(text: str) -> str:
    return hmac.new(text.encode("utf-8", "replace"), b"form", hashlib.sha256).hexdigest()
