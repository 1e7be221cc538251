"""The admin site: pages and forms for people, without a script.

A person logs in with a token; see `sessions.py`. Every form carries the session's token against
requests from other sites, and the Content-Security-Policy lets a page load its style sheet only.
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
from pocketrec_server.admin import actions, pages, trail
from pocketrec_server.admin.layout import protected
from pocketrec_server.admin.services import services
from pocketrec_server.admin.statistics import DAYS, WINDOWS
from pocketrec_server.auth import audit
from pocketrec_server.auth.authenticator import TooManyFailuresError
from pocketrec_server.auth.sessions import COOKIE, PATH
from pocketrec_server.auth.tokens import MAX_TOKEN
from pocketrec_server.http.openapi import COUNT, TEXT, described, record

PAGE_ENTRIES = 100
_HTML = "text/html"
_LOGIN = {303: "Log in first."}
_WINDOW = {"days": {"enum": list(WINDOWS)}}
_PLACES = ("overview", "releases", "fleet", "history")
_OPEN = ("admin_site.log_in", "admin_site.show_login", "admin_site.style")
_FORM_BYTES = 10_000

SITE = Blueprint("admin_site", __name__, url_prefix=PATH, template_folder="templates")
"""Pages below /admin."""
actions.add(SITE)


@SITE.before_request
def check() -> AnyResponse | None:
    """Refuse forms of other sites and sessions; redirect to the login without a session."""
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
        abort(403, "the form is too old or not of this session; go back and load the page again")
    return None


@SITE.after_request
def protect(response: Response) -> Response:
    """Add the headers that protect each page."""
    return protected(response)


@SITE.get("/style.css")
@described("Style sheet of the site.", tag="site", ok="text/css")
def style() -> AnyResponse:
    """Return the style sheet."""
    text = (Path(__file__).parent / "static" / "admin.css").read_text()
    return Response(text, content_type="text/css", headers={"Cache-Control": "max-age=300"})


def _login_page(said: str = "", place: str = "") -> str:
    return services().pages.show("login", said=said, place=place)


@SITE.get("/login")
@described(
    "Where people log in; `ended` is the page that they were on.",
    tag="site",
    ok=_HTML,
    query={"ended": TEXT},
)
def show_login() -> str:
    """Show the login form."""
    place = request.args.get("ended", "")
    said = "Your session has ended, and nothing was changed. Log in again." if place else ""
    return _login_page(said, place if place in _PLACES else "")


@SITE.post("/login")
@described(
    "Begin a session with a token.",
    tag="site",
    ok=_HTML,
    status=303,
    form=record(optional=("place",), token={"type": "string", "maxLength": MAX_TOKEN}, place=TEXT),
    pages=(401, 403, 413, 415, 429, 503),
)
def log_in() -> Any:
    """Begin a session if the token is valid."""
    place = request.form.get("place", "")
    place = place if place in _PLACES else ""
    try:
        token = services().gate.token(request.form.get("token", "").strip())
    except TooManyFailuresError as err:
        shown = _login_page(f"Wait: {err.description}.", place)
        return shown, 429, {"Retry-After": str(err.wait_s)}
    if token is None:
        return _login_page("This token is not valid.", place), 401
    answer = cast(Response, redirect(url_for(f".{place or 'overview'}"), 303))
    services().sessions.begin(answer, token)
    with audit.noted(services().engine, token, "log in", token.id):
        return answer


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
    answer = cast(Response, redirect(url_for(".show_login"), 303))
    services().sessions.end(answer)
    return answer


@SITE.get("/")
@described(
    "What is live, and how the fleet does.",
    tag="site",
    ok=_HTML,
    query=_WINDOW,
    more=_LOGIN,
    pages=(400, 503),
)
def overview() -> str:
    """Show what is live and how the fleet does."""
    days, at = _days(), services()
    return at.pages.show("overview", days=days, **pages.overview(at.repo, at.engine, days))


@SITE.get("/releases")
@described(
    "Releases, and what can be done to them.",
    tag="site",
    ok=_HTML,
    query=_WINDOW | {"done": {"type": "integer"}},
    more=_LOGIN,
    pages=(400, 503),
)
def releases() -> str:
    """Show each channel with its releases and actions."""
    days, at = _days(), services()
    done = audit.entry(at.engine, request.args.get("done", 0, type=int))
    done = done if done and done.action in actions.LABELS else None
    found = pages.releases(at.repo, at.engine, at.operations, days)
    return services().pages.show("releases", days=days, done=done, labels=actions.LABELS, **found)


@SITE.get("/fleet")
@described(
    "Versions and failures of devices.",
    tag="site",
    ok=_HTML,
    query=_WINDOW,
    more=_LOGIN,
    pages=(400, 503),
)
def fleet() -> str:
    """Show versions and failures of devices."""
    days, at = _days(), services()
    return at.pages.show("fleet", days=days, **pages.fleet(at.repo, at.engine, days))


@SITE.get("/history")
@described(
    "Who did what, newest first.",
    tag="site",
    ok=_HTML,
    query={"before": COUNT, "left": COUNT},
    more=_LOGIN,
    pages=(400, 503),
)
def history() -> str:
    """Show who changed what, newest first."""
    at, before, left = services(), _cursor("before"), _cursor("left")
    found = trail.page(at.repo, at.engine, PAGE_ENTRIES, before, left)
    return services().pages.show("history", found=found, newest=before is None and left is None)


@SITE.get("/audit.jsonl")
@described("The audit log, an object a line.", tag="site", ok="application/jsonl", more=_LOGIN)
def export_audit() -> Response:
    """Stream the audit log as JSON lines."""
    lines = (json.dumps(asdict(each)) + "\n" for each in audit.every(services().engine))
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
    """Report that the database does not answer."""
    current_app.logger.error("database: %s", err)
    return services().pages.problem(503, "The database is unavailable. Try again in a minute.")


def _days() -> int:
    """The window that a page is asked for."""
    text = request.args.get("days", str(DAYS))
    if text not in map(str, WINDOWS):
        abort(400, f"days must be one of {', '.join(map(str, WINDOWS))}")
    return int(text)


def _cursor(name: str) -> int | None:
    """Where a page of the history begins; None: it is not asked for."""
    text = request.args.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) >= 2**31:
        abort(400, f"{name} must be a number below {2**31}")
    return int(text)


def _is_same_origin() -> bool:
    """Whether a form was sent from a page of this server, as far as the browser says."""
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host
