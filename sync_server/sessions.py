"""People in a browser: a signed cookie says with whose token they logged in.

It is good for half an hour after the last page, and ends when its token does. Forms carry a second
signed text, which another site cannot know (CSRF).
"""

import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from flask import Response, request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import Engine

from sync_server import tokens
from sync_server.tokens import Token

COOKIE, PATH = "pocketrec_admin", "/admin"
SESSION_S = 1800
SECRET = "POCKETREC_COOKIE_SECRET"  # noqa: S105 - the variable's name, not a secret
_FILE = "cookie.secret"


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is logged in."""

    token: Token
    nonce: str


class Sessions:
    """Begins, finds and ends sessions; the server keeps nothing of them."""

    def __init__(self, engine: Engine, secret: str) -> None:
        self._engine = engine
        self._cookies = URLSafeTimedSerializer(secret, salt="session")
        self._forms = URLSafeTimedSerializer(secret, salt="form")

    def find(self) -> Session | None:
        """Whose session a request belongs to."""
        try:
            token_id, nonce = self._cookies.loads(request.cookies.get(COOKIE, ""), SESSION_S)
        except (BadSignature, ValueError, TypeError):
            return None
        token = tokens.by_id(self._engine, token_id, int(time.time()))
        return Session(token, nonce) if token else None

    def begin(self, response: Response, token: Token) -> None:
        """Begin a session."""
        self.keep(response, Session(token, secrets.token_hex(16)))

    def keep(self, response: Response, session: Session) -> None:
        """Let a session last from now on."""
        response.set_cookie(
            COOKIE,
            str(self._cookies.dumps([session.token.id, session.nonce])),
            max_age=SESSION_S,
            path=PATH,
            secure=request.is_secure,
            httponly=True,
            samesite="Strict",
        )

    def end(self, response: Response) -> None:
        """Forget the cookie."""
        response.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="Strict")

    def form_token(self, session: Session) -> str:
        """What each form of a session carries."""
        return str(self._forms.dumps(session.nonce))

    def is_own_form(self, session: Session, text: str) -> bool:
        """Whether a form is one that this session was given."""
        try:
            return bool(self._forms.loads(text, SESSION_S) == session.nonce)
        except BadSignature:
            return False


def cookie_secret(repo: Path) -> str:
    """What cookies are signed with: from the environment, or made once beside the repository.

    Servers on several machines need the same one, so set the variable there.
    """
    if given := os.environ.get(SECRET):
        return given
    path = repo / _FILE
    temporary = path.with_name(f".{_FILE}.{os.getpid()}")
    if not path.exists():
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_urlsafe(32))
        try:
            os.link(temporary, path)  # whole, and only once: workers start together
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_text()
