"""How each page of the site is put together, error pages too, and the headers that protect it."""

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, g, render_template, request
from jinja2 import StrictUndefined
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from pocketrec_server.admin.banners import COMMAND, banner
from pocketrec_server.admin.formatting import FILTERS
from pocketrec_server.admin.statistics import DAYS, WINDOWS
from pocketrec_server.auth.sessions import PATH, Session, Sessions

CSP = (
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
TITLES = {
    400: "This request is not valid",
    403: "This is not allowed",
    404: "There is no such page",
    405: "This page cannot be used like that",
    409: "Nothing was changed",
    413: "The form is too large",
    415: "The form has the wrong type",
    429: "Too many requests",
    500: "The server failed",
    503: "This cannot be shown now",
}
TEXTS = {
    404: "No page has this address.",
    405: "This address does not take a request of this kind.",
    413: "A form may have 10,000 bytes.",
    415: "Send the form as a browser does.",
    500: "An error that nobody foresaw ended this request. Look at the state before you try again.",
}
"""In place of the general texts of HTTP."""


def is_of_site(path: str) -> bool:
    """Whether errors of a path are shown as pages."""
    return path == PATH or path.startswith(f"{PATH}/")


def protected(response: Response) -> Response:
    """Add the headers that each page of the site has."""
    response.headers["Content-Security-Policy"] = CSP
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers.setdefault("Cache-Control", "no-store")
    return response


class Pages:
    """Renders the pages of one server."""

    def __init__(self, repo: Path, sessions: Sessions) -> None:
        self._repo, self._sessions = repo, sessions

    def set_up(self, app: Flask) -> None:
        """Let an app render them."""
        app.jinja_env.undefined = StrictUndefined
        app.jinja_env.filters.update(FILTERS)

    def show(self, name: str, **values: Any) -> str:
        """Render a page for whoever is logged in; without a session it has no menu."""
        session = self._session()
        shared = {
            "here": name,
            "session": session,
            "csrf": session.form if session else "",
            "banner": banner(self._repo, int(time.time())) if session else None,
            "refresh": COMMAND,
            "days": DAYS,
            "choices": WINDOWS,
        }
        return render_template(f"{name}.html", **(shared | values))

    def problem(self, code: int, said: str, **values: Any) -> Response:
        """Show a failure, with a way back."""
        shown = {
            "title": TITLES.get(code, "This did not work"),
            "said": said,
            "request_id": g.get("request_id", "") if code >= 500 else "",
            "back": _page_before(),
            "back_label": "Back to the page before",
        }
        page = self.show("problem", **(shown | values))
        return protected(Response(page, code, content_type="text/html; charset=utf-8"))

    def error(self, err: HTTPException) -> Response:
        """Show an error of HTTP; keeps headers such as Allow and Retry-After."""
        code, said = err.code or 500, err.description or ""
        if said == type(err).description:
            said = TEXTS.get(code, said)
        answer = self.problem(code, said)
        for name, value in err.get_headers():
            if name.lower() != "content-type":
                answer.headers[name] = value
        return answer

    def _session(self) -> Session | None:
        """Who is logged in; errors may come before anybody asked, or because nobody can be."""
        if "session" not in g:
            g.session = None
            try:
                g.session = self._sessions.find()
            except SQLAlchemyError:
                return None
        found: Session | None = g.session
        return found


def _page_before() -> str:
    """Path and query of the page of the site that a person came from, or ""."""
    found = urlsplit(request.headers.get("Referer", ""))
    if found.netloc != request.host or not found.path.startswith(f"{PATH}/"):
        return ""
    return f"{found.path}?{found.query}" if found.query else found.path
