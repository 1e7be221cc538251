"""The app for any WSGI server, such as `waitress-serve pocketrec_server.wsgi:app`.

`pocketrec serve` is tested against slow and hostile clients; another server needs a proxy in front
that passes on whole requests only. The app is configured by environment variables, see
`settings.from_environment`.
"""

import os

from pocketrec_server.app import create_app
from pocketrec_server.settings import from_environment

app = create_app(from_environment(os.environ))
