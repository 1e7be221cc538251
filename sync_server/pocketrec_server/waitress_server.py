"""Run the app by waitress: one process, several threads, one more that reads all requests.

A request reaches a thread only once it is whole, so a client that sends slowly holds a connection
and no thread. One that is too slow is cut off: see `is_too_slow`.
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
"""Connections of one network, IPv4 /24 or IPv6 /48, unless a proxy is in front, which counts."""
HEAD_S = 30.0
"""Within which the head of a request is there, and the first bytes of its body."""
LEAST_BODY_RATE = 1024
"""Bytes a second of a body, over the time it took; phones expect no more of a network."""
WAIT_S, MOST_WAITING = 30.0, 4
"""How long a thread waits for a client that does not read, and how many threads may."""
_TURN_S = 1.0


class Channel(HTTPChannel):
    """A connection that knows its network, and since when its present request is coming in."""

    _timed: object = None
    _began = 0.0
    _network = ""

    def __init__(self, server: TcpWSGIServer, sock: socket, addr: Any, *args: Any, **kw: Any):
        """Accept a connection, only to close it if its network has too many."""
        super().__init__(server, sock, addr, *args, **kw)
        self._network = network_of(addr[0])
        server.connections[self._network] += 1
        self.will_close = server.connections[self._network] > server.most_of_network

    def del_channel(self, map: Any = None) -> None:
        """Forget a connection that has ended."""
        super().del_channel(map)
        if self._network:
            self.server.connections[self._network] -= 1
            if not self.server.connections[self._network]:
                del self.server.connections[self._network]
            self._network = ""

    def received(self, data: bytes) -> bool:
        """Take bytes in, as waitress does, and note when a request began."""
        done: bool = super().received(data)
        if self.request is not self._timed:
            self._timed, self._began = self.request, time.monotonic()
        return done

    def check_client_disconnected(self) -> bool:
        """Whether the client has hung up, even if it sent more requests before, which wait."""
        if not self.connected:
            return True
        poll = select.poll()
        try:
            poll.register(self.socket, getattr(select, "POLLRDHUP", 0))  # errors count anyway
            return bool(poll.poll(0))
        except (OSError, ValueError):  # closed meanwhile
            return True

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Wait for a client that reads slowly, as waitress does, but in few threads and not long.

        Files take no thread while they are sent, so only who asks for several at once, or reads
        much text slowly, gets here.
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
        """Let the thread that sends go on until something is so."""
        end = time.monotonic() + most_s
        with self.outbuf_lock:
            while not is_so() and time.monotonic() < end:
                self.server.pull_trigger()
                self.outbuf_lock.wait(_TURN_S)

    def is_too_slow(self, now: float) -> bool:
        """Whether a request comes in more slowly than a phone in a bad network would send it."""
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
        settings: of the app.
        listener: the listening socket; several processes may share it.
        ready: called once the server answers.
        is_alone: asked every second; True ends the server.
    """
    app = create_app(settings)
    log_as_json()
    server = create_server(
        app,
        sockets=[listener],
        threads=THREADS + MOST_LISTENERS,
        ident=None,
        connection_limit=MOST_CONNECTIONS,
        max_request_body_size=2 * MAX_BODY_BYTES,  # the app answers up to it, and says why
        channel_request_lookahead=1,  # else nobody sees that a listener has hung up
        clear_untrusted_proxy_headers=not settings.behind_proxy,  # the app looks at them
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
    """Let waitress join the other logs: as JSON lines, without paths, and not a line a request."""
    logger = logging.getLogger("waitress")
    to_json_lines(logger, logging.WARNING)
    logger.handlers[0].addFilter(_without_path)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a flood would fill the disk


def _without_path(record: logging.LogRecord) -> bool:
    what, found, _ = str(record.msg).partition(" while serving ")
    if found:  # and the path of the request, which may name an install
        record.msg = f"{what} while serving a request"
    return True


def _turn(server: TcpWSGIServer, most_s: float = _TURN_S) -> None:
    """Wait for sockets once; poll, since select knows no more than 1,024 of them."""
    server.asyncore.loop(timeout=most_s, use_poll=True, map=server._map, count=1)


def _cut_off_slow(server: TcpWSGIServer) -> None:
    now = time.monotonic()
    for channel in list(server.active_channels.values()):
        # Not `will_close` alone: it waits for a socket that can be written to, which one whose
        # client does not read never is.
        if channel.will_close or channel.is_too_slow(now):
            channel.handle_close()


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
