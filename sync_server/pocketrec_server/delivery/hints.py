"""GET /v1/hints: notify listening devices of a publish (server-sent events).

    id: 7.2            versions of the channel's and the brake's metadata
    event: publish

A device does not trust a hint: it only syncs, after a random wait. Each listener needs a thread, so
their number is small. Hints are for devices in a shop or on a desk; a large fleet syncs by its
policy. The places of one network are limited, and a closed connection frees its place at once. A
device that reconnects with `Last-Event-ID` misses no hint.
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
"""Maximum duration of a stream; the device then reconnects."""
DISCONNECTED = "waitress.client_disconnected"
"""Key of a function in the WSGI environment that returns whether the client has disconnected."""


class Hints:
    """The listeners of one process."""

    def __init__(
        self, repo: Path, most: int = MOST_LISTENERS, of_network: int = MOST_OF_NETWORK
    ) -> None:
        self._repo, self._most, self._most_of_network = repo, most, of_network
        self._listeners: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.is_stopping: Callable[[], bool] = lambda: False
        """Returns whether the server is stopping; streams then end. The server sets it."""

    def take_place(self, network: str) -> bool:
        """Take a place until `leave`; return False if all places, or the network's, are taken."""
        with self._lock:
            if (
                self._listeners.total() >= self._most
                or self._listeners[network] >= self._most_of_network
            ):
                return False
            self._listeners[network] += 1
            return True

    def leave(self, network: str) -> None:
        """Free a place."""
        with self._lock:
            self._listeners[network] -= 1
            if not self._listeners[network]:
                del self._listeners[network]

    def stream(
        self, channel: str, last: str | None, has_left: Callable[[], bool] = lambda: False
    ) -> Iterator[str]:
        """Yield events and heartbeats.

        Args:
            channel: channel of the device.
            last: id of the last event that the device received.
            has_left: returns whether the device has disconnected. On servers without this function
                the write of a heartbeat fails instead.
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
        """Return the published versions of the channel's and the brake's metadata."""
        folder = self._repo / "metadata"
        try:
            stamp = json.loads((folder / "timestamp.json").read_bytes())
            version = stamp["signed"]["meta"]["snapshot.json"]["version"]
            snapshot = json.loads((folder / f"{int(version)}.snapshot.json").read_bytes())
            meta = snapshot["signed"]["meta"]
            versions = [meta.get(f"{role}.json", {}).get("version", 0) for role in (channel, BRAKE)]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return "0.0"
        return ".".join(map(str, versions))


def hint_routes(hints: Hints, registry: CollectorRegistry) -> Blueprint:
    """Return the route, with a gauge of the listeners in a registry."""
    routes = Blueprint("hints", __name__)
    listeners = Gauge(
        "pocketrec_hint_listeners",
        "Devices that listen for hints.",
        registry=registry,
        multiprocess_mode="livesum",
    )

    @routes.get("/v1/hints")
    @described(
        "Listen for hints of a publish on a channel.",
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
            abort(503, "too many listeners; sync at the interval of the policy instead")
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
