"""A seeded HTTP proxy over real sockets that damages a share of the answers, and counts.

It stands before one server as a reverse proxy; bodies are held whole, so releases should be small.
Draws come from one seed in the order in which requests arrive, so one client sees the same faults
in each run, and many at once the same share of them.
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit
from weakref import WeakSet

CHUNK = 1024
HEAD_BYTES = 1 << 16
_NO_BODY = (204, 304)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How the network behaves.

    share: of answers that are damaged; kinds: which damage, all equally often; drip_s: between two
    bytes of a slow drip; endless_bytes: after which even an endless body ends; retry_after_s: what
    a busy server asks for.
    """

    share: float = 0.2
    kinds: tuple[str, ...] = ()
    drip_s: float = 0.05
    endless_bytes: int = 8 << 20
    retry_after_s: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def head(self, length: int | None) -> bytes:
        """The status line and headers, with this Content-Length, or none."""
        kept = {k: v for k, v in self.headers.items() if k not in ("content-length", "connection")}
        if length is None:
            kept["connection"] = "close"
        elif self.status not in _NO_BODY:
            kept["content-length"] = str(length)
        lines = [f"HTTP/1.1 {self.status} -", *(f"{k}: {v}" for k, v in kept.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


class CutError(Exception):
    """The connection ends here."""


@dataclass(slots=True)
class FaultProxy:
    """The proxy; a context manager, `url` is its address while it runs.

    done counts answers by the kind of damage ("none" for sound ones), body_bytes the bytes of
    bodies that left for clients, damaged ones included.
    """

    server: str
    seed: int
    faults: Faults = Faults()
    done: Counter[str] = field(default_factory=Counter)
    body_bytes: int = 0
    url: str = ""
    _rng: random.Random = field(init=False)
    _last: Answer | None = None
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _listening: asyncio.Server = field(init=False)
    _open: WeakSet[asyncio.WriteTransport] = field(default_factory=WeakSet)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        """Listen on a free loopback port."""
        self._rng = random.Random(self.seed)  # noqa: S311 (draws, not secrets)
        self._listening = self._loop.run_until_complete(
            asyncio.start_server(self._client, "127.0.0.1", 0, limit=HEAD_BYTES, backlog=512)
        )
        self.url = f"http://127.0.0.1:{self._listening.sockets[0].getsockname()[1]}"
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, whatever is under way."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._listening.close()
        self._loop.run_until_complete(_some_turns())  # who was let in gets a task
        for task in (tasks := asyncio.all_tasks(self._loop)):
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks))
        self._loop.run_until_complete(self._abort())
        self._loop.close()

    async def _abort(self) -> None:
        """Close connections at once: one that still has bytes to send would outlive the loop."""
        for transport in list(self._open):
            transport.abort()
        await _some_turns()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it, or a fault, ends it."""
        self._open.add(writer.transport)
        try:
            while asked := await _message(reader):
                await self._serve(asked, writer)
        except (CutError, OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # over, for whatever reason
        finally:
            writer.close()

    async def _serve(self, asked: "Message", writer: asyncio.StreamWriter) -> None:
        kinds = self.faults.kinds or tuple(KINDS)
        kind = self._rng.choice(kinds) if self._rng.random() < self.faults.share else None
        self.done[kind or "none"] += 1
        answer = await self._ask(asked)
        if kind is None:
            await self._send(writer, answer.head(len(answer.body)), answer.body)
        else:
            await KINDS[kind](self, writer, answer)
        self._last = answer
        if answer.headers.get("connection") == "close":
            raise CutError

    async def _ask(self, asked: "Message") -> Answer:
        """Put the question to the server, on a connection of its own."""
        to = urlsplit(self.server)
        reader, writer = await asyncio.open_connection(to.hostname, to.port, limit=HEAD_BYTES)
        self._open.add(writer.transport)
        try:
            writer.write(asked.raw("close"))
            await writer.drain()
            told = await _message(reader, to_end=True)
        finally:
            writer.close()
        if told is None:
            raise CutError
        headers = {k: v for k, v in told.headers.items() if k != "connection"}
        if asked.headers.get("connection", "").lower() == "close":
            headers["connection"] = "close"
        return Answer(int(told.first.split()[1]), headers, told.body)

    async def _send(self, writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
        self.body_bytes += len(body)
        writer.write(head + body)
        await writer.drain()

    async def _drop(self, *_: object) -> None:
        raise CutError

    async def _headers_only(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        await self._send(writer, answer.head(len(answer.body)), b"")
        raise CutError

    async def _truncate(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        part = answer.body[: self._rng.randrange(len(answer.body) + 1)]
        await self._send(writer, answer.head(len(answer.body)), part)
        raise CutError

    async def _shorten(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        part = answer.body[: self._rng.randrange(len(answer.body) + 1)]
        await self._send(writer, answer.head(len(part)), part)  # looks whole

    async def _flip(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        body = bytearray(answer.body)
        for _ in range(min(3, len(body))):
            body[self._rng.randrange(len(body))] ^= 1 << self._rng.randrange(8)
        await self._send(writer, answer.head(len(body)), bytes(body))

    async def _reorder(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        parts = _chunks(answer.body)
        self._rng.shuffle(parts)
        await self._send(writer, answer.head(len(answer.body)), b"".join(parts))

    async def _duplicate(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        parts = _chunks(answer.body)
        at = self._rng.randrange(len(parts))
        body = b"".join([*parts[: at + 1], *parts[at:]])
        await self._send(writer, answer.head(len(body)), body)

    async def _other(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        other = self._last or answer
        await self._send(writer, answer.head(len(other.body)), other.body)

    async def _drip(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        await self._send(writer, answer.head(len(answer.body)), b"")
        for at in range(len(answer.body)):
            await asyncio.sleep(self.faults.drip_s)
            await self._send(writer, b"", answer.body[at : at + 1])

    async def _drip_head(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        for each in replace(answer, headers={"x-slow": "y" * 4096}).head(0):
            await self._send(writer, bytes([each]), b"")
            await asyncio.sleep(self.faults.drip_s)

    async def _endless(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        await self._send(writer, answer.head(None), answer.body)
        for _ in range(self.faults.endless_bytes // CHUNK):
            await self._send(writer, b"", self._rng.randbytes(CHUNK))
            await asyncio.sleep(0.005)  # a link's rate: else it would fill the buffers between us
        raise CutError

    async def _error(self, writer: asyncio.StreamWriter, _: Answer) -> None:
        status = self._rng.choice((500, 502, 503))
        await self._send(writer, Answer(status, {}, b"").head(0), b"")

    async def _busy(self, writer: asyncio.StreamWriter, _: Answer) -> None:
        headers = {"retry-after": str(self.faults.retry_after_s)}
        await self._send(writer, Answer(429, headers, b"").head(0), b"")


KINDS: dict[str, Callable[[FaultProxy, asyncio.StreamWriter, Answer], Awaitable[None]]] = {
    "drop": FaultProxy._drop,
    "headers only": FaultProxy._headers_only,
    "truncate": FaultProxy._truncate,
    "shorten": FaultProxy._shorten,
    "flip": FaultProxy._flip,
    "reorder": FaultProxy._reorder,
    "duplicate": FaultProxy._duplicate,
    "other": FaultProxy._other,
    "drip": FaultProxy._drip,
    "drip head": FaultProxy._drip_head,
    "endless": FaultProxy._endless,
    "error": FaultProxy._error,
    "busy": FaultProxy._busy,
}
"""All damage there is, by name."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer: its first line, headers in lower case, and its body."""

    first: str
    headers: dict[str, str]
    body: bytes

    def raw(self, connection: str) -> bytes:
        """Its bytes, with this Connection header."""
        lines = [f"{k}: {v}" for k, v in (self.headers | {"connection": connection}).items()]
        return "\r\n".join([self.first, *lines, "", ""]).encode("latin-1") + self.body


async def _some_turns() -> None:
    """Let the loop do what was called for before."""
    for _ in range(5):
        await asyncio.sleep(0)


async def _message(reader: asyncio.StreamReader, *, to_end: bool = False) -> Message | None:
    """Read one message; None where the connection ended before it.

    Args:
        reader: of the connection.
        to_end: without a Content-Length the body goes on to the connection's end.
    """
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.rstrip().split("\r\n")
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    if (length := headers.get("content-length")) is not None:
        return Message(first, headers, await reader.readexactly(int(length)))
    return Message(first, headers, await reader.read() if to_end else b"")


def _chunks(body: bytes) -> list[bytes]:
    """At least one piece, and several where there are several bytes."""
    size = max(1, min(CHUNK, len(body) // 4))
    return [body[at : at + size] for at in range(0, len(body), size)] or [b""]
