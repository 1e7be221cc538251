"""The objects that the views of the admin site and its API share: one `Services` per app."""

from dataclasses import dataclass
from pathlib import Path

from flask import Flask, current_app
from sqlalchemy import Engine

from pocketrec_server.admin.layout import Pages
from pocketrec_server.admin.operations import Operations
from pocketrec_server.auth.authenticator import Authenticator
from pocketrec_server.auth.sessions import Sessions
from pocketrec_server.notifications.settings import Notifications

_NAME = "pocketrec-admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Shared objects of one app.

    Attributes:
        repo: folder of the repository.
        engine: the database.
        gate: checks tokens.
        sessions: browser sessions.
        operations: actions on channels.
        pages: renders the site.
        notifications: settings of notifications; None: nobody is notified.
    """

    repo: Path
    engine: Engine
    gate: Authenticator
    sessions: Sessions
    operations: Operations
    pages: Pages
    notifications: Notifications | None = None

    def attach(self, app: Flask) -> None:
        """Attach the services to an app, and configure it to render the pages."""
        app.extensions[_NAME] = self
        self.pages.set_up(app)


def services() -> Services:
    """Return the services of the current app."""
    shared: Services = current_app.extensions[_NAME]
    return shared
