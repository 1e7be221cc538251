"""The app for any WSGI server, such as `gunicorn sync_server.wsgi:app`.

It is configured by environment variables, see `settings.from_environment`.
"""

import os

from sync_server.app import create_app
from sync_server.settings import from_environment

app = create_app(from_environment(os.environ))
