"""Child process of `fleet`: asks one server the same thing, over and over, as fast as it answers.

Run as `python -m benchmarks.support.children.load JOB`, a JSON object as `Load` has it; prints
another, as `Answered`. Raw sockets and epoll, since a client of a library would be slower than the
server.
"""

import json
import select
import socket
import sys
import time
from dataclasses import asdict, dataclass, field

import numpy as np

END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to ask: If-None-Match is left out where `etag` is empty; keep: connections stay open."""

    port: int
    path: str
    etag: str
    keep: bool
    connections: int
    seconds: float


@dataclass(slots=True, kw_only=True)
class Answered:
    """Answers by status, how long they took to come, and the processor's time for asking."""

    statuses: dict[int, int] = field(default_factory=dict)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0


class Asker:
    """One connection after the other, one request at a time."""

    def __init__(self, load: Load, waiting: select.epoll) -> None:
        known = f'If-None-Match: "{load.etag}"\r\n' if load.etag else ""
        connection = "keep-alive" if load.keep else "close"
        self._request = (
            f"GET {load.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip\r\n"
            f"{known}Connection: {connection}\r\n\r\n"
        ).encode()
        self._port, self._waiting = load.port, waiting
        self._open()

    def _open(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._waiting.register(self._socket, select.EPOLLIN)

    def fileno(self) -> int:
        return self._socket.fileno()

    def ask(self) -> None:
        """Send the request."""
        self._asked_at, self._came = time.perf_counter(), b""
        self._socket.sendall(self._request)

    def read(self) -> tuple[int, float] | None:
        """Take what came; status and seconds once an answer is whole."""
        more = self._socket.recv(1 << 16)
        self._came += more
        head, end, body = self._came.partition(END)
        if not end:
            if not more:
                raise ConnectionError("the server hung up")
            return None
        lower = head.lower()
        status = int(head[9:12])
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r", 1)[0]) if at >= 0 and status != 304 else 0
        if len(body) < length:
            return None
        return status, time.perf_counter() - self._asked_at

    def renew(self, *, keep: bool) -> bool:
        """Open another connection unless this one stays; whether it is another."""
        if keep and b"\r\nconnection: close" not in self._came.partition(END)[0].lower():
            return False
        self.close()
        self._open()
        return True

    def close(self) -> None:
        """Hang up."""
        self._waiting.unregister(self._socket)
        self._socket.close()


def run(load: Load) -> Answered:
    """Ask until the time is over; answers that are under way then do not count."""
    found, times = Answered(), []
    waiting = select.epoll()
    askers = {
        each.fileno(): each for each in (Asker(load, waiting) for _ in range(load.connections))
    }
    started, cpu = time.perf_counter(), time.process_time()
    for each in askers.values():
        each.ask()
    while (now := time.perf_counter()) < started + load.seconds:
        for number, _ in waiting.poll(0.1):
            asker = askers[number]
            answer = asker.read()
            if answer is None:
                continue
            status, seconds = answer
            found.statuses[status] = found.statuses.get(status, 0) + 1
            times.append(seconds)
            if asker.renew(keep=load.keep):
                del askers[number]
                askers[asker.fileno()] = asker
            asker.ask()
    found.wall_s, found.cpu_s = now - started, time.process_time() - cpu
    for each in askers.values():
        each.close()
    found.p50_ms, found.p99_ms = (float(x) * 1000 for x in np.percentile(times, (50, 99)))
    return found


if __name__ == "__main__":
    print(json.dumps(asdict(run(Load(**json.loads(sys.argv[1]))))))
