"""GET /v1/hints: tell devices that listen that something was published (server-sent events).

    id: 7.2            versions of the channel's metadata and of the brake's
    event: publish

A hint carries nothing that a device believes: it makes it pull, after a random wait. Each listener
holds a thread, so there are few: it is for devices that stand in a shop or on a desk, not for a
million phones, which ask when their policy says. A device that comes back with `Last-Event-ID`
misses nothing in between.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from flask import Blueprint, Response, abort, request
from prometheus_client import CollectorRegistry, Gauge

from bundle.rollout import CHANNEL
from sync_server.openapi import TEXT, described
from sync_server.roles import BRAKE
from sync_server.settings import MOST_LISTENERS

POLL_S = 0.5
HEARTBEAT_S = 15.0
LIFE_S = 600.0
"""After which a stream ends, and a device that still listens comes again."""


class Hints:
    """The listeners of one process."""

    def __init__(self, repo: Path, most: int = MOST_LISTENERS) -> None:
        self._repo, self._places = repo, threading.Semaphore(most)
        self.is_stopping: Callable[[], bool] = lambda: False
        """Asked all the time; a server that is about to end sets it."""

    def take_place(self) -> bool:
        """Take a place, which `leave` gives back; False: all are taken."""
        return self._places.acquire(blocking=False)

    def leave(self) -> None:
        """Give a place back."""
        self._places.release()

    def stream(self, channel: str, last: str | None) -> Iterator[str]:
        """Yield events and heartbeats.

        Args:
            channel: that the device follows.
            last: id of the last event that it saw.
        """
        end = beat = time.monotonic()
        end += LIFE_S
        seen = last or self._versions(channel)
        yield ": listening\n\n"
        while time.monotonic() < end and not self.is_stopping():
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
        if not hints.take_place():
            abort(503, "too many listen; ask when the policy says instead")
        listeners.inc()
        response = Response(
            hints.stream(channel, request.headers.get("Last-Event-ID")),
            content_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        response.call_on_close(listeners.dec)
        response.call_on_close(hints.leave)
        return response

    return routes
