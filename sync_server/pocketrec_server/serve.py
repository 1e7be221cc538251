"""Serve on a TCP port: by waitress, in this process or in several.

SIGTERM ends either in order: no new connection is taken, what is being sent is finished.
"""

import socket
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from pocketrec_bundle.disk.files import write_atomic
from pocketrec_server.announcement import lines
from pocketrec_server.errors import ServeFailedError
from pocketrec_server.repository.place import check_served
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
        settings: of the app.
        host: address to listen on.
        port: 0 takes a free one.
        port_file: where to write the port once the server answers.
        workers: processes; about as many as cores.
        announce: gets a line each of what is served, once the server answers.

    Raises:
        ServeFailedError: the port is in use or may not be opened, or a worker could not start.
        InputError: there is no such folder, or it holds something else.
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

    # Imported late: several workers must say where counts go before anything makes a counter.
    if workers > 1:
        from pocketrec_server import workers as several

        several.run(settings, listener, ready, workers)
    else:
        from pocketrec_server import waitress_server

        waitress_server.run(settings, listener, ready)


def transport_warning(host: str, *, behind_proxy: bool) -> str | None:
    """Return a warning if other machines reach the server without TLS, else None.

    Args:
        host: address to listen on.
        behind_proxy: the operator said that a proxy, which has TLS, is in front.
    """
    if behind_proxy or is_loopback(host):
        return None
    return (
        f"{host} is reachable from other machines without TLS: tokens, sessions and events can be "
        "read on the way. Listen on 127.0.0.1 and put a proxy with TLS in front (--behind-proxy); "
        "docs/operator.md has an nginx configuration."
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; a name other than localhost may be anything."""
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
