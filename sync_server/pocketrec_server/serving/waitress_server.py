"""Run the app with waitress: one process, several threads, and one thread that reads all requests.

A request reaches a thread only when it is complete. So a slow client holds a connection, but no
thread. Clients that are too slow are disconnected, see `is_too_slow`.
"""

import logging
import select
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from socket import socket
from types import FrameType
from typing import Any

from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer, create_server

from pocketrec_server.app import create_app
from pocketrec_server.events.uploads import MAX_BODY_BYTES
from pocketrec_server.http.json_lines import to_json_lines
from pocketrec_server.http.networks import network_of
from pocketrec_server.process import GRACE_S, HINTS, MOST_LISTENERS, THREADS
from pocketrec_server.settings import Settings

MOST_CONNECTIONS = 2000
MOST_OF_NETWORK = 500
"""Maximum connections of one network (IPv4 /24, IPv6 /48); behind a proxy, the proxy has to."""
HEAD_S = 30.0
"""Maximum time for the head of a request and the first bytes of its body."""
LEAST_BODY_RATE = 1024
"""Minimum mean rate of a body, bytes per second; devices on bad networks reach it."""
WAIT_S, MOST_WAITING = 30.0, 4
"""Maximum wait of a thread for a client that does not read, and maximum number of such threads."""
_TURN_S = 1.0


class Channel(HTTPChannel):
    """A connection that knows its network, and the start time of its current request."""

    _timed: object = None
    _began = 0.0
    _network = ""

    def __init__(self, server: TcpWSGIServer, sock: socket, addr: Any, *args: Any, **kw: Any):
        """Accept a connection; close it if its network has too many."""
        super().__init__(server, sock, addr, *args, **kw)
        self._network = network_of(addr[0])
        server.connections[self._network] += 1
        self.will_close = server.connections[self._network] > server.most_of_network

    def del_channel(self, map: Any = None) -> None:
        """Remove a closed connection from the counts."""
        super().del_channel(map)
        if self._network:
            self.server.connections[self._network] -= 1
            if not self.server.connections[self._network]:
                del self.server.connections[self._network]
            self._network = ""

    def received(self, data: bytes) -> bool:
        """Receive bytes as waitress does, and record the start of a request."""
        done: bool = super().received(data)
        if self.request is not self._timed:
            self._timed, self._began = self.request, time.monotonic()
        return done

    def check_client_disconnected(self) -> bool:
        """Return whether the client has disconnected, even if more of its requests are waiting."""
        if not self.connected:
            return True
        poll = select.poll()
        try:
            poll.register(self.socket, getattr(select, "POLLRDHUP", 0))  # errors count anyway
            return bool(poll.poll(0))
        except (OSError, ValueError):  # closed meanwhile
            return True

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Wait for a slow reader as waitress does, but with limits on threads and time.

        Sending a file needs no thread. So this concerns only clients that request several files at
        once, or read long texts slowly.
        """
        patience = self.server.patience
        if self.total_outbufs_len > self.adj.outbuf_high_watermark and patience.acquire(False):
            try:
                self._wait_until(self._is_below_watermark, WAIT_S)
            finally:
                patience.release()
        if self.total_outbufs_len > self.adj.outbuf_high_watermark:
            self.will_close = True
            self._wait_until(lambda: not self.connected, WAIT_S)

    def _is_below_watermark(self) -> bool:
        is_below: bool = self.total_outbufs_len <= self.adj.outbuf_high_watermark
        return is_below or not self.connected

    def _wait_until(self, is_so: Callable[[], bool], most_s: float) -> None:
        """Let the sending thread continue until a condition holds."""
        end = time.monotonic() + most_s
        with self.outbuf_lock:
            while not is_so() and time.monotonic() < end:
                self.server.pull_trigger()
                self.outbuf_lock.wait(_TURN_S)

    def is_too_slow(self, now: float) -> bool:
        """Return whether a request arrives too slowly, even for a device on a bad network."""
        request = self.request
        if request is None or self.requests:
            return False
        allowed_s = HEAD_S + request.body_bytes_received / LEAST_BODY_RATE
        return bool(now - self._began > allowed_s)


def run(
    settings: Settings,
    listener: socket,
    ready: Callable[[], None],
    is_alone: Callable[[], bool] = lambda: False,
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        settings: settings of the app.
        listener: the listening socket; several processes can share it.
        ready: called once the server is ready.
        is_alone: called every second; True stops the server.
    """
    app = create_app(settings)
    log_as_json()
    server = create_server(
        app,
        sockets=[listener],
        threads=THREADS + MOST_LISTENERS,
        ident=None,
        connection_limit=MOST_CONNECTIONS,
        max_request_body_size=2 * MAX_BODY_BYTES,  # below it, the app responds with a reason
        channel_request_lookahead=1,  # else a listener's disconnect is not noticed
        clear_untrusted_proxy_headers=not settings.behind_proxy,  # the app reads them
    )
    server.channel_class, server.connections = Channel, Counter()
    server.most_of_network = MOST_CONNECTIONS if settings.behind_proxy else MOST_OF_NETWORK
    server.patience = threading.Semaphore(MOST_WAITING)
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        server.pull_trigger()

    app.extensions[HINTS].is_stopping = lambda: stopping
    signal.signal(signal.SIGTERM, stop)
    ready()
    try:
        looked = time.monotonic()
        while not stopping:
            _turn(server)
            if time.monotonic() - looked >= _TURN_S:
                looked = time.monotonic()
                _cut_off_slow(server)
                stopping = stopping or is_alone()
        _finish(server)
    except KeyboardInterrupt:
        pass
    finally:
        server.task_dispatcher.shutdown()


def log_as_json() -> None:
    """Make waitress log JSON lines like the app, without paths and without a line per request."""
    logger = logging.getLogger("waitress")
    to_json_lines(logger, logging.WARNING)
    logger.handlers[0].addFilter(_without_path)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a flood would fill the disk


def _without_path(record: logging.LogRecord) -> bool:
    what, separator, _ = str(record.msg).partition(" while serving ")
    if separator:  # the path of the request follows, which may contain an install id
        record.msg = f"{what} while serving a request"
    return True


def _turn(server: TcpWSGIServer, most_s: float = _TURN_S) -> None:
    """Wait for sockets once; with poll, because select is limited to 1,024 sockets."""
    server.asyncore.loop(timeout=most_s, use_poll=True, map=server._map, count=1)


def _cut_off_slow(server: TcpWSGIServer) -> None:
    now = time.monotonic()
    for channel in list(server.active_channels.values()):
        # Setting `will_close` is not enough: it waits until the socket is writable, which never
        # happens if the client does not read.
        if channel.will_close or channel.is_too_slow(now):
            channel.handle_close()


def _finish(server: TcpWSGIServer) -> None:
    """Stop accepting connections, and serve until all responses are sent."""
    end = time.monotonic() + GRACE_S
    server.del_channel()
    server.socket.close()
    while _busy(server) and time.monotonic() < end:
        _turn(server, 0.1)


def _busy(server: TcpWSGIServer) -> bool:
    channels = list(server.active_channels.values())
    return any(channel.requests or channel.total_outbufs_len for channel in channels)
