"""GET /v1/hints: tell devices that listen that something was published (server-sent events).

    id: 7.2            versions of the channel's metadata and of the brake's
    event: publish

A hint carries nothing that a device believes: it makes it pull, after a random wait. Each listener
holds a thread, so there are few: it is for devices that stand in a shop or on a desk, not for a
million phones, which ask when their policy says. One network has a part of the places, and the
place of a device that hangs up is free at once. A device that comes back with `Last-Event-ID`
misses nothing in between.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from flask import Blueprint, Response, abort, request
from prometheus_client import CollectorRegistry, Gauge

from pocketrec_bundle.settings.rollout import CHANNEL
from pocketrec_server.http.networks import network_of
from pocketrec_server.http.openapi import TEXT, described
from pocketrec_server.process import MOST_LISTENERS, MOST_OF_NETWORK
from pocketrec_server.repository.roles import BRAKE

POLL_S = 0.5
HEARTBEAT_S = 15.0
LIFE_S = 600.0
"""After which a stream ends, and a device that still listens comes again."""
DISCONNECTED = "waitress.client_disconnected"
"""Of a request's environment: a function that reports whether the client has hung up."""


class Hints:
    """The listeners of one process."""

    def __init__(
        self, repo: Path, most: int = MOST_LISTENERS, of_network: int = MOST_OF_NETWORK
    ) -> None:
        self._repo, self._most, self._most_of_network = repo, most, of_network
        self._listeners: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.is_stopping: Callable[[], bool] = lambda: False
        """Asked all the time; a server that is about to end sets it."""

    def take_place(self, network: str) -> bool:
        """Take a place, which `leave` gives back; False: all, or those of a network, are taken."""
        with self._lock:
            if (
                self._listeners.total() >= self._most
                or self._listeners[network] >= self._most_of_network
            ):
                return False
            self._listeners[network] += 1
            return True

    def leave(self, network: str) -> None:
        """Give a place back."""
        with self._lock:
            self._listeners[network] -= 1
            if not self._listeners[network]:
                del self._listeners[network]

    def stream(
        self, channel: str, last: str | None, has_left: Callable[[], bool] = lambda: False
    ) -> Iterator[str]:
        """Yield events and heartbeats.

        Args:
            channel: that the device follows.
            last: id of the last event that it saw.
            has_left: whether the device has hung up; where a server cannot tell, the write of a
                heartbeat fails.
        """
        end = beat = time.monotonic()
        end += LIFE_S
        seen = last or self._versions(channel)
        yield ": listening\n\n"
        while time.monotonic() < end and not self.is_stopping() and not has_left():
            now = self._versions(channel)
            if now != seen:
                seen, beat = now, time.monotonic()
                yield f"id: {now}\nevent: publish\ndata: {channel}\n\n"
            elif time.monotonic() - beat >= HEARTBEAT_S:
                beat = time.monotonic()
                yield ":\n\n"
            time.sleep(POLL_S)

    def _versions(self, channel: str) -> str:
        """Versions of what a device would look at; a publish that goes on changes nothing yet."""
        folder = self._repo / "metadata"
        try:
            stamp = json.loads((folder / "timestamp.json").read_bytes())
            version = stamp["signed"]["meta"]["snapshot.json"]["version"]
            snapshot = json.loads((folder / f"{int(version)}.snapshot.json").read_bytes())
            meta = snapshot["signed"]["meta"]
            found = [meta.get(f"{role}.json", {}).get("version", 0) for role in (channel, BRAKE)]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return "0.0"
        return ".".join(map(str, found))


def hint_routes(hints: Hints, registry: CollectorRegistry) -> Blueprint:
    """Return the route, counting listeners in a registry."""
    routes = Blueprint("hints", __name__)
    listeners = Gauge(
        "pocketrec_hint_listeners",
        "Devices that listen for hints.",
        registry=registry,
        multiprocess_mode="livesum",
    )

    @routes.get("/v1/hints")
    @described(
        "Listen for hints that something was published on a channel.",
        tag="devices",
        query={"channel": TEXT},
        headers={"Last-Event-ID": TEXT},
        ok="text/event-stream",
        errors=(400, 503),
    )
    def listen() -> Response:
        channel = request.args.get("channel", "stable")
        if not CHANNEL.fullmatch(channel):
            abort(400, "channel: use a-z, 0-9 and '-', at most 32 characters")
        network = network_of(request.remote_addr or "")
        if not hints.take_place(network):
            abort(503, "too many listen; ask when the policy says instead")
        listeners.inc()
        has_left = request.environ.get(DISCONNECTED, lambda: False)
        response = Response(
            hints.stream(channel, request.headers.get("Last-Event-ID"), has_left),
            content_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        response.call_on_close(listeners.dec)
        response.call_on_close(partial(hints.leave, network))
        return response

    return routes
