"""Count each request, and log it as one JSON line: no address, no install id, no path of a user.

{"at": "2026-01-31T12:00:00.123Z", "level": "info", "message": "request", "id": "9f2c...",
 "method": "GET", "route": "/metadata/<name>", "status": 304, "bytes": 0, "ms": 0.4}
"""

import re
import time
import uuid
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, g, request

from pocketrec_server.http.json_lines import FIELDS, to_json_lines
from pocketrec_server.http.metrics import Metrics

HEADER = "X-Request-ID"
ENVIRON = "HTTP_X_REQUEST_ID"
"""The header's name in a WSGI environment."""
_ID = re.compile(r"[A-Za-z0-9-]{8,64}")

Note = Callable[[str, str, str, int, int, float], None]
"""Takes a request's id, method, route, status, bytes sent and seconds."""


class LoggedFlask(Flask):
    """A Flask app that logs the route of a failed request, not its path."""

    def log_exception(self, exc_info: Any) -> None:
        """Log an unexpected error."""
        route = request.url_rule.rule if request.url_rule else "unknown"
        fields = {"id": g.request_id, "method": request.method, "route": route}
        self.logger.error("unexpected error", exc_info=exc_info, extra={FIELDS: fields})


def id_of(given: str) -> str:
    """Return the id of a request: the one from a proxy, or a new one."""
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


def watch(app: Flask, metrics: Metrics, *, log_requests: bool) -> Note:
    """Count and log the requests of an app; its unexpected errors are always logged.

    Returns:
        A function that counts and logs a request which the app does not see.
    """
    to_json_lines(app.logger)

    def note(
        request_id: str, method: str, route: str, status: int, sent: int, seconds: float
    ) -> None:
        metrics.requests.labels(route, status).inc()
        metrics.sent_bytes.labels(route).inc(sent)
        metrics.seconds.labels(route).observe(seconds)
        if log_requests:
            fields: dict[str, object] = {"id": request_id, "method": method, "route": route}
            fields |= {"status": status, "bytes": sent, "ms": round(seconds * 1e3, 2)}
            app.logger.info("request", extra={FIELDS: fields})

    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()
        g.request_id = id_of(request.headers.get(HEADER, ""))

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.perf_counter() - g.started
        route = request.url_rule.rule if request.url_rule else "unknown"
        sent = 0 if request.method == "HEAD" else response.content_length or 0
        note(g.request_id, request.method, route, response.status_code, sent, seconds)
        response.headers[HEADER] = g.request_id
        return response

    return note
