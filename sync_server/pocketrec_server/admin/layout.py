"""Render the pages of the site, including error pages, and set their security headers."""

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, g, render_template, request
from jinja2 import StrictUndefined
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from pocketrec_server.admin import attention
from pocketrec_server.admin.attention import COMMAND, banner
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
    404: "Page not found",
    405: "This page does not support the request",
    409: "Nothing was changed",
    413: "The form is too large",
    415: "The form has the wrong type",
    429: "Too many requests",
    500: "The server failed",
    503: "The page cannot be shown now",
}
TEXTS = {
    404: "No page has this address.",
    405: "This address does not support this HTTP method.",
    413: "The maximum size of a form is 10,000 bytes.",
    415: "Send the form as a browser does.",
    500: "An unexpected error ended this request. Check the current state before you try again.",
}
"""Texts that replace the general texts of HTTP."""


def is_of_site(path: str) -> bool:
    """Return whether a path belongs to the site, so its errors are shown as pages."""
    return path == PATH or path.startswith(f"{PATH}/")


def protected(response: Response) -> Response:
    """Add the security headers of the site's pages."""
    response.headers["Content-Security-Policy"] = CSP
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers.setdefault("Cache-Control", "no-store")
    return response


class Pages:
    """Renders the pages of one server."""

    def __init__(self, repo: Path, engine: Engine, sessions: Sessions) -> None:
        self._repo, self._engine, self._sessions = repo, engine, sessions

    def set_up(self, app: Flask) -> None:
        """Configure an app to render the pages."""
        app.jinja_env.undefined = StrictUndefined
        app.jinja_env.filters.update(FILTERS)

    def show(self, name: str, /, **values: Any) -> str:
        """Render a page for the current session; without a session it has no menu."""
        session = self._session()
        now = time.time()
        noticed = attention.entries(self._repo, self._engine, now) if session else []
        shared = {
            "here": name,
            "session": session,
            "csrf": session.form if session else "",
            "banner": banner(self._repo, int(now)) if session else None,
            "noticed": noticed[: attention.MOST],
            "n_noticed": len(noticed),
            "refresh": COMMAND,
            "days": DAYS,
            "choices": WINDOWS,
        }
        return render_template(f"{name}.html", **(shared | values))

    def problem(self, code: int, text: str, **values: Any) -> Response:
        """Render an error page with a link back."""
        shown = {
            "title": TITLES.get(code, "The request failed"),
            "text": text,
            "request_id": g.get("request_id", "") if code >= 500 else "",
            "back": _page_before(),
            "back_label": "Back to the previous page",
        }
        page = self.show("problem", **(shown | values))
        return protected(Response(page, code, content_type="text/html; charset=utf-8"))

    def error(self, err: HTTPException) -> Response:
        """Render an HTTP error, with its headers such as Allow and Retry-After."""
        code, text = err.code or 500, err.description or ""
        if text == type(err).description:
            text = TEXTS.get(code, text)
        response = self.problem(code, text)
        for name, value in err.get_headers():
            if name.lower() != "content-type":
                response.headers[name] = value
        return response

    def _session(self) -> Session | None:
        """Return the current session. Errors can occur before its lookup, or because it fails."""
        if "session" not in g:
            g.session = None
            try:
                g.session = self._sessions.find()
            except SQLAlchemyError:
                return None
        session: Session | None = g.session
        return session


def _page_before() -> str:
    """Return path and query of the site's page that led here, or ""."""
    url = urlsplit(request.headers.get("Referer", ""))
    if url.netloc != request.host or not url.path.startswith(f"{PATH}/"):
        return ""
    return f"{url.path}?{url.query}" if url.query else url.path
