"""The check with no news, answered before Flask: it is most of what a fleet asks.

Flask's part of a request takes three times as long as the server's (`pocketrec bench fleet`), and
this one needs none of it. The answer is the one that `files.py` gives, as a test sees to.
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
    """A WSGI app before another."""

    def __init__(
        self, inner: WSGIApplication, repo: Path, served: Traffic, note: request_log.Note
    ) -> None:
        """Name both apps and who counts.

        Args:
            inner: answers all other requests.
            repo: the repository.
            served: counts bytes.
            note: counts and logs requests.
        """
        self.inner = inner
        self._place = str(repo / "metadata" / "timestamp.json")
        self._served, self._note = served, note

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, or let the inner app answer."""
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
