"""Find the token of a request, and slow down networks that guess tokens."""

import time
from typing import Any

from flask import abort, jsonify, make_response, request
from sqlalchemy import Engine
from werkzeug.exceptions import HTTPException

from pocketrec_server.auth import tokens
from pocketrec_server.auth.failures import Failures
from pocketrec_server.auth.tokens import Token
from pocketrec_server.http.networks import network_of


class TooManyFailuresError(HTTPException):
    """Response 429 with the time to wait.

    Attributes:
        wait_s: seconds until the next attempt.
    """

    code = 429

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"too many failures; try again in {wait_s} s")
        self.wait_s = wait_s

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """Return the headers, with Retry-After."""
        return [*super().get_headers(*args, **kwargs), ("Retry-After", str(self.wait_s))]


class Authenticator:
    """Checks tokens. After too many wrong tokens, a network has to wait.

    A valid token is always accepted, even from such a network. Otherwise an attacker could lock
    operators out. And 256 random bits cannot be guessed at any rate.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self._failures = engine, Failures()

    def bearer(self, scope: str) -> Token:
        """Return the bearer token of a request with a scope; else respond 401 or 403."""
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        token = self.token(text.strip()) if kind.lower() == "bearer" else None
        if token is None:
            refused = make_response(jsonify(error="send Authorization: Bearer prt_..."), 401)
            refused.headers["WWW-Authenticate"] = "Bearer"
            abort(refused)
        if not token.may(scope):
            abort(403, f"the scope of this token is {token.scope}; this needs {scope}")
        return token

    def token(self, text: str) -> Token | None:
        """Return the valid token of a text, or None.

        Raises:
            TooManyFailuresError: the token is wrong, after too many wrong ones of its network.
        """
        now = time.time()
        if (token := tokens.find(self._engine, text, int(now))) is not None:
            return token
        network = network_of(request.remote_addr or "")
        if wait_s := self._failures.wait_s(network, now):
            raise TooManyFailuresError(wait_s)
        self._failures.note(network, now)
        return None
