"""Count each request, and log it as one JSON line: no address, no install id, no path of a user.

{"at": "2026-01-31T12:00:00.123Z", "level": "info", "message": "request", "id": "9f2c...",
 "method": "GET", "route": "/metadata/<name>", "status": 304, "bytes": 0, "ms": 0.4}
"""

import re
import time
import uuid

from flask import Flask, Response, g, request

from sync_server.json_lines import FIELDS, to_json_lines
from sync_server.metrics import Metrics

HEADER = "X-Request-ID"
_ID = re.compile(r"[A-Za-z0-9-]{8,64}")


def watch(app: Flask, metrics: Metrics, *, log_requests: bool) -> None:
    """Count and log the requests of an app; errors of its own are logged in any case."""
    to_json_lines(app.logger)

    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()
        given = request.headers.get(HEADER, "")
        g.request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.perf_counter() - g.started
        route = request.url_rule.rule if request.url_rule else "unknown"
        sent = 0 if request.method == "HEAD" else response.content_length or 0
        metrics.requests.labels(route, response.status_code).inc()
        metrics.sent_bytes.labels(route).inc(sent)
        metrics.seconds.labels(route).observe(seconds)
        response.headers[HEADER] = g.request_id
        if log_requests:
            fields = {"id": g.request_id, "method": request.method, "route": route}
            fields |= {"status": response.status_code, "bytes": sent, "ms": round(seconds * 1e3, 2)}
            app.logger.info("request", extra={FIELDS: fields})
        return response
