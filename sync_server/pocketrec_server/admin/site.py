"""The admin site: pages and forms for people, without scripts.

A person logs in with a token, see `sessions.py`. Every form carries a CSRF token of the session.
The Content-Security-Policy only allows the site's style sheet.
"""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, current_app, g, redirect, request, url_for
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from pocketrec_bundle.errors import PocketRecError
from pocketrec_server.admin import actions, notices, pages, release, trail
from pocketrec_server.admin.experiments import actions as experiment_actions
from pocketrec_server.admin.experiments import page as experiment_page
from pocketrec_server.admin.experiments import release_guardrails
from pocketrec_server.admin.experiments import settings as experiment_settings
from pocketrec_server.admin.layout import protected
from pocketrec_server.admin.operations import VERBS
from pocketrec_server.admin.services import services
from pocketrec_server.admin.statistics import WINDOWS, window
from pocketrec_server.auth import audit
from pocketrec_server.auth.authenticator import TooManyFailuresError
from pocketrec_server.auth.sessions import COOKIE, PATH
from pocketrec_server.auth.tokens import MAX_TOKEN
from pocketrec_server.http.openapi import COUNT, TEXT, described, record

PAGE_ENTRIES = 100
_HTML = "text/html"
_LOGIN = {303: "Log in first."}
_WINDOW = {"days": {"enum": list(WINDOWS)}}
_PLACES = ("overview", "releases", "experiments", "fleet", "history", "notifications")
_OPEN = ("admin_site.log_in", "admin_site.show_login", "admin_site.style")
_FORM_BYTES = 10_000
_LONGEST = 200
_FILTER = {
    name: {"type": "string", "maxLength": _LONGEST}
    for name in ("who", "action", "place", "source", "words")
}

SITE = Blueprint("admin_site", __name__, url_prefix=PATH, template_folder="templates")
"""Pages below /admin."""
actions.add(SITE)
release.add(SITE)
notices.add(SITE)
experiment_page.add(SITE)
experiment_actions.add(SITE)
experiment_settings.add(SITE)
release_guardrails.add(SITE)


@SITE.before_request
def check() -> AnyResponse | None:
    """Refuse forms of other sites and sessions; without a session, redirect to the login."""
    request.max_content_length = _FORM_BYTES
    g.session = services().sessions.find()
    if request.method == "POST" and not _is_same_origin():
        abort(403, "the form comes from another site")
    if request.endpoint in _OPEN:
        return None
    if g.session is None:
        place = (request.endpoint or "").removeprefix("admin_site.")
        place = place if place in _PLACES else "overview"
        ended = place if COOKIE in request.cookies else None
        return redirect(url_for(".show_login", ended=ended), 303)
    if request.method == "POST" and not g.session.is_own_form(request.form.get("csrf", "")):
        abort(403, "the form is too old or of another session; go back and reload the page")
    return None


@SITE.after_request
def protect(response: Response) -> Response:
    """Add the headers that protect each page."""
    return protected(response)


@SITE.get("/style.css")
@described("Style sheet of the site.", tag="site", ok="text/css")
def style() -> AnyResponse:
    """Return the style sheet."""
    text = (Path(__file__).parent / "templates" / "admin.css").read_text()
    return Response(text, content_type="text/css", headers={"Cache-Control": "max-age=300"})


def _login_page(text: str = "", place: str = "") -> str:
    return services().pages.show("login", text=text, place=place)


@SITE.get("/login")
@described(
    "The login form; `ended` is the page on which the session ended.",
    tag="site",
    ok=_HTML,
    query={"ended": TEXT},
)
def show_login() -> str:
    """Show the login form."""
    place = request.args.get("ended", "")
    text = "Your session has ended, and nothing was changed. Log in again." if place else ""
    return _login_page(text, place if place in _PLACES else "")


@SITE.post("/login")
@described(
    "Start a session with a token.",
    tag="site",
    ok=_HTML,
    status=303,
    form=record(optional=("place",), token={"type": "string", "maxLength": MAX_TOKEN}, place=TEXT),
    pages=(401, 403, 413, 415, 429, 503),
)
def log_in() -> Any:
    """Start a session if the token is valid."""
    place = request.form.get("place", "")
    place = place if place in _PLACES else ""
    try:
        token = services().gate.token(request.form.get("token", "").strip())
    except TooManyFailuresError as err:
        shown = _login_page(f"Wait: {err.description}.", place)
        return shown, 429, {"Retry-After": str(err.wait_s)}
    if token is None:
        return _login_page("This token is not valid.", place), 401
    response = cast(Response, redirect(url_for(f".{place or 'overview'}"), 303))
    services().sessions.begin(response, token)
    with audit.noted(services().engine, token, "log in", token.id):
        return response


@SITE.post("/logout")
@described(
    "End the session.",
    tag="site",
    ok=_HTML,
    status=303,
    form=record(csrf=TEXT),
    pages=(403, 413, 415),
)
def log_out() -> AnyResponse:
    """End the session."""
    response = cast(Response, redirect(url_for(".show_login"), 303))
    services().sessions.end(response)
    return response


@SITE.get("/")
@described(
    "Live releases and health of the fleet.",
    tag="site",
    ok=_HTML,
    query=_WINDOW,
    more=_LOGIN,
    pages=(400, 503),
)
def overview() -> str:
    """Show live releases and the health of the fleet."""
    days, shared = window(request.args.get("days")), services()
    return shared.pages.show(
        "overview", days=days, **pages.overview(shared.repo, shared.engine, days)
    )


@SITE.get("/releases")
@described(
    "Releases and their actions.",
    tag="site",
    ok=_HTML,
    query=_WINDOW | {"done": {"type": "integer"}},
    more=_LOGIN,
    pages=(400, 503),
)
def releases() -> str:
    """Show each channel with its releases and actions."""
    days, shared = window(request.args.get("days")), services()
    done = audit.entry(shared.engine, request.args.get("done", 0, type=int))
    done = done if done and done.action in VERBS else None
    content = pages.releases(shared.repo, shared.engine, shared.operations, days)
    return services().pages.show("releases", days=days, done=done, labels=actions.LABELS, **content)


@SITE.get("/fleet")
@described(
    "Installed releases and failures of devices.",
    tag="site",
    ok=_HTML,
    query=_WINDOW,
    more=_LOGIN,
    pages=(400, 503),
)
def fleet() -> str:
    """Show installed releases and failures of devices."""
    days, shared = window(request.args.get("days")), services()
    return shared.pages.show("fleet", days=days, **pages.fleet(shared.repo, shared.engine, days))


@SITE.get("/history")
@described(
    "Who did what, newest first.",
    tag="site",
    ok=_HTML,
    query={"before": COUNT, "left": COUNT} | _FILTER,
    more=_LOGIN,
    pages=(400, 503),
)
def history() -> str:
    """Show who changed what, newest first."""
    shared, before, left = services(), _cursor("before"), _cursor("left")
    given = {name: request.args.get(name, "").strip() for name in _FILTER}
    if any(len(text) > _LONGEST for text in given.values()):
        abort(400, f"a filter has at most {_LONGEST} characters")
    only = trail.Filter(**given)
    content = trail.page(shared.repo, shared.engine, PAGE_ENTRIES, before, left, only)
    return shared.pages.show(
        "history",
        page=content,
        newest=before is None and left is None,
        only=only,
        given={name: text for name, text in given.items() if text},
    )


@SITE.get("/audit.jsonl")
@described("The audit log as JSON lines.", tag="site", ok="application/jsonl", more=_LOGIN)
def export_audit() -> Response:
    """Stream the audit log as JSON lines."""
    lines = (json.dumps(asdict(entry)) + "\n" for entry in audit.every(services().engine))
    return Response(lines, content_type="application/jsonl")


@SITE.errorhandler(HTTPException)
def refused(err: HTTPException) -> Response:
    """Show an HTTP error as a page."""
    return services().pages.error(err)


@SITE.errorhandler(PocketRecError)
def unreadable(err: PocketRecError) -> Response:
    """Report that the repository cannot be read."""
    return services().pages.problem(503, str(err))


@SITE.errorhandler(SQLAlchemyError)
def database_failed(err: SQLAlchemyError) -> Response:
    """Report that the database is unavailable."""
    current_app.logger.error("database: %s", err)
    return services().pages.problem(503, "The database is unavailable. Try again in a minute.")


def _cursor(name: str) -> int | None:
    """Return the start of a history page in the query, or None; respond 400 if it is not valid."""
    text = request.args.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) >= 2**31:
        abort(400, f"{name} must be a number below {2**31}")
    return int(text)


def _is_same_origin() -> bool:
    """Return whether a form was sent by a page of this server, according to the browser."""
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host
