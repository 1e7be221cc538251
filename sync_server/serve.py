"""Run the app with waitress on a TCP port."""

import socket
from pathlib import Path

from waitress.server import create_server

from bundle.files import write_atomic
from sync_server.app import create_app
from sync_server.errors import ServeFailed


def serve(
    repo: Path, host: str, port: int, port_file: Path | None = None, database_url: str = ""
) -> None:
    """Serve until the process is ended.

    Args:
        repo: the repository folder.
        host: address to listen on.
        port: 0 takes a free one.
        port_file: where to write the port once the server listens.
        database_url: see `create_app`.

    Raises:
        ServeFailed: the port is in use or may not be opened.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as err:
        listener.close()
        raise ServeFailed(
            f"{host}:{port}: cannot listen ({err.strerror}). "
            "Choose another --port; 0 takes a free one."
        ) from err
    server = create_server(create_app(repo, database_url), sockets=[listener], threads=8)
    if port_file is not None:
        write_atomic(port_file, str(listener.getsockname()[1]).encode())
    server.run()
