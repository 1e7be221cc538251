"""Serve on a TCP port with waitress, in one process or several.

SIGTERM ends the server gracefully: it accepts no new connection, and finishes its responses.
"""

import socket
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from pocketrec_bundle.disk.files import write_atomic
from pocketrec_server.errors import ServeFailedError
from pocketrec_server.repository.place import check_served
from pocketrec_server.serving.announcement import lines
from pocketrec_server.settings import Settings
from pocketrec_server.storage.database import default_url, is_there


def serve(
    settings: Settings,
    host: str,
    port: int,
    port_file: Path | None = None,
    *,
    workers: int = 1,
    announce: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        settings: settings of the app.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        port_file: file for the port, written once the server is ready.
        workers: number of processes; about one per core.
        announce: gets each line of the description of the server, once it is ready.

    Raises:
        ServeFailedError: the port is in use or not allowed, or a worker could not start.
        InputError: the folder is missing, or holds other files.
    """
    check_served(settings.repo)
    listener = _listen(host, port)
    taken = str(listener.getsockname()[1]).encode()
    is_new = not is_there(settings.database_url or default_url(settings.repo))

    def ready() -> None:
        for line in lines(settings, host, int(taken), is_new=is_new):
            announce(line)
        if port_file is not None:
            write_atomic(port_file, taken)

    # Imported late: with several workers, METRICS_FOLDER must be set before any counter exists.
    if workers > 1:
        from pocketrec_server.serving import workers as several

        several.run(settings, listener, ready, workers)
    else:
        from pocketrec_server.serving import waitress_server

        waitress_server.run(settings, listener, ready)


def transport_warning(host: str, *, behind_proxy: bool) -> str | None:
    """Return a warning if other machines can reach the server without TLS, else None.

    Args:
        host: address to listen on.
        behind_proxy: whether a proxy with TLS is in front of the server.
    """
    if behind_proxy or is_loopback(host):
        return None
    return (
        f"{host} is reachable from other machines without TLS: tokens, sessions and events can be "
        "read in transit. Listen on 127.0.0.1 behind a proxy with TLS (--behind-proxy); "
        "docs/operator.md has an nginx configuration."
    )


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address; False for unknown host names."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as err:
        listener.close()
        raise ServeFailedError(
            f"{host}:{port}: cannot listen ({err.strerror}). "
            "Choose another --port; 0 takes a free one."
        ) from err
    return listener
