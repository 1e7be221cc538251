"""The parts that views of the admin site and its API use: one object per app."""

from dataclasses import dataclass
from pathlib import Path

from flask import Flask, current_app
from sqlalchemy import Engine

from pocketrec_server.admin.layout import Pages
from pocketrec_server.admin.operations import Operations
from pocketrec_server.auth.authenticator import Authenticator
from pocketrec_server.auth.sessions import Sessions

_NAME = "pocketrec-admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Parts of one app.

    Attributes:
        repo: folder of the repository.
        engine: the database.
        gate: checks tokens.
        sessions: of people in a browser.
        operations: changes of a channel.
        pages: renders the site.
    """

    repo: Path
    engine: Engine
    gate: Authenticator
    sessions: Sessions
    operations: Operations
    pages: Pages

    def attach(self, app: Flask) -> None:
        """Give them to an app, and its pages what they need to render."""
        app.extensions[_NAME] = self
        self.pages.set_up(app)


def services() -> Services:
    """Return the parts of the app that answers the current request."""
    found: Services = current_app.extensions[_NAME]
    return found
