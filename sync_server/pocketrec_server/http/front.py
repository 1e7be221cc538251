"""The root path of the server: redirect people to the admin site."""

from typing import Any

from flask import Blueprint, redirect, url_for

from pocketrec_server.http.openapi import described


def blueprint() -> Blueprint:
    """Return the route of the root path."""
    routes = Blueprint("front", __name__)

    @routes.get("/")
    @described("Redirect to the admin site.", tag="site", ok="text/html", status=302)
    def front() -> Any:
        return redirect(url_for("admin_site.overview"))

    return routes
