"""Serve on a TCP port: by waitress, in this process or in several.

SIGTERM ends either in order: no new connection is taken, what is being sent is finished.
"""

import socket
from pathlib import Path

from bundle.files import write_atomic
from sync_server.errors import ServeFailed
from sync_server.place import check_served
from sync_server.settings import Settings

THREADS = 8
"""Of each process."""
GRACE_S = 30
"""How long what is being sent may take after SIGTERM."""


def serve(
    settings: Settings,
    host: str,
    port: int,
    port_file: Path | None = None,
    *,
    workers: int = 1,
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        settings: of the app.
        host: address to listen on.
        port: 0 takes a free one.
        port_file: where to write the port once the server answers.
        workers: processes; about as many as cores.

    Raises:
        ServeFailed: the port is in use or may not be opened, or a worker could not start.
        InputError: there is no such folder, or it holds something else.
    """
    check_served(settings.repo)
    listener = _listen(host, port)
    taken = str(listener.getsockname()[1]).encode()

    def ready() -> None:
        if port_file is not None:
            write_atomic(port_file, taken)

    # Imported late: several workers must say where counts go before anything makes a counter.
    if workers > 1:
        from sync_server import workers as several

        several.run(settings, listener, ready, workers)
    else:
        from sync_server import waitress_server

        waitress_server.run(settings, listener, ready)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as err:
        listener.close()
        raise ServeFailed(
            f"{host}:{port}: cannot listen ({err.strerror}). "
            "Choose another --port; 0 takes a free one."
        ) from err
    return listener
