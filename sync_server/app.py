"""The HTTP face: signed metadata and files as static content, events in, health and metrics."""

import time
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, request, send_from_directory
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from sync_server.database import default_url, open_database
from sync_server.event_routes import event_routes

YEAR_S = 31_536_000


def create_app(repo: Path, database_url: str = "") -> Flask:
    """Make the app over a repository folder.

    Args:
        repo: what `publish` writes; may still be empty.
        database_url: SQLAlchemy URL; by default SQLite beside the repository.
    """
    app = Flask("sync_server", static_folder=None)
    repo = repo.resolve()
    repo.mkdir(parents=True, exist_ok=True)
    engine = open_database(database_url or default_url(repo))
    registry = CollectorRegistry()
    requests = Counter(
        "pocketrec_requests",
        "Requests by route and status.",
        ["route", "status"],
        registry=registry,
    )
    sent = Counter("pocketrec_sent_bytes", "Bytes of bodies sent.", ["route"], registry=registry)
    app.register_blueprint(event_routes(engine, registry))

    @app.get("/metadata/<name>")
    def metadata(name: str) -> Response:
        # Numbered metadata never changes; only the timestamp is asked for anew each time.
        age = 0 if name == "timestamp.json" else YEAR_S
        return send_from_directory(repo / "metadata", name, max_age=age, conditional=True)

    @app.get("/targets/<path:path>")
    def targets(path: str) -> Response:
        # Each file's name begins with its hash, so a copy is right for ever.
        sha256 = path.rpartition("/")[2].partition(".")[0]
        response = send_from_directory(
            repo / "targets", path, max_age=YEAR_S, conditional=True, etag=sha256
        )
        response.cache_control.immutable = True
        return response

    @app.get("/healthz")
    def health() -> Any:
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return jsonify(status="database unreachable"), 503
        published = (repo / "metadata" / "timestamp.json").is_file()
        return jsonify(status="ok", published=published, time_utc=int(time.time()))

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    @app.errorhandler(SQLAlchemyError)
    def database_failed(err: SQLAlchemyError) -> Any:
        app.logger.error("database: %s", err)
        return jsonify(error="the database is unavailable; send the batch again later"), 503

    for code in (400, 403, 404, 405, 413, 415):
        app.register_error_handler(code, lambda err: (jsonify(error=err.description), err.code))

    @app.after_request
    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "unknown"
        requests.labels(route, response.status_code).inc()
        sent.labels(route).inc(response.content_length or 0)
        return response

    return app
