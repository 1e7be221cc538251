"""WSGI middleware that answers 'not modified' before Flask; most fleet traffic is this request.

Flask takes three times as long per request as the server itself (`pocketrec bench fleet`). The
response equals that of `files.py`; a test compares them.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from pocketrec_server.delivery import files
from pocketrec_server.delivery.traffic import Traffic
from pocketrec_server.http import request_log

PATH = "/metadata/timestamp.json"
_ROUTE = "/metadata/<name>"


class NotModified:
    """WSGI app that answers requests for the timestamp, and forwards all others."""

    def __init__(
        self, inner: WSGIApplication, repo: Path, served: Traffic, note: request_log.Note
    ) -> None:
        """Set up the middleware.

        Args:
            inner: app for all other requests.
            repo: folder of the repository.
            served: counter of the sent bytes.
            note: counts and logs requests.
        """
        self.inner = inner
        self._place = str(repo / "metadata" / "timestamp.json")
        self._served, self._note = served, note

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond, or forward the request to the inner app."""
        if environ["PATH_INFO"] != PATH or environ["REQUEST_METHOD"] != "GET":
            return self.inner(environ, start_response)
        started = time.perf_counter()
        try:
            stored = files.stored(self._place)
        except OSError:
            return self.inner(environ, start_response)  # nothing is published
        accepted = environ.get("HTTP_ACCEPT_ENCODING", "").replace(" ", "").split(",")
        packed = bool(stored.packed) and "gzip" in accepted
        request_id = request_log.id_of(environ.get(request_log.ENVIRON, ""))
        headers = [
            ("ETag", f'"{stored.sha256}-gzip"' if packed else f'"{stored.sha256}"'),
            ("Cache-Control", "no-cache, max-age=0"),
            ("Vary", "Accept-Encoding"),
            (request_log.HEADER, request_id),
        ]
        if stored.sha256 in environ.get("HTTP_IF_NONE_MATCH", ""):
            status, body = 304, b""
            start_response("304 NOT MODIFIED", headers)
        else:
            status, body = 200, stored.packed if packed else stored.data
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
            if packed:
                headers.append(("Content-Encoding", "gzip"))
            start_response("200 OK", headers)
        self._served.count(PATH, len(body), len(body))
        seconds = time.perf_counter() - started
        self._note(request_id, "GET", _ROUTE, status, len(body), seconds)
        return [body]
