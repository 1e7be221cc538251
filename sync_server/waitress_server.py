"""Run the app by waitress: one process, several threads."""

import signal
import time
from collections.abc import Callable
from socket import socket
from types import FrameType

from waitress.server import TcpWSGIServer, create_server

from sync_server.app import create_app
from sync_server.serve import GRACE_S, THREADS
from sync_server.settings import HINTS, MOST_LISTENERS, Settings

MOST_CONNECTIONS = 2000
_TURN_S = 1.0


def run(settings: Settings, listener: socket, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; `ready` is called once the server answers."""
    app = create_app(settings)
    server = create_server(
        app,
        sockets=[listener],
        threads=THREADS + MOST_LISTENERS,
        ident=None,
        connection_limit=MOST_CONNECTIONS,
        clear_untrusted_proxy_headers=not settings.behind_proxy,  # the app looks at them
    )
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        server.pull_trigger()

    app.extensions[HINTS].is_stopping = lambda: stopping
    signal.signal(signal.SIGTERM, stop)
    ready()
    try:
        while not stopping:
            _turn(server)
        _finish(server)
    except KeyboardInterrupt:
        pass
    finally:
        server.task_dispatcher.shutdown()


def _turn(server: TcpWSGIServer, most_s: float = _TURN_S) -> None:
    """Wait for sockets once; poll, since select knows no more than 1,024 of them."""
    server.asyncore.loop(timeout=most_s, use_poll=True, map=server._map, count=1)


def _finish(server: TcpWSGIServer) -> None:
    """Close the door, and go on until nobody waits for bytes any more."""
    end = time.monotonic() + GRACE_S
    server.del_channel()
    server.socket.close()
    while _busy(server) and time.monotonic() < end:
        _turn(server, 0.1)


def _busy(server: TcpWSGIServer) -> bool:
    channels = list(server.active_channels.values())
    return any(channel.requests or channel.total_outbufs_len for channel in channels)
