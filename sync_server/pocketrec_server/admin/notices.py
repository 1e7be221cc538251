"""The site's page of notifications: settings without secrets, deliveries, and a test message."""

import time
from typing import Any, cast
from urllib.parse import urlsplit

from flask import Blueprint, abort, g, redirect, request, url_for

from pocketrec_server.admin.services import services
from pocketrec_server.auth import audit
from pocketrec_server.auth.sessions import Session
from pocketrec_server.auth.tokens import OPERATE
from pocketrec_server.http.openapi import TEXT, described, record
from pocketrec_server.notifications import outbox
from pocketrec_server.notifications.settings import PASSWORD, SECRET
from pocketrec_server.notifications.watch import EVERY_S

SHOWN = 50


def add(routes: Blueprint) -> None:
    """Add the views to the site."""
    routes.get("/notifications")(notifications)
    routes.post("/notifications/test")(send_test)


@described(
    "Settings and deliveries of notifications.",
    tag="site",
    ok="text/html",
    query={"tested": {"enum": ["1"]}},
    more={303: "Log in first."},
    pages=(400, 503),
)
def notifications() -> str:
    """Show settings and deliveries of notifications."""
    shared = services()
    settings = shared.notifications
    url = urlsplit(settings.webhook.url) if settings and settings.webhook else None
    return shared.pages.show(
        "notifications",
        settings=settings,
        hook=f"{url.scheme}://{url.netloc}" if url else "",
        deliveries=outbox.newest(shared.engine, SHOWN),
        tested=request.args.get("tested") == "1",
        every_s=EVERY_S,
        secret=SECRET,
        password=PASSWORD,
    )


@described(
    "Queue a test message on each transport.",
    tag="site",
    ok="text/html",
    status=303,
    form=record(csrf=TEXT),
    pages=(403, 409, 413, 415, 503),
)
def send_test() -> Any:
    """Queue a test message, then show the deliveries."""
    shared, token = services(), cast(Session, g.session).token
    if not token.may(OPERATE):
        abort(403, "Your token can only read. Ask for a token with --scope operate.")
    if shared.notifications is None:
        abort(409, "Nobody is notified: start the server with --notifications FILE.")
    with audit.noted(shared.engine, token, "test notifications", ""):
        outbox.queue_test(shared.engine, shared.notifications, token.name, int(time.time()))
    return redirect(url_for(".notifications", tested=1), 303)
