"""Health checks: is the process working, and should it get requests."""

import time
from pathlib import Path
from typing import Any

from flask import Blueprint, jsonify
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from pocketrec_server.http.openapi import TEXT, described, record
from pocketrec_server.repository.expiry import expiries


def blueprint(repo: Path, engine: Engine) -> Blueprint:
    """Return the routes for load balancers and orchestrators."""
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    @described(
        "Liveness: restart the server if this fails.",
        tag="operation",
        ok=record(status=TEXT, published={"type": "boolean"}, time_utc={"type": "integer"}),
        errors=(503,),
    )
    def health() -> Any:
        if not _answers(engine):
            return jsonify(error="database unreachable"), 503
        published = bool(expiries(repo))
        return jsonify(status="ok", published=published, time_utc=int(time.time()))

    @routes.get("/readyz")
    @described(
        "Readiness: releases are published and their metadata has not expired.",
        tag="operation",
        ok=record(status=TEXT),
        errors=(503,),
    )
    def ready() -> Any:
        expires = expiries(repo)
        expired = [role for role, expires_utc in expires.items() if expires_utc <= time.time()]
        if not _answers(engine):
            return jsonify(error="database unreachable"), 503
        if not expires:
            return jsonify(error="nothing is published"), 503
        if expired:
            return jsonify(error=f"expired metadata: {', '.join(sorted(expired))}"), 503
        return jsonify(status="ready")

    return routes


def _answers(engine: Engine) -> bool:
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return False
    return True
