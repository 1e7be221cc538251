"""The app for any WSGI server, e.g. `waitress-serve pocketrec_server.wsgi:app`.

`pocketrec serve` is tested against slow and hostile clients. Another server needs a proxy in front
that forwards only complete requests. Environment variables configure the app, see
`settings.from_environment`.
"""

import os

from pocketrec_server.app import create_app
from pocketrec_server.settings import from_environment

app = create_app(from_environment(os.environ))
