"""The server's app: joins the routes of all folders."""

import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from flask import Flask, jsonify, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from pocketrec_server.admin import attention
from pocketrec_server.admin.api import API
from pocketrec_server.admin.layout import Pages, is_of_site
from pocketrec_server.admin.operations import Operations
from pocketrec_server.admin.services import Services
from pocketrec_server.admin.site import SITE
from pocketrec_server.auth.authenticator import Authenticator
from pocketrec_server.auth.sessions import Sessions
from pocketrec_server.delivery import files, health, not_modified
from pocketrec_server.delivery.hints import Hints, hint_routes
from pocketrec_server.delivery.traffic import Traffic
from pocketrec_server.events import uploads
from pocketrec_server.events.routes import event_routes
from pocketrec_server.expired import Expired
from pocketrec_server.halting import guard
from pocketrec_server.halting.circuit_breaker import CircuitBreaker
from pocketrec_server.halting.release_limits import watched
from pocketrec_server.halting.routes import outcome_routes
from pocketrec_server.http import front, metrics, openapi, request_log
from pocketrec_server.monitoring.experiments import Experiments
from pocketrec_server.monitoring.fleet import Fleet
from pocketrec_server.monitoring.processes import Build, Processes
from pocketrec_server.monitoring.slates import Slates
from pocketrec_server.monitoring.stored import Stored
from pocketrec_server.notifications import watch
from pocketrec_server.process import HINTS
from pocketrec_server.repository import renewal
from pocketrec_server.repository.expiry import expiries
from pocketrec_server.repository.keys import load_signers, online_signers
from pocketrec_server.settings import Settings
from pocketrec_server.storage.database import default_url, open_database
from pocketrec_server.sums.routes import sums_routes


def create_app(settings: Settings) -> Flask:
    """Create the app for a repository folder, which may still be empty.

    Args:
        settings: settings of the server.

    Returns:
        A WSGI app, for `pocketrec serve` or any WSGI server.

    Example:
        >>> app = create_app(Settings(repo=Path("repo"), log_requests=False))
        >>> app.test_client().get("/healthz").status_code
        200
    """
    app = request_log.LoggedFlask("pocketrec_server", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = uploads.MAX_BODY_BYTES
    repo = settings.repo.resolve()
    repo.mkdir(parents=True, exist_ok=True)
    engine = open_database(settings.database_url or default_url(repo))
    signers, brake = load_signers(), None
    if settings.keys is not None:
        signers = online_signers(settings.keys)
        brake = CircuitBreaker(repo, engine, signers)
    counted = metrics.Metrics()
    slates, processes = Slates(repo, counted.registry), Processes()
    stored = [Fleet(repo, engine), Experiments(repo, engine), Stored(repo, engine)]
    gauges = [_expiry_gauge(repo), *stored, processes, Build()]
    app.extensions[HINTS] = listening = Hints(repo)
    note = request_log.watch(app, counted, log_requests=settings.log_requests)
    processes.attend()
    app.before_request(processes.attend)  # in a server that forks after this call
    app.before_request(Expired(repo, engine).attend)
    if settings.keys is not None:  # after `watch`, which configures the logs
        renewal.keep_fresh(repo, signers, threading.Event())
        guard.watch(repo, engine, signers, threading.Event())
    served = Traffic(repo, engine)
    sessions = Sessions(engine)
    pages = Pages(repo, engine, sessions)
    Services(
        repo=repo,
        engine=engine,
        gate=Authenticator(engine),
        sessions=sessions,
        operations=Operations(repo, engine, signers),
        pages=pages,
        notifications=settings.notifications,
    ).attach(app)
    if settings.notifications is not None:
        notices = attention.notices
        watch.watch(repo, engine, settings.notifications, notices, threading.Event())
    for routes in (
        files.blueprint(repo, served, settings.blobs_url),
        event_routes(
            engine, counted.registry, settings.limits, slates.count, partial(watched, repo)
        ),
        sums_routes(repo, engine, counted.registry, settings.limits),
        hint_routes(listening, counted.registry),
        outcome_routes(repo, engine, counted.registry, brake),
        front.blueprint(),
        health.blueprint(repo, engine),
        metrics.blueprint(counted, gauges),
        openapi.blueprint(),
        API,
        SITE,
    ):
        app.register_blueprint(routes)
    openapi.document(app)  # fails at the start if a route has no description
    _answer_errors(app, pages)
    app.wsgi_app = not_modified.NotModified(app.wsgi_app, repo, served, note)  # type: ignore[method-assign]
    if settings.behind_proxy:
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    return app


def _expiry_gauge(repo: Path) -> metrics.GaugeNow:
    return metrics.GaugeNow(
        "pocketrec_metadata_expires_seconds",
        "Seconds until signed metadata expires, by role.",
        "role",
        lambda: {role: utc - time.time() for role, utc in expiries(repo).items()},
    )


def _answer_errors(app: Flask, pages: Pages) -> None:
    """Respond to errors with {"error": text}, or with a page on the admin site.

    Errors of the database get status 503, so clients retry.
    """

    @app.errorhandler(HTTPException)
    def refused(err: HTTPException) -> Any:
        if err.response is not None:
            return err.response
        if is_of_site(request.path):
            return pages.error(err)
        response = err.get_response()  # keeps headers such as Allow and Content-Range
        response.set_data(jsonify(error=err.description).get_data())
        response.content_type = "application/json"
        return response

    @app.errorhandler(SQLAlchemyError)
    def database_failed(err: SQLAlchemyError) -> Any:
        app.logger.error("database: %s", err)
        return jsonify(error="the database is unavailable; send the batch again later"), 503
