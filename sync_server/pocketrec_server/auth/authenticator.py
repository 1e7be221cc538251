"""Whose token a request has, and which networks guess too often."""

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
    """Answered with 429 and when to come again."""

    code = 429

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"too many failures; try again in {wait_s} s")
        self.wait_s = wait_s

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """Add the time to wait."""
        return [*super().get_headers(*args, **kwargs), ("Retry-After", str(self.wait_s))]


class Authenticator:
    """Looks tokens up; a network that sends too many wrong ones has to wait with further ones.

    A right token is never refused for the wrong ones of its network: an attacker could lock
    operators out, and 256 random bits cannot be guessed at any rate.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self._failures = engine, Failures()

    def bearer(self, scope: str) -> Token:
        """The token of a program that may what a scope says, or an answer 401 or 403."""
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        token = self.token(text.strip()) if kind.lower() == "bearer" else None
        if token is None:
            refused = make_response(jsonify(error="send Authorization: Bearer prt_..."), 401)
            refused.headers["WWW-Authenticate"] = "Bearer"
            abort(refused)
        if not token.may(scope):
            abort(403, f"this token may {token.scope}; this takes one that may {scope}")
        return token

    def token(self, text: str) -> Token | None:
        """The good token of a text, or None.

        Raises:
            TooManyFailuresError: the text is wrong, and so were too many before it.
        """
        now = time.time()
        if (token := tokens.find(self._engine, text, int(now))) is not None:
            return token
        network = network_of(request.remote_addr or "")
        if wait_s := self._failures.wait_s(network, now):
            raise TooManyFailuresError(wait_s)
        self._failures.note(network, now)
        return None
