"""The admin site: pages and forms for people, without a script.

A person logs in with a token; see `sessions.py`. Every form carries the session's token against
requests from other sites, and the Content-Security-Policy lets a page load its style sheet only.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    g,
    redirect,
    render_template,
    request,
    url_for,
)
from jinja2 import StrictUndefined
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response as AnyResponse

from bundle.errors import PocketRecError
from sync_server import admin_pages, audit
from sync_server.gate import Gate, TooManyFailures
from sync_server.openapi import TEXT, described, record
from sync_server.operations import Action, Operations
from sync_server.sessions import PATH, Session, Sessions
from sync_server.tokens import MAX_TOKEN, OPERATE
from sync_server.wording import FILTERS

CSP = (
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
PAGE_ENTRIES = 100
_HTML = "text/html"
_LOGIN = {303: "Log in first."}
_OPEN = ("admin_site.log_in", "admin_site.show_login", "admin_site.style")
_FORM_BYTES = 10_000


def blueprint(
    repo: Path, engine: Engine, gate: Gate, sessions: Sessions, operations: Operations
) -> Blueprint:
    """Pages below /admin."""
    routes = Blueprint("admin_site", __name__, url_prefix=PATH, template_folder="templates")

    @routes.record_once
    def set_up(state: Any) -> None:
        state.app.jinja_env.undefined = StrictUndefined
        state.app.jinja_env.filters.update(FILTERS)

    @routes.before_request
    def check() -> AnyResponse | None:
        request.max_content_length = _FORM_BYTES
        g.session = sessions.find()
        if request.method == "POST" and not _is_same_origin():
            abort(403, "the form comes from another site")
        if request.endpoint in _OPEN:
            return None
        if g.session is None:
            return redirect(url_for(".show_login"), 303)
        if request.method == "POST" and not g.session.is_own_form(request.form.get("csrf", "")):
            abort(
                403, "the form is too old or not of this session; go back and load the page again"
            )
        return None

    @routes.after_request
    def protect(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = CSP
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def page(name: str, **values: Any) -> str:
        session = cast(Session, g.session)
        return render_template(
            f"{name}.html", here=name, session=session, csrf=session.form, **values
        )

    @routes.get("/style.css")
    @described("Style sheet of the site.", tag="site", ok="text/css")
    def style() -> AnyResponse:
        text = (Path(__file__).parent / "static" / "admin.css").read_text()
        return Response(text, content_type="text/css", headers={"Cache-Control": "max-age=300"})

    @routes.get("/login")
    @described("Where people log in.", tag="site", ok=_HTML)
    def show_login() -> str:
        return render_template("login.html", said="")

    @routes.post("/login")
    @described(
        "Begin a session with a token.",
        tag="site",
        ok=_HTML,
        status=303,
        form=record(token={"type": "string", "maxLength": MAX_TOKEN}),
        pages=(401, 429, 503),
        errors=(403, 413, 415),
    )
    def log_in() -> Any:
        try:
            token = gate.token(request.form.get("token", "").strip())
        except TooManyFailures as err:
            page = render_template("login.html", said=f"Wait: {err.description}.")
            return page, 429, {"Retry-After": str(err.wait_s)}
        if token is None:
            return render_template("login.html", said="This token is not valid."), 401
        answer = cast(Response, redirect(url_for(".overview"), 303))
        sessions.begin(answer, token)
        with audit.noted(engine, token, "log in", token.id):
            return answer

    @routes.post("/logout")
    @described(
        "End the session.",
        tag="site",
        ok=_HTML,
        status=303,
        form=record(csrf=TEXT),
        errors=(403, 413, 415),
    )
    def log_out() -> AnyResponse:
        answer = cast(Response, redirect(url_for(".show_login"), 303))
        sessions.end(answer)
        return answer

    @routes.get("/")
    @described(
        "What is live, and how the fleet does.", tag="site", ok=_HTML, more=_LOGIN, pages=(503,)
    )
    def overview() -> str:
        return page("overview", **admin_pages.overview(repo, engine))

    @routes.get("/releases")
    @described(
        "Releases, and what can be done to them.", tag="site", ok=_HTML, more=_LOGIN, pages=(503,)
    )
    def releases() -> str:
        return releases_page(done=audit.entry(engine, request.args.get("done", 0, type=int)))

    def releases_page(done: audit.Entry | None = None, problem: str = "") -> str:
        found = admin_pages.releases(repo, engine, operations)
        return page("releases", done=done, problem=problem, **found)

    @routes.get("/fleet")
    @described("Versions and failures of devices.", tag="site", ok=_HTML, more=_LOGIN, pages=(503,))
    def fleet() -> str:
        return page("fleet", **admin_pages.fleet(repo, engine))

    @routes.get("/audit")
    @described("Who did what, newest first.", tag="site", ok=_HTML, more=_LOGIN, pages=(503,))
    def show_audit() -> str:
        before = request.args.get("before", type=int)
        if before is not None and not 0 < before < 2**31:
            abort(400, "before must be the number of an entry")
        found = audit.entries(engine, PAGE_ENTRIES, before)
        return page("audit", entries=found, more=len(found) == PAGE_ENTRIES)

    @routes.get("/audit.jsonl")
    @described("The audit log, an object a line.", tag="site", ok="application/jsonl", more=_LOGIN)
    def export_audit() -> Response:
        lines = (json.dumps(asdict(each)) + "\n" for each in audit.every(engine))
        return Response(lines, content_type="application/jsonl")

    @routes.errorhandler(PocketRecError)
    def unreadable(err: PocketRecError) -> Any:
        return page("problem", said=str(err)), 503

    @routes.errorhandler(SQLAlchemyError)
    def database_failed(err: SQLAlchemyError) -> Any:
        current_app.logger.error("database: %s", err)
        return render_template("login.html", said="The database is unavailable."), 503

    @routes.post("/actions")
    @described(
        "Do what a button says; the page that follows says what came of it.",
        tag="site",
        ok=_HTML,
        status=303,
        form=record(
            optional=("percent", "reason"),
            csrf=TEXT,
            channel=TEXT,
            action=TEXT,
            manifest=TEXT,
            percent=TEXT,
            reason=TEXT,
        ),
        pages=(409, 503),
        errors=(400, 403, 413, 415),
    )
    def act() -> Any:
        session = cast(Session, g.session)
        if not session.token.may(OPERATE):
            abort(403, "your token may only read")
        value: dict[str, Any] = {name: request.form.get(name) for name in ("action", "manifest")}
        percent, reason = request.form.get("percent", type=float), request.form.get("reason", "")
        value |= {} if percent is None else {"percent": percent}
        value |= {"reason": reason} if reason else {}
        try:
            wanted = Action.from_json(request.form.get("channel", ""), value)
        except PocketRecError as err:
            abort(400, str(err))
        try:
            number = operations.do(session.token, wanted)
        except PocketRecError as err:
            return releases_page(problem=str(err)), 409
        return redirect(url_for(".releases", done=number), 303)

    return routes


def _is_same_origin() -> bool:
    """Whether a form was sent from a page of this server, as far as the browser says."""
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host
